"""Chooses anchors: prompts on which arms of unlike strength part, from every cluster, each with a known probability.

The Fisher information that an answer carries about an arm's strength is the variance p(1 − p) of being right. Drawing
a query with probability in proportion to the root of that variance is what makes the mean's estimate most exact (Isaki
and Fuller, 1982), and because the probability is known its weight makes the estimate unbiased. Systematic drawing along
clusters gives each cluster its share.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.anchors.rasch import Ease
from training.landmarks import k_means

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]

FEWEST, MOST = 10, 2000
_STRENGTH_POINTS = np.array([-1.2816, -0.5244, 0.0, 0.5244, 1.2816])  # deciles 1, 3, 5, 7, 9 of a normal
_LEAST_SPREAD = 0.5  # logits by which newcomers differ at least
_LEAST_VARIANCE = 0.02  # nobody is certain: keeps the weight of an easy query bounded


@dataclass(frozen=True, slots=True)
class Drawn:
    """k anchors out of n queries.

    Attributes:
        rows: Rows of the table, ascending, shape (k,).
        weight: Share of all queries that each stands for, sums to 1, shape (k,).
    """

    rows: Integers
    weight: Reals


def informativeness(ease: Ease) -> Reals:
    """Expected variance of a newcomer's score on each query, shape (n,): newcomers are like the known arms."""
    spread = max(float(ease.strength.std()), _LEAST_SPREAD)
    chances = [ease.chance(float(ease.strength.mean() + spread * point)) for point in _STRENGTH_POINTS]
    variance: Reals = np.mean([chance * (1.0 - chance) for chance in chances], axis=0)
    return np.maximum(variance, _LEAST_VARIANCE)


def draw_anchors(ease: Ease, embeddings: NDArray[np.float32], *, k: int, seed: int, n_clusters: int = 16) -> Drawn:
    """Draw ``k`` anchors by systematic sampling with unequal probabilities.

    Raises:
        ValueError: There are not more queries than anchors, or ``k`` is out of bounds.
    """
    n = len(embeddings)
    if not FEWEST <= k <= MOST:
        raise ValueError(f"{k} anchors: choose between {FEWEST} and {MOST}")
    if n <= k:
        raise ValueError(f"{k} anchors out of {n} queries: use a table with more queries, or fewer anchors")
    probability = inclusion(np.sqrt(informativeness(ease)), k=k)
    order = _along_clusters(embeddings, ease, n_clusters=min(n_clusters, max(k // 3, 1)), seed=seed)
    start = np.random.default_rng(seed).random()
    passed = np.cumsum(probability[order]) - start
    hit = np.diff(np.ceil(passed), prepend=np.ceil(-start)) > 0.5
    rows = np.sort(order[hit])
    weight = 1.0 / probability[rows]
    return Drawn(rows.astype(np.int64), weight / weight.sum())


def inclusion(size: Reals, *, k: int) -> Reals:
    """Probabilities in proportion to ``size`` that sum to ``k``; who would exceed 1 is certain, shape (n,)."""
    certain = np.zeros(len(size), dtype=np.bool_)
    while True:
        left = k - int(certain.sum())
        probability = np.where(certain, 1.0, left * size / max(float(size[~certain].sum()), 1e-12))
        above = ~certain & (probability > 1.0)
        if not above.any():
            return probability
        certain |= above


def _along_clusters(embeddings: NDArray[np.float32], ease: Ease, *, n_clusters: int, seed: int) -> Integers:
    """All rows, cluster by cluster and by ease within each, turning at every cluster's end."""
    points = embeddings.astype(np.float64)
    centres = k_means(points, n_clusters, seed=seed)
    nearest = ((centres**2).sum(axis=1) - 2.0 * points @ centres.T).argmin(axis=1)
    expected = ease.share @ ease.points
    order = np.lexsort((np.where(nearest % 2 == 0, expected, -expected), nearest))
    return order.astype(np.int64)
