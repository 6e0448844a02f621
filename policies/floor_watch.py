"""Watches whether a promised quality floor still holds, by the few queries that the reference arm answers as well.

A promise holds for traffic like that of its calibration. Here a gambler bets against it: on each sampled pair, that the
policy's score is below floor × the reference arm's. While the floor holds, his capital cannot be expected to grow, so
it ever reaches 1/α with a probability of at most α (Ville), however long one watches. He holds bets of several sizes
and begins anew at every pair with a part of what he has left, so that a long good time does not delay the alarm much.

Sources: Waudby-Smith and Ramdas, JRSS B 2024, for capital; Shiryaev (1963) for the mixture over times of change. Left
out: which pairs to sample (at random, of the traffic served under the floor) and what to do then (serve the reference
arm, set rows aside again, train again).
"""

from dataclasses import dataclass, field, replace
from math import log2

import numpy as np

from policies.predictions import Reals

BETS = (0.02, 0.04, 0.08, 0.16, 0.32, 0.64)  # shares of capital at stake where the policy is right alone


@dataclass(frozen=True, slots=True)
class FloorWatch:
    """What the pairs seen so far say against the floor; an immutable value.

    Attributes:
        floor: Share of the reference arm's quality that was promised.
        false_alarm: α: the highest probability that it ever alarms while the floor holds.
        n_pairs: Seen so far.
        staked: Capital in bets of each size, before division among them, shape (n_bets,).
        highest: The most capital there ever was; it begins at 1.
    """

    floor: float
    false_alarm: float = 0.05
    n_pairs: int = 0
    staked: Reals = field(default_factory=lambda: np.zeros(len(BETS)))
    highest: float = 1.0

    def after(self, score: float, reference_score: float) -> "FloorWatch":
        """The watch after one more pair, both 0..1, of the same query.

        Raises:
            ValueError: A score is outside 0..1: the bound on false alarms would not hold.
        """
        if not (0.0 <= score <= 1.0 and 0.0 <= reference_score <= 1.0):
            raise ValueError(f"scores {score:g} and {reference_score:g}: expected both in 0..1")
        n = self.n_pairs + 1
        short = self.floor * reference_score - score  # in [-1, floor]
        staked = (self.staked + _unstaked(n - 1) - _unstaked(n)) * (1.0 + np.array(BETS) * short)
        capital = float(staked.mean()) + _unstaked(n)
        return replace(self, n_pairs=n, staked=staked, highest=max(self.highest, capital))

    @property
    def alarmed(self) -> bool:
        """Whether it ever alarmed; it does not take that back."""
        return self.highest >= 1.0 / self.false_alarm


def _unstaked(n_pairs: int) -> float:
    """Share of the first capital that is kept for later; falls from 1 to 0, so slowly that late changes are heard."""
    return 1.0 / log2(n_pairs + 2)
