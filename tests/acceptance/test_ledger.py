"""The ledger at length: a hundred thousand calls of the store's functions beside a model in plain Python."""

import sys
from pathlib import Path

import pytest

from router.store.embedded import EmbeddedValkey

sys.path.insert(0, str(Path(__file__).parents[1]))

from bank import agreeing_calls


@pytest.mark.accept
@pytest.mark.timeout(600)
def test_a_hundred_thousand_steps_agree_with_the_model(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path) as server:
        assert agreeing_calls(server.socket, examples=500, steps=30) >= 100_000
