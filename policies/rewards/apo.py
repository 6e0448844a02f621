"""A²FM's adaptive reward: on queries that instant answers solve, a heavier mode earns less."""

from dataclasses import dataclass
from typing import Self

from policies.rewards.base import Facts, Options, known, read_options

DEFAULTS = {"exponent": 2.0, "easy_above": 0.5, "right_from": 0.5}


@dataclass(frozen=True, slots=True)
class Apo:
    """r_acc · r_adaptive · r_format.

    r_acc is 1 from quality ``right_from`` on; r_adaptive is 1 − p^α for a mode other than instant where the query is
    easy (instant success rate p > τ), else 1; r_format is 1 for a well-formed answer, else 0.
    Options: ``exponent`` (α, 2), ``easy_above`` (τ, 0.5), ``right_from`` (0.5).

    Source: A²FM (arXiv 2510.12838), adaptive policy optimisation. Its τ is not published; 0.5 is ours.
    Left out: rollouts and advantages; the rate p comes from whoever holds the outcomes.
    """

    exponent: float
    easy_above: float
    right_from: float

    @classmethod
    def build(cls, options: Options) -> Self:
        return cls(**read_options(options, DEFAULTS, reward="apo"))

    def reward(self, facts: Facts) -> float | None:
        if facts.quality is None:
            return None
        rate = known(facts.instant_rate, "instant_rate", reward="apo", weight=float(facts.mode != "instant"))
        easy = facts.mode != "instant" and rate > self.easy_above
        adaptive = 1.0 - rate**self.exponent if easy else 1.0
        return float(facts.quality >= self.right_from) * adaptive * float(facts.well_formed)
