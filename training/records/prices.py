"""Prices beside records: a JSON or YAML file that maps arms to USD per million tokens."""

import math
from collections.abc import Mapping
from pathlib import Path

from policies.prices import Price, nano_usd_per_mtok
from training.records.record import RecordError

_REQUIRED = ("input", "output")
_OPTIONAL = ("cached_input", "cache_write", "reasoning", "cache_write_1h", "audio_input", "audio_output")


def read_prices(file: Path) -> dict[str, Price]:
    """Arm name -> price, of ``{arm: {input: …, output: …}}``; the other kinds of token of `Price` by their names.

    Raises:
        RecordError: The file cannot be read, or an arm lacks a price or has one that is no amount; names the arm.
    """
    import yaml

    try:
        read = yaml.safe_load(file.read_bytes())  # JSON is YAML
    except (OSError, ValueError, yaml.YAMLError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "neither JSON nor YAML"
        raise RecordError(f"cannot be read: {reason}", file=file) from problem
    if not isinstance(read, dict) or not read:
        raise RecordError("must map arms to prices: {arm: {input: 0.15, output: 0.60}}, USD per Mtok", file=file)
    return {str(arm): _price(entry, arm=str(arm), file=file) for arm, entry in read.items()}


def _price(entry: object, *, arm: str, file: Path) -> Price:
    if not isinstance(entry, Mapping) or not set(_REQUIRED) <= set(entry) <= {*_REQUIRED, *_OPTIONAL}:
        known = ", ".join((*_REQUIRED, *_OPTIONAL))
        raise RecordError(f"{arm!r} must hold input and output, USD per Mtok; known keys: {known}", file=file)
    for key, usd in entry.items():
        if isinstance(usd, bool) or not isinstance(usd, int | float) or not (math.isfinite(usd) and usd >= 0):
            raise RecordError(f"{arm!r}, {key}: expected USD per Mtok, got {usd!r}", file=file)
    return Price(**{key: nano_usd_per_mtok(float(usd)) for key, usd in entry.items()})
