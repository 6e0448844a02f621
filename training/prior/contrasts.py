"""Shrinks what sets arms apart to what held-out rows bear out, direction by direction.

Routing lives on small differences between arms, and a blend exaggerates the weakly predictable ones. The blend's
held-out predictions are rotated to the principal directions of the contrasts between arms, and along each the outcomes
are regressed on them. Source: "curds and whey" (Breiman and Friedman, 1997), with the slopes shrunk to zero by their
own error (James and Stein, 1961, positive part), so that on little data nothing but the arms' means is left. No slope
exceeds 1: a blend spreads less than what it averages, and held-out rows ask for up to 1.7 times as much; but that is
true of the training domains alone, and on others every contrast believed beyond what was said does harm.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Contrasts:
    """Calibrated = means + (blend − centre) @ slopes.

    Attributes:
        means / centre: Mean score and mean held-out blend of each arm, shape (m,).
        slopes: Shape (m, m), symmetric.
        kept: Slope along each direction, the arms' common level first, shape (m,); 0 = nothing learned, 1 = believed.
    """

    means: Reals
    centre: Reals
    slopes: Reals
    kept: Reals

    def __call__(self, blend: Reals) -> Reals:
        """Calibrated expected scores, shape (n, m), in [0, 1]."""
        return np.clip(self.means + (blend - self.centre) @ self.slopes, 0.0, 1.0)


def fit_contrasts(blend: Reals, scores: Reals) -> Contrasts:
    """Regress ``scores`` (n, m) on held-out ``blend`` (n, m) along each direction."""
    centre, means = blend.mean(axis=0), scores.mean(axis=0)
    predicted, found = blend - centre, scores - means
    m = blend.shape[1]
    level = np.full((m, 1), m**-0.5)
    apart = predicted - (predicted @ level) @ level.T
    _, vectors = np.linalg.eigh(apart.T @ apart)
    # The common level itself is the direction of (numerically) no contrast: the last of the descending order.
    directions = np.hstack([level, vectors[:, ::-1][:, : m - 1]])
    kept = np.array([shrunk_slope(predicted @ axis, found @ axis) for axis in directions.T])
    return Contrasts(means, centre, (directions * kept) @ directions.T, kept)


def shrunk_slope(predicted: Reals, found: Reals) -> float:
    """Least-squares slope through the means, shrunk by its standard error, between 0 and 1."""
    x, y = predicted - predicted.mean(), found - found.mean()
    energy = float(x @ x)
    if energy < 1e-12 or len(x) < 3:
        return 0.0
    slope = float(x @ y) / energy
    error = float(((y - slope * x) ** 2).sum()) / (len(x) - 2) / energy
    if slope <= 0.0:
        return 0.0
    return min(slope * max(0.0, 1.0 - error / slope**2), 1.0)
