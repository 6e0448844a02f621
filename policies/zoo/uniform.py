"""Every eligible arm alike: gathers a log from which any other policy can be evaluated."""

from collections.abc import Sequence

import numpy as np

from policies.context import Context
from policies.encoders.base import Encoder
from policies.policy import ArmFacts, Scores
from policies.settings import PolicySettings
from policies.tradeoff import TradeOff
from policies.zoo.known import unlearned


class UniformPolicy:
    """Probability 1/n for each of n eligible arms."""

    name = "uniform"
    version = "1"
    encoder_id = ""

    @classmethod
    def build(cls, settings: PolicySettings, arms: Sequence[ArmFacts], encoder: Encoder | None) -> "UniformPolicy":
        """Needs no settings."""
        return cls()

    @classmethod
    def example(cls, arms: Sequence[ArmFacts]) -> "UniformPolicy":
        """A small instance over ``arms``."""
        return cls()

    def score(self, context: Context, arms: Sequence[ArmFacts], trade_off: TradeOff) -> Scores:
        """The uniform distribution."""
        return Scores(np.full(len(arms), 1.0 / len(arms)), unlearned(context, arms), "every eligible arm alike")
