"""Watches whether a promised quality floor still holds, by the few queries that the reference arm answers as well.

A promise holds for traffic like that of its calibration. Here a gambler bets against it: on each sampled pair, that the
policy's score is below floor × the reference arm's. While the floor holds, his capital cannot be expected to grow, so
in a window of pairs it ever reaches 1/α with a probability of at most α (Ville). He bets to reach a little more than
that by the window's end, as ``training.floors.betting`` does, and begins anew with the next: a bound on false alarms
for all time would have to distrust every late change, and heard half as many real shifts within 500 pairs.

Left out: which pairs to sample (at random, of the traffic served under the floor; ``gearshift floors watch`` does) and
what to do on alarm (serve the reference arm, set rows of the new traffic aside, train again).
"""

from dataclasses import dataclass, replace
from math import exp, pi, sqrt
from statistics import NormalDist

# The bets approach what they aim at ever more slowly and reach it at the window's end: who aimed at 1/α itself would
# hear a total break only after a hundred pairs.
_AIM = 1.2
_MOST_RISKED = 0.9  # of the capital, in the worst case of one pair: the policy is right alone
_PRIOR_VARIANCE, _PRIOR_PAIRS = 0.05, 10.0  # of a difference, before any was seen
_NORMAL, _LEAST = NormalDist(), 1e-12


@dataclass(frozen=True, slots=True)
class FloorWatch:
    """What the pairs of this window say against the floor; an immutable value.

    Attributes:
        floor: Share of the reference arm's quality that was promised.
        false_alarm: α: the highest probability of an alarm in a window in which the floor holds.
        window: Pairs after which the gambler begins anew.
        n_pairs: Seen in this window.
        capital: Of the gambler; he begins with 1.
        total / squares: Sums of the differences in this window and of their squares.
        alarmed: Whether any window alarmed; it is not taken back.
    """

    floor: float
    false_alarm: float = 0.05
    window: int = 500
    n_pairs: int = 0
    capital: float = 1.0
    total: float = 0.0
    squares: float = 0.0
    alarmed: bool = False

    def after(self, score: float, reference_score: float) -> "FloorWatch":
        """The watch after one more pair, both 0..1, of the same query.

        Raises:
            ValueError: A score is outside 0..1: the bound on false alarms would not hold.
        """
        if not (0.0 <= score <= 1.0 and 0.0 <= reference_score <= 1.0):
            raise ValueError(f"scores {score:g} and {reference_score:g}: expected both in 0..1")
        if self.n_pairs >= self.window:
            return replace(self, n_pairs=0, capital=1.0, total=0.0, squares=0.0).after(score, reference_score)
        short = self.floor * reference_score - score  # in [-1, floor]
        capital = max(self.capital * (1.0 + self._bet() * short), _LEAST)
        return replace(
            self,
            n_pairs=self.n_pairs + 1,
            capital=capital,
            total=self.total + short,
            squares=self.squares + short**2,
            alarmed=self.alarmed or capital >= 1.0 / self.false_alarm,
        )

    def _bet(self) -> float:
        """Share of the capital that goes if the policy is right alone; nothing once the goal is reached."""
        if self.false_alarm * self.capital >= 1.0:
            return 0.0
        share = self.false_alarm * self.capital / _AIM
        n = self.n_pairs + _PRIOR_PAIRS
        variance = max((self.squares + _PRIOR_VARIANCE * _PRIOR_PAIRS) / n - (self.total / n) ** 2, 1e-6)
        at = _NORMAL.inv_cdf(share)
        density = exp(-0.5 * at * at) / sqrt(2.0 * pi)
        return min(density / (share * sqrt(variance * (self.window - self.n_pairs))), _MOST_RISKED)
