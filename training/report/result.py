"""A benchmark result as the report reads it: every lookup tolerates what is absent, null or not finite."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

FORMAT = 1
QUALITIES = ("95", "97", "99", "100")
DEFAULT = "default"
REFERENCES = ("domain_table", "oracle")  # read what a gateway never sees
LOWER_IS_BETTER = frozenset({"cpt50", "cpt80", "cost_of_pass", "gap_at_oracle", "ece", "brier", "decision_us", "fit_s"})

_ROUNDING = 1e-9  # a difference of equal numbers need not be 0 exactly


class ReportError(ValueError):
    """A result cannot be shown; names the key or the file and says what it should hold."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95 % interval, where the run has one."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def is_positive(self) -> bool:
        """The whole interval lies above 0."""
        return self.low is not None and self.low > _ROUNDING

    @property
    def is_negative(self) -> bool:
        """The whole interval lies below 0."""
        return self.high is not None and self.high < -_ROUNDING

    def negated(self) -> "Estimate":
        """The same difference seen from the other side."""
        flip = (None if bound is None else -bound for bound in (self.high, self.low))
        return Estimate(-self.value, *flip)


@dataclass(frozen=True, slots=True)
class PolicyResult:
    """One policy on one pool."""

    name: str
    raw: Mapping[str, Any]

    @property
    def is_label_free(self) -> bool:
        """It decides from what a gateway sees."""
        return bool(self.raw.get("label_free", self.name not in REFERENCES))

    def number(self, metric: str) -> float | None:
        """A metric by its name in ``ci``: ``save_97`` is ``save["97"]``."""
        kind, _, quality = metric.partition("_")
        if kind == "save" and quality in QUALITIES:
            return number(mapping(self.raw, "save").get(quality))
        return number(self.raw.get(metric))

    def estimate(self, metric: str) -> Estimate | None:
        """The metric with its interval."""
        value = self.number(metric)
        if value is None:
            return None
        low, high = _numbers(mapping(self.raw, "ci").get(metric), 2)
        return Estimate(value, low, high)

    def committed(self, quality: str) -> tuple[float | None, float | None]:
        """``saving_pct`` and ``realised_ratio`` with λ chosen on training data."""
        entry = mapping(mapping(self.raw, "save_committed"), quality)
        return number(entry.get("saving_pct")), number(entry.get("realised_ratio"))

    def versus(self, other: str, metric: str) -> Estimate | None:
        """This policy minus the other, paired over queries."""
        value, low, high = _numbers(mapping(mapping(self.raw, "versus"), other).get(metric), 3)
        return None if value is None else Estimate(value, low, high)

    def rows(self, key: str, width: int) -> list[list[float]]:
        """Rows of numbers such as ``curve``; those with a gap in the first ``width`` are left out."""
        rows = [_numbers(row, width) for row in self.raw.get(key) or ()]
        return [[value for value in row if value is not None] for row in rows if None not in row]


@dataclass(frozen=True, slots=True)
class PoolResult:
    """All policies on one pool."""

    name: str
    raw: Mapping[str, Any]

    @property
    def policies(self) -> dict[str, PolicyResult]:
        """By name: ``default``, then by saving at 97 %, those that never reach it last; references after all others."""
        found = [PolicyResult(name, raw) for name, raw in mapping(self.raw, "policies").items() if raw]
        found.sort(key=_rank)
        return {each.name: each for each in found}

    @property
    def main(self) -> PolicyResult | None:
        """The policy the words are about: ``default``, else the best that serves without labels, else the first."""
        policies = self.policies
        if DEFAULT in policies or not policies:
            return policies.get(DEFAULT)
        return next((each for each in policies.values() if each.is_label_free), next(iter(policies.values())))

    @property
    def arms(self) -> list[Mapping[str, Any]]:
        """Arms with a price and an accuracy, the cheapest first."""
        arms = [arm for arm in self.raw.get("arms") or () if None not in (number(arm["usd"]), number(arm["accuracy"]))]
        return sorted(arms, key=lambda arm: (arm["usd"], arm["arm"]))

    def single(self, which: str) -> tuple[str, float | None, float | None]:
        """Arm, accuracy and USD of ``best_single`` or ``cheapest``."""
        entry = mapping(self.raw, which)
        return str(entry.get("arm", "?")), number(entry.get("accuracy")), number(entry.get("usd"))

    def difference(self, policy: PolicyResult, other: PolicyResult, metric: str) -> Estimate | None:
        """Paired difference from whichever side recorded it."""
        found = policy.versus(other.name, metric)
        if found is not None:
            return found
        mirrored = other.versus(policy.name, metric)
        return None if mirrored is None else mirrored.negated()


def pools(result: Mapping[str, Any]) -> Iterator[PoolResult]:
    """Each pool of a result.

    Raises:
        ReportError: It is no benchmark result, or one of another format.
    """
    if result.get("format", FORMAT) != FORMAT:
        raise ReportError(f"format: this version reads {FORMAT}, the result has {result['format']!r}; run it again")
    if not isinstance(result.get("pools"), Mapping):
        raise ReportError("pools: expected an object with one entry per pool; is this the JSON of gearshift benchmark?")
    for name, raw in result["pools"].items():
        if not isinstance(raw, Mapping) or not isinstance(raw.get("policies"), Mapping):
            raise ReportError(f"pools.{name}.policies: expected an object with one entry per policy")
        yield PoolResult(name, raw)


def mapping(raw: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The object below a key, empty where it is absent or null."""
    return raw.get(key) or {}


def number(value: object) -> float | None:
    """A finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _numbers(values: object, n: int) -> tuple[float | None, ...]:
    if not isinstance(values, list | tuple) or len(values) < n:
        return (None,) * n
    return tuple(number(value) for value in values[:n])


def _rank(policy: PolicyResult) -> tuple[bool, bool, float, str]:
    saving = policy.number("save_97")
    return policy.name != DEFAULT, not policy.is_label_free, math.inf if saving is None else -saving, policy.name
