"""The prices that were ever in force, each version once beside the log, so that an old entry's bill can be added up."""

import logging
import os
from dataclasses import asdict
from pathlib import Path

import orjson

from policies.prices import prices_version
from router.config.arms import effective_prices
from router.config.schema import Config

log = logging.getLogger(__name__)
FOLDER = "prices"


def keep_prices(directory: Path, config: Config) -> None:
    """Write ``<directory>/prices/<version>.json`` unless it is there: nano-USD by model and kind, null where unknown.

    Where it cannot be written that is logged, and the prices are in force all the same.
    """
    prices = effective_prices(config)
    path = directory / FOLDER / f"{prices_version(prices)}.json"
    plain = {name: None if price is None else asdict(price) for name, price in prices.items()}
    try:
        if not path.exists():
            _write(path, orjson.dumps(plain, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))
    except OSError as problem:
        log.error("the prices now in force are not kept: %s: %s; make room or set its rights", path, problem.strerror)


def _write(path: Path, raw: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    with partial.open("wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
