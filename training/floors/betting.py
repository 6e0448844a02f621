"""Betting p-values for "the mean difference is at most 0", valid for any number of rows and any bounded differences.

A gambler starts with capital 1 and stakes, before each difference d is seen, a bet b ≥ 0 that it is positive: capital
is multiplied by 1 + b·d. If the mean given all earlier rows is never above 0, capital cannot be expected to grow, so it
ever reaches 1/α with a probability of at most α (Ville). How the bets are chosen decides the power alone. Sources:
Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS B 2024, for capital and test.
Departure: their bets do best against a goal that is never reached; here there is a goal, 1/α, and a deadline, the last
row. Those are the bets that reach a goal by a deadline most probably when steps are small: the hedge of a digital
option (Browne, "Reaching goals by a deadline", Advances in Applied Probability, 1999). Their power is almost that of
the z-test, which holds for large numbers only.
"""

import numpy as np

from training.metrics.curve import Reals

_MOST_RISKED = 0.9  # of the capital, in the worst case of one row
_PRIOR_VARIANCE, _PRIOR_ROWS = 0.05, 10.0  # of a difference, before any was seen
_DENSITY = 1.0 / np.sqrt(2.0 * np.pi)
_LEAST = 1e-300


def p_values(differences: Reals, *, lowest: float, confidence: float) -> Reals:
    """1 / the highest capital, at most 1, shape (k,): reject where it is at most 1 − ``confidence``.

    Args:
        differences: Of n rows and k policies, shape (n, k), in an order that does not depend on them.
        lowest: Least possible difference, negative.
        confidence: That the bets aim at; the p-value is valid at any level and has its power at this one.
    """
    if not lowest < 0.0 or differences.min(initial=0.0) < lowest - 1e-9:
        raise ValueError(f"differences of {differences.min(initial=0.0):g} where {lowest:g} is the least possible")
    alpha, n = 1.0 - confidence, len(differences)
    capital, spread = np.ones(differences.shape[1]), _Spread(differences.shape[1])
    highest = capital.copy()
    for row, seen in enumerate(differences):
        bets = _bets(np.minimum(alpha * capital, 1.0), spread.variance() * (n - row))
        capital *= 1.0 + np.minimum(bets, _MOST_RISKED / -lowest) * seen
        np.maximum(capital, _LEAST, out=capital)
        np.maximum(highest, capital, out=highest)
        spread.observe(seen)
    return np.asarray(1.0 / highest)


def _bets(share: Reals, variance_left: Reals) -> Reals:
    """Bets where ``share`` of the goal is reached and the rows to come sum to ``variance_left``; none at the goal."""
    from scipy.special import ndtri

    at = ndtri(share)
    return np.asarray(_DENSITY * np.exp(-0.5 * at * at) / (share * np.sqrt(variance_left)))


class _Spread:
    """Variance of each policy's differences so far."""

    def __init__(self, k: int) -> None:
        self._n, self._sum, self._squares = _PRIOR_ROWS, np.zeros(k), np.full(k, _PRIOR_VARIANCE * _PRIOR_ROWS)

    def variance(self) -> Reals:
        return np.maximum(self._squares / self._n - (self._sum / self._n) ** 2, 1e-6)

    def observe(self, differences: Reals) -> None:
        self._n += 1.0
        self._sum += differences
        self._squares += differences**2
