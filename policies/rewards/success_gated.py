"""xRouter's reward: cost counts only for answers that are right, so a cheap wrong one earns nothing."""

from dataclasses import dataclass
from typing import Self

from policies.rewards.base import Facts, Options, known, read_options

DEFAULTS = {"bonus": 1.0, "quality_per_usd": 0.0, "most": 0.6}


@dataclass(frozen=True, slots=True)
class SuccessGated:
    """quality · (K − min(λ·USD, cap)).

    Options: ``bonus`` (K, 1), ``quality_per_usd`` (λ, 0), ``most`` (cap of the cost term, 0.6).

    Source: xRouter (arXiv 2510.08439), its reward manager: K = 1, λ = 2 to 3 on its own cost scale, cap 0.6 to 0.8.
    Where the source has correct ∈ {0, 1} a graded quality is used as it is.
    """

    bonus: float
    quality_per_usd: float
    most: float

    @classmethod
    def build(cls, options: Options) -> Self:
        return cls(**read_options(options, DEFAULTS, reward="success_gated"))

    def reward(self, facts: Facts) -> float | None:
        if facts.quality is None:
            return None
        usd = known(facts.usd, "usd", reward="success_gated", weight=self.quality_per_usd)
        return facts.quality * (self.bonus - min(self.quality_per_usd * usd, self.most))
