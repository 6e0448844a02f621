"""How much traffic doubt earns: the probability that each arm is the best, of a Gaussian posterior of utilities.

Thompson sampling draws utilities and takes the best; the distribution of what it takes is this probability. A policy
never draws, so it is worked out: in closed form for two arms, with fixed points for more.
"""

from dataclasses import dataclass
from math import erf, isinf, sqrt

import numpy as np
from numpy.typing import NDArray

from policies.predictions import Reals

N_POINTS = 256
_LEAST_SD = 1e-9


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


def normal_points(n_dims: int) -> Reals:
    """Fixed points with the mean and the covariance of a standard normal, shape (N_POINTS, n_dims).

    Raises:
        ValueError: There are too many dimensions for so few points.
    """
    if n_dims >= N_POINTS // 2:
        raise ValueError(f"{N_POINTS} points do for fewer than {N_POINTS // 2} arms, got {n_dims}")
    half = np.random.default_rng(0).standard_normal((N_POINTS // 2, n_dims))
    mirrored = np.concatenate([half, -half])
    matched: Reals = mirrored @ np.linalg.inv(np.linalg.cholesky(mirrored.T @ mirrored / N_POINTS)).T
    return matched


def chances_of_best(mean: Reals, factor: Reals, points: Reals) -> Reals:
    """Probability that each of n arms has the highest utility, shape (n,); for more than two within about ±0.03.

    Args:
        mean: Of the utilities, shape (n,).
        factor: F with F Fᵀ = their covariance, shape (n, d).
        points: Of ``normal_points(d)``.
    """
    if len(mean) == 2:
        apart = factor[0] - factor[1]
        deviation = max(sqrt(float(apart @ apart)), _LEAST_SD)
        first = 0.5 * (1.0 + erf(float(mean[0] - mean[1]) / deviation / sqrt(2.0)))
        return np.array([first, 1.0 - first])
    drawn = points @ factor.T
    drawn += mean
    return np.bincount(drawn.argmax(axis=1), minlength=len(mean)) / len(points)


def follow_doubt(
    utility: Reals, factor: Reals, usd: Reals, *, exploring: Exploring, barred: NDArray[np.bool_], points: Reals
) -> Reals:
    """Probabilities of n eligible arms, shape (n,): those of being best, kept within what ``exploring`` allows.

    Args:
        utility: Shape (n,); −∞ for an arm that must not be taken.
        factor: F with F Fᵀ = the utilities' covariance, shape (n, d).
        usd: Expected cost, shape (n,), known for every arm that may be taken.
        barred: Arms that are taken only if their utility is the highest, shape (n,).
    """
    best = int(utility.argmax())
    dist = np.zeros(len(utility))
    dist[best] = 1.0
    behind = factor - factor[best]
    near = utility + exploring.width * np.sqrt(np.einsum("ij,ij->i", behind, behind)) >= utility[best]
    near &= ~barred
    near[best] = True
    rivals = np.flatnonzero(near)
    if len(rivals) < 2:
        return dist
    doubt = np.zeros(len(utility))
    doubt[rivals] = chances_of_best(utility[rivals], factor[rivals], points)
    return dist + _share(doubt, usd, exploring, best=best) * (doubt - dist)


def _share(doubt: Reals, usd: Reals, exploring: Exploring, *, best: int) -> float:
    """How much of the traffic may follow ``doubt`` without spending more than is allowed."""
    if isinf(exploring.extra_usd):  # of an incumbent that costs nothing it would allow ∞ · 0, which is no number
        return exploring.share
    asked = doubt > 0.0
    extra = float(doubt[asked] @ usd[asked]) - float(usd[best])
    allowed = exploring.extra_usd * float(usd[best])
    return exploring.share if extra <= allowed else min(exploring.share, allowed / extra)
