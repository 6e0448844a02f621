"""How easy each query of a table is, from which arms got it right: the Rasch model, so that few anchors say much.

P(arm j right on query i) = σ(strength_j + ease_i) with ease ~ N(0, sd²) integrated out on a grid (Bock and Aitkin,
1981). Left out: a slope per arm or query; a pool of a few arms does not tell them apart.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.zoo.sigmoid import EDGE, log_odds, sigmoid

Reals = NDArray[np.float64]

_N_POINTS, _WIDTH = 41, 4.0  # of the grid of ease: points, and standard deviations to either side
_N_STEPS = 60
_LEAST_SD, _MOST_SD = 0.2, 4.0


@dataclass(frozen=True, slots=True)
class Ease:
    """What is known of n queries from the arms that answered them.

    Attributes:
        points: Grid of ease in logits, shape (p,).
        share: Posterior probability of each point, shape (n, p).
        strength: Of the arms, in logits at ease 0, shape (m,).
    """

    points: Reals
    share: Reals
    strength: Reals

    def chance(self, strength: float) -> Reals:
        """Probability that an arm of this strength is right on each query, shape (n,)."""
        return chance_of(self.share, strength, self.points)


def chance_of(share: Reals, strength: float, points: Reals) -> Reals:
    """Probability of a right answer to queries with these posteriors of ease, shape (n,)."""
    chance: Reals = share @ sigmoid(strength + points)
    return chance


def strength_of(overall: Reals, mean_quality: float, points: Reals) -> float:
    """The strength of an arm whose mean chance is ``mean_quality`` where ease is distributed as ``overall``."""
    low, high = -15.0, 15.0
    for _ in range(60):  # bisection: the mean chance rises with strength
        middle = 0.5 * (low + high)
        if float(overall @ sigmoid(middle + points)) < mean_quality:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def fit_ease(scores: Reals) -> Ease:
    """Fit to ``scores`` (n, m) in 0..1 by expectation maximisation."""
    grid = np.linspace(-_WIDTH, _WIDTH, _N_POINTS)
    strength, sd = log_odds(np.clip(scores.mean(axis=0), 0.01, 0.99)), 1.0
    share = _posterior(scores, strength, grid * sd, grid)
    for _ in range(_N_STEPS):
        strength = _strengths(scores, strength, share, grid * sd)
        variance = float((share @ (grid**2)).mean()) * sd**2
        mean = float((share @ grid).mean()) * sd
        # The mean of ease is 0 by convention: what it has goes to the strengths.
        strength, sd = strength + mean, float(np.clip((variance - mean**2) ** 0.5, _LEAST_SD, _MOST_SD))
        share = _posterior(scores, strength, grid * sd, grid)
    return Ease(grid * sd, share, strength)


def _posterior(scores: Reals, strength: Reals, points: Reals, grid: Reals) -> Reals:
    """Probability of each grid point given a query's scores, shape (n, p)."""
    chance = np.clip(sigmoid(strength[:, None] + points), EDGE, 1.0 - EDGE)  # (m, p)
    logs = scores @ np.log(chance) + (1.0 - scores) @ np.log1p(-chance) - 0.5 * grid**2
    share = np.exp(logs - logs.max(axis=1, keepdims=True))
    normal: Reals = share / share.sum(axis=1, keepdims=True)
    return normal


def _strengths(scores: Reals, strength: Reals, share: Reals, points: Reals) -> Reals:
    """A Newton step for each arm towards the strength that explains its mean score."""
    overall = share.mean(axis=0)
    chance = sigmoid(strength[:, None] + points)  # (m, p)
    slope = np.maximum((chance * (1.0 - chance)) @ overall, 1e-3)
    step: Reals = np.clip((scores.mean(axis=0) - chance @ overall) / slope, -1.0, 1.0)
    return strength + step
