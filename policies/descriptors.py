"""What can be known of an arm before it answered anything: prices, size, age, mode, effort, scores, a text."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import orjson

from policies.arms import EFFORTS, Arm, Mode
from policies.errors import PolicyError
from policies.policy import ArmFacts
from policies.prices import NANO, Price

_SIZE = re.compile(r"(?<![a-z0-9.])(?:(\d+)x)?(\d+(?:\.\d+)?)b(?![a-z0-9])", re.IGNORECASE)
_EPOCH_YEAR = 2020
_EFFORT_OF_BUDGET = ((512, 1.0), (2048, 2.0), (8192, 3.0))  # tokens up to which a budget counts as minimal, low, medium


class DescriptorError(PolicyError):
    """A file of descriptors does not hold what it must; names the file and the field."""


@dataclass(frozen=True, slots=True)
class ArmDescriptor:
    """Facts of an arm; None where unknown, which is never the same as zero.

    Attributes:
        usd_per_mtok_in / usd_per_mtok_out: List prices.
        params_b: Billions of parameters.
        context_tokens: Context window.
        released_year: Calendar year with its fraction, e.g. 2024.5.
        scores: Published or measured scores in 0..1, by benchmark.
        text: One line about the model, for the encoder.
    """

    model: str
    mode: Mode
    effort: str = ""
    usd_per_mtok_in: float | None = None
    usd_per_mtok_out: float | None = None
    params_b: float | None = None
    context_tokens: float | None = None
    released_year: float | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    text: str = ""

    @property
    def effort_level(self) -> float | None:
        """0 (off) to 4 (high), the nearest such level of a token budget; None for a model's only effort."""
        if self.effort in EFFORTS:
            return float(EFFORTS.index(self.effort))
        if self.effort.isdecimal():
            return next((level for most, level in _EFFORT_OF_BUDGET if int(self.effort) <= most), 4.0)
        return None

    @property
    def released_age(self) -> float | None:
        """Years from 2020 to its release."""
        return None if self.released_year is None else self.released_year - _EPOCH_YEAR


def describe(arm: Arm, price: Price | None, known: Mapping[str, Mapping[str, Any]] | None = None) -> ArmDescriptor:
    """What an arm's name, its configured price and an entry of ``known`` (by model name) tell.

    A configured price goes before a listed one.

    Raises:
        DescriptorError: A field of the entry is of the wrong kind.
    """
    entry = (known or {}).get(arm.model, {})
    return ArmDescriptor(
        model=arm.model,
        mode=arm.mode,
        effort=arm.effort,
        usd_per_mtok_in=_number(entry, "price_in_per_m", arm.model) if price is None else price.input / NANO,
        usd_per_mtok_out=_number(entry, "price_out_per_m", arm.model) if price is None else price.output / NANO,
        params_b=_first(_number(entry, "params_b", arm.model), size_in_name(arm.model)),
        context_tokens=_number(entry, "context_tokens", arm.model),
        released_year=_year(entry.get("release"), arm.model),
        scores=_scores(entry.get("scores"), arm.model),
        text=str(entry.get("descriptor") or ""),
    )


def describe_facts(facts: ArmFacts) -> ArmDescriptor:
    """What the gateway's configuration tells of an arm."""
    return describe(facts.arm, facts.price)


def load_descriptors(file: Path | str) -> Mapping[str, Mapping[str, Any]]:
    """Entries by model name from a JSON or YAML file.

    Each entry may have ``price_in_per_m``, ``price_out_per_m`` (USD per million tokens), ``params_b``,
    ``context_tokens``, ``release`` (``YYYY`` or ``YYYY-MM``), ``scores`` (benchmark -> 0..1) and ``descriptor`` (one
    line of text); others are passed over.

    Raises:
        DescriptorError: The file cannot be read or is no mapping of mappings.
    """
    place = Path(file)
    try:
        read = _parse(place)
    except (OSError, ValueError) as problem:
        raise DescriptorError(f"{place}: cannot be read as JSON or YAML: {problem}") from problem
    if not isinstance(read, dict):
        raise DescriptorError(f"{place}: expected model names with their facts, got {type(read).__name__}")
    for name, entry in read.items():
        if not isinstance(entry, dict):
            raise DescriptorError(f"{place}: {name}: expected a mapping of facts, got {type(entry).__name__}")
    return {str(name): entry for name, entry in read.items()}


def size_in_name(model: str) -> float | None:
    """Billions of parameters written in a model's name: ``8x7B`` counts 56; None if there are none."""
    found: Sequence[tuple[str, str]] = _SIZE.findall(model)
    return max((float(size) * int(times or 1) for times, size in found), default=None)


def _parse(place: Path) -> object:
    raw = place.read_bytes()
    if place.suffix == ".json":
        return orjson.loads(raw)
    import yaml

    try:
        return yaml.safe_load(raw)
    except yaml.YAMLError as problem:
        raise ValueError(str(problem)) from problem


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _number(entry: Mapping[str, Any], name: str, model: str) -> float | None:
    value = entry.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value < float("inf"):
        raise DescriptorError(f"{model}.{name}: expected a number ≥ 0 or nothing, got {value!r}")
    return float(value)


def _year(release: object, model: str) -> float | None:
    if release is None or release == "":
        return None
    if isinstance(release, date):
        return release.year + (release.month - 1) / 12
    parts = str(release).split("-")
    month = parts[1] if len(parts) > 1 else "01"
    if not (parts[0].isdecimal() and len(parts[0]) == 4 and month.isdecimal() and 1 <= int(month) <= 12):
        raise DescriptorError(f"{model}.release: expected YYYY or YYYY-MM, got {release!r}")
    return int(parts[0]) + (int(month) - 1) / 12


def _scores(scores: object, model: str) -> Mapping[str, float]:
    if scores is None:
        return {}
    if not isinstance(scores, Mapping):
        raise DescriptorError(f"{model}.scores: expected benchmark names with scores, got {type(scores).__name__}")
    read = {str(name): _number(scores, name, f"{model}.scores") for name in scores}
    for name, value in read.items():
        if value is not None and value > 1.0:
            raise DescriptorError(f"{model}.scores.{name}: expected 0..1, got {value:g}; divide percents by 100")
    return {name: value for name, value in read.items() if value is not None}
