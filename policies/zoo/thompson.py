"""How much traffic doubt earns: the probability that each arm is the best, of a Gaussian posterior of utilities.

Thompson sampling draws utilities and takes the best; the distribution of what it takes is this probability. A policy
never draws, so it is worked out: in closed form for two arms, with fixed quasi-random points for more.
"""

from dataclasses import dataclass
from math import erf, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from policies.predictions import Reals

_PRIMES = (
    2,
    3,
    5,
    7,
    11,
    13,
    17,
    19,
    23,
    29,
    31,
    37,
    41,
    43,
    47,
    53,
    59,
    61,
    67,
    71,
    73,
    79,
    83,
    89,
    97,
    101,
    103,
    107,
)
N_POINTS = 256
_LEAST_VARIANCE = 1e-18


@dataclass(frozen=True, slots=True)
class Exploring:
    """What exploration beyond ``decide``'s floor may do.

    Attributes:
        share: Of the requests, at most, that follow doubt instead of the highest utility, 0..1; 0 turns it off.
        extra_usd: Expected spend of a request above that of the arm of highest utility, as a share of that arm's cost;
            ``share`` is lowered until it is kept.
        width: An arm is looked at only where its utility + width · deviation of its lead reaches the incumbent's.
        barred: Arms that get none of it: not paid for yet, or their trial's money is spent.
    """

    share: float = 1.0
    extra_usd: float = float("inf")
    width: float = 2.0
    barred: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not (0.0 <= self.share <= 1.0 and self.extra_usd >= 0.0 and self.width >= 0.0):
            raise ValueError("exploring: share must lie in 0..1, extra_usd and width must not be negative")


def normal_points(n_arms: int) -> Reals:
    """Fixed points that lie as a standard normal does, shape (N_POINTS, n_arms): a Kronecker sequence, mirrored.

    Source: Niederreiter, "Random Number Generation and Quasi-Monte Carlo Methods", 1992, with roots of primes.
    """
    steps = np.arange(1, N_POINTS // 2 + 1)[:, None] * np.sqrt(_primes(n_arms))
    inverse = NormalDist().inv_cdf
    half = np.array([[inverse(min(max(part, 1e-9), 1 - 1e-9)) for part in row] for row in (steps + 0.5) % 1.0])
    return np.concatenate([half, -half])


def _primes(n: int) -> list[int]:
    found: list[int] = []
    candidate = 2
    while len(found) < n:
        if all(candidate % prime for prime in found):
            found.append(candidate)
        candidate += 1
    return found


def chances_of_best(mean: Reals, covariance: Reals, points: Reals) -> Reals:
    """Probability that each of n arms has the highest utility, shape (n,).

    Args:
        mean / covariance: Of the utilities, shapes (n,) and (n, n), positive semi-definite.
        points: As of ``normal_points``, of at least n columns.
    """
    n = len(mean)
    if n == 2:
        variance = float(covariance[0, 0] + covariance[1, 1] - 2.0 * covariance[0, 1])
        lead = float(mean[0] - mean[1]) / sqrt(max(variance, _LEAST_VARIANCE))
        first = 0.5 * (1.0 + erf(lead / sqrt(2.0)))
        return np.array([first, 1.0 - first])
    values, vectors = np.linalg.eigh(covariance)
    factor = vectors * np.sqrt(np.maximum(values, 0.0))  # no Cholesky: an arm without doubt makes it singular
    drawn = points[:, :n] @ factor.T
    drawn += mean
    return np.bincount(drawn.argmax(axis=1), minlength=n) / len(points)


def follow_doubt(
    utility: Reals, covariance: Reals, usd: Reals, *, exploring: Exploring, barred: NDArray[np.bool_], points: Reals
) -> Reals:
    """Probabilities of n eligible arms, shape (n,): those of being best, kept within what ``exploring`` allows.

    Args:
        utility: Shape (n,); −∞ for an arm that must not be taken.
        covariance: Of the utilities, shape (n, n).
        usd: Expected cost, shape (n,), known for every arm that may be taken.
        barred: Arms that are taken only if their utility is the highest, shape (n,).
    """
    best = int(utility.argmax())
    dist = np.zeros(len(utility))
    dist[best] = 1.0
    lead_variance = covariance.diagonal() + covariance[best, best] - 2.0 * covariance[best]
    near = utility + exploring.width * np.sqrt(np.maximum(lead_variance, 0.0)) >= utility[best]
    near &= ~barred
    near[best] = True
    rivals = np.flatnonzero(near)
    if len(rivals) < 2:
        return dist
    doubt = np.zeros(len(utility))
    doubt[rivals] = chances_of_best(utility[rivals], covariance[np.ix_(rivals, rivals)], points)
    extra = float(doubt[rivals] @ usd[rivals]) - float(usd[best])
    allowed = exploring.extra_usd * float(usd[best])
    share = exploring.share if extra <= allowed else min(exploring.share, allowed / extra)
    return dist + share * (doubt - dist)
