"""AdaptThink's reward: as good as the reference mode, and a little more for not thinking."""

from dataclasses import dataclass
from typing import Self

from policies.rewards.base import Facts, Options, known, read_options

DEFAULTS = {"bonus": 0.05}


@dataclass(frozen=True, slots=True)
class AdaptThink:
    """quality − reference_rate + δ·1[instant]: the Lagrangian of "instant as often as it costs no accuracy".

    Options: ``bonus`` (δ, 0.05).

    Source: AdaptThink (arXiv 2505.13417). Left out: half of the rollouts forced to not think, and the importance
    correction for it; here the log's propensities do that work.
    """

    bonus: float

    @classmethod
    def build(cls, options: Options) -> Self:
        return cls(**read_options(options, DEFAULTS, reward="adaptthink"))

    def reward(self, facts: Facts) -> float | None:
        if facts.quality is None:
            return None
        reference = known(facts.reference_rate, "reference_rate", reward="adaptthink")
        return facts.quality - reference + self.bonus * float(facts.mode == "instant")
