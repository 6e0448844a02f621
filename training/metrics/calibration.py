"""Whether predicted quality means what it says: expected calibration error and Brier score over all arms.

Sources: Naeini et al., "Obtaining Well Calibrated Probabilities Using Bayesian Binning" (ECE), AAAI 2015, with bins of
equal mass as in Nixon et al., arXiv 1904.01685; Brier, "Verification of forecasts expressed in terms of probability",
1950. Scores between 0 and 1 are allowed. Every arm's prediction counts, chosen or not, so selection cannot flatter.
"""

from dataclasses import dataclass

import numpy as np

from training.metrics.curve import Reals

N_BINS = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """Mean prediction and mean score of the ``n`` predictions in a bin."""

    predicted: float
    observed: float
    n: int


def bins(predicted: Reals, observed: Reals, *, n_bins: int = N_BINS) -> list[Bin]:
    """Bins of equal mass by prediction; equal predictions stay together, so there may be fewer.

    Args:
        predicted / observed: Any equal shapes; flattened.
    """
    flat, truth = np.ravel(predicted), np.ravel(observed)
    edges = np.quantile(flat, np.arange(1, n_bins) / n_bins)
    member = np.searchsorted(edges, flat, side="right")
    kept = [member == index for index in range(n_bins)]
    return [Bin(float(flat[mask].mean()), float(truth[mask].mean()), int(mask.sum())) for mask in kept if mask.any()]


def ece(of: list[Bin]) -> float:
    """Σ n_b/n · |mean prediction − mean score| over bins, 0..1."""
    total = sum(each.n for each in of)
    return sum(each.n * abs(each.predicted - each.observed) for each in of) / total


def squared_errors(predicted: Reals, observed: Reals) -> Reals:
    """Mean over arms of (prediction − score)², shape (n,), from shapes (n, m); its mean is the Brier score."""
    errors: Reals = ((predicted - observed) ** 2).mean(axis=1)
    return errors
