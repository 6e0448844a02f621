"""Prices beside the log: every version once, under the name that entries bear."""

import logging
from pathlib import Path
from typing import Any

import orjson
import pytest
from rig import config_of, tree

from policies.prices import Price, prices_version
from router.config.arms import effective_prices
from router.kept_prices import keep_prices


def dearer() -> Any:
    plain = tree()
    plain["models"]["large"]["price"] = {"input": 3, "output": 9}
    return plain


def test_each_version_is_kept_once_and_can_be_read_back(tmp_path: Path) -> None:
    unpriced = tree()
    del unpriced["models"]["large"]["price"]
    for plain in (tree(), dearer(), tree(), unpriced):
        keep_prices(tmp_path, config_of(plain))
    kept = {path.stem: orjson.loads(path.read_bytes()) for path in (tmp_path / "prices").iterdir()}
    assert len(kept) == 3
    for version, table in kept.items():
        assert version == prices_version({name: price and Price(**price) for name, price in table.items()})
    assert kept[prices_version(effective_prices(config_of(unpriced)))]["large"] is None


def test_what_cannot_be_written_is_logged_and_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "prices").write_text("a file in the way")
    with caplog.at_level(logging.ERROR):
        keep_prices(tmp_path, config_of(tree()))
    assert "the prices now in force are not kept" in caplog.text
