"""The gateway's own utility as a reward: quality less what it cost in dollars and seconds."""

from dataclasses import dataclass
from typing import Self

from policies.rewards.base import Facts, Options, known, read_options

DEFAULTS = {"quality_per_usd": 0.0, "quality_per_s": 0.0}


@dataclass(frozen=True, slots=True)
class Additive:
    """quality − λ·USD − μ·seconds, as `policies.tradeoff.utility` has it of predictions.

    Options: ``quality_per_usd`` (λ, 0) and ``quality_per_s`` (μ, 0).
    """

    quality_per_usd: float
    quality_per_s: float

    @classmethod
    def build(cls, options: Options) -> Self:
        return cls(**read_options(options, DEFAULTS, reward="additive"))

    def reward(self, facts: Facts) -> float | None:
        if facts.quality is None:
            return None
        usd = known(facts.usd, "usd", reward="additive", weight=self.quality_per_usd)
        seconds = known(facts.seconds, "seconds", reward="additive", weight=self.quality_per_s)
        return facts.quality - self.quality_per_usd * usd - self.quality_per_s * seconds
