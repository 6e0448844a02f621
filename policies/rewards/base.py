"""What a reward is: a function from the raw facts of an outcome to a number."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from policies.arms import Mode

Options = Mapping[str, float]

FAILED = frozenset({"error", "upstream_cut", "unknown_after_crash"})


class RewardError(ValueError):
    """A reward's options cannot be used, or it needs a fact that the outcome has not."""


@dataclass(frozen=True, slots=True)
class Facts:
    """The raw facts of one outcome.

    Attributes:
        score: A grader's or the source's score, 0..1.
        feedback: The people's value, 0..1 after its metric's range; counts where there is no score.
        checks: Scores of checks made on the way, 0..1 by name; their mean counts where there is neither.
        usd / seconds: None where unknown.
        status: One of ``policies.records.STATUSES``.
        mode: How the serving arm was asked to answer.
        well_formed: The answer kept the form its mode demands.
        instant_rate: Success rate of instant answers to the same query, 0..1.
        reference_rate: Success rate of the reference mode on the same query, 0..1.
    """

    score: float | None = None
    feedback: float | None = None
    checks: Mapping[str, float] = field(default_factory=dict)
    usd: float | None = None
    seconds: float | None = None
    status: str = "ok"
    mode: Mode = "instant"
    well_formed: bool = True
    instant_rate: float | None = None
    reference_rate: float | None = None

    @property
    def quality(self) -> float | None:
        """0..1: score, else feedback, else the checks' mean; 0 where the arm gave no answer; None where unknown."""
        for value in (self.score, self.feedback):
            if value is not None:
                return value
        if self.checks:
            return float(np.mean(list(self.checks.values())))
        return 0.0 if self.status in FAILED else None


class Reward(Protocol):
    """Computes the reward of an outcome."""

    def reward(self, facts: Facts) -> float | None:
        """The reward; None where the quality is unknown: an ungraded outcome is no failure.

        Raises:
            RewardError: A fact is missing that the reward cannot do without, e.g. the cost; never taken for zero.
        """
        ...


class RewardType(Protocol):
    """What an entry point of the group ``gearshift.rewards`` names: a class that can build its reward."""

    def build(self, options: Options) -> Reward:
        """Build it. Raises RewardError for an option that it has not or that makes no sense."""
        ...


def read_options(options: Options, defaults: Options, *, reward: str) -> dict[str, float]:
    """``defaults`` overridden by ``options``. Raises RewardError for an unknown, negative or infinite one."""
    unknown = sorted(set(options) - set(defaults))
    if unknown:
        raise RewardError(f"reward {reward}: unknown option {unknown[0]!r}; it has {', '.join(defaults)}")
    for name, value in options.items():
        if type(value) not in (int, float) or not 0 <= value < float("inf"):
            raise RewardError(f"reward {reward}: option {name}: expected a number of 0 or more, got {value!r}")
    return {**defaults, **options}


def known(value: float | None, name: str, *, reward: str, weight: float = 1.0) -> float:
    """The fact; 0 where its weight is 0. Raises RewardError where it is needed and unknown."""
    if value is not None:
        return value
    if weight == 0.0:
        return 0.0
    raise RewardError(f"reward {reward}: the outcome has no {name}; leave such rows out or choose another reward")
