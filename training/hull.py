"""Whether a router beats mixing fixed arms: accuracy against the convex hull of single arms at equal cost.

Tossing a coin between two fixed arms needs no router and reaches every point between them, so the hull of single arms
is the honest baseline (the "Zero router" of RouterBench, arXiv 2403.12031).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]

_CHUNK = 100  # bootstrap replicates drawn at a time, to bound memory


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class GainAtEqualCost:
    """A router's means and its gain over the hull at its own mean cost.

    Attributes:
        accuracy / usd: Mean score and mean USD per query.
        hull_accuracy: What the best coin toss between single arms reaches at the same mean cost.
        gain: ``accuracy − hull_accuracy``, paired over queries.
        saving: 1 − usd / (cost of the cheapest coin toss that reaches the same accuracy); NaN where none does.
    """

    accuracy: Interval
    usd: float
    hull_accuracy: float
    gain: Interval
    saving: float
    n_queries: int


def upper_hull(usd: Reals, accuracy: Reals) -> tuple[Reals, Reals]:
    """Corners of the non-decreasing concave hull over points, by rising cost.

    Args:
        usd / accuracy: Mean cost and accuracy of each single arm, shape (m,).

    Returns:
        Costs and accuracies of the corners; both strictly rise.
    """
    corners: list[tuple[float, float]] = []
    for cost, value in sorted(
        zip(usd.tolist(), accuracy.tolist(), strict=True), key=lambda point: (point[0], -point[1])
    ):
        if corners and value <= corners[-1][1]:
            continue  # dearer and no better: no mix uses it
        while len(corners) >= 2 and _below(corners[-2], corners[-1], (cost, value)):
            corners.pop()
        corners.append((cost, value))
    return np.array([cost for cost, _ in corners]), np.array([value for _, value in corners])


def _below(left: tuple[float, float], middle: tuple[float, float], right: tuple[float, float]) -> bool:
    rise, run = right[1] - left[1], right[0] - left[0]
    return (middle[1] - left[1]) * run <= rise * (middle[0] - left[0])


def hull_accuracy(usd: Reals, accuracy: Reals, at_usd: float) -> float:
    """Best mean accuracy of a mix of single arms whose mean cost is ``at_usd``.

    Below the cheapest arm there is no mix; the cheapest corner's accuracy stands in, to the router's disadvantage.
    """
    return float(np.interp(at_usd, *upper_hull(usd, accuracy)))


def hull_usd(usd: Reals, accuracy: Reals, at_accuracy: float) -> float:
    """Least mean cost of a mix of single arms that reaches ``at_accuracy``; NaN if none does."""
    costs, values = upper_hull(usd, accuracy)
    return float(np.interp(at_accuracy, values, costs)) if at_accuracy <= values[-1] else float("nan")


def gain_at_equal_cost(
    scores: Reals,
    usd: Reals,
    *,
    arm_scores: Reals,
    arm_usd: Reals,
    n_replicates: int = 2_000,
    seed: int = 0,
    groups: Sequence[str] | None = None,
) -> GainAtEqualCost:
    """Compare a router with the hull of single arms on the same queries.

    The interval is the paired percentile bootstrap over queries; each replicate resamples the router's and the arms'
    outcomes together and computes its own hull, so the choice of the hull's corners is part of the uncertainty.

    Args:
        scores / usd: The router's outcome on each query, shape (n,).
        arm_scores / arm_usd: Every arm's outcome on the same queries, shape (n, m).
        groups: Label of each query; queries of one group are resampled together. Default: each query alone.
    """
    m = arm_scores.shape[1]
    columns = np.column_stack([scores, usd, arm_scores, arm_usd])  # (n, 2 + 2m)
    means = columns.mean(axis=0)
    replicates = bootstrap_means(columns, n_replicates=n_replicates, seed=seed, groups=groups)
    gains = np.array([row[0] - hull_accuracy(row[2 + m :], row[2 : 2 + m], row[1]) for row in replicates])
    at_hull = hull_accuracy(means[2 + m :], means[2 : 2 + m], means[1])
    equal_usd = hull_usd(means[2 + m :], means[2 : 2 + m], means[0])
    return GainAtEqualCost(
        accuracy=interval(float(means[0]), replicates[:, 0]),
        usd=float(means[1]),
        hull_accuracy=at_hull,
        gain=interval(float(means[0]) - at_hull, gains),
        saving=1.0 - float(means[1]) / equal_usd,
        n_queries=len(scores),
    )


def interval(value: float, replicates: Reals) -> Interval:
    """The 95 % percentile interval of bootstrap replicates around ``value``."""
    low, high = np.percentile(replicates, [2.5, 97.5])
    return Interval(value=value, low=float(low), high=float(high))


def bootstrap_means(columns: Reals, *, n_replicates: int, seed: int, groups: Sequence[str] | None = None) -> Reals:
    """Column means of resampled rows, shape (n_replicates, n_columns); rows of one group stay together."""
    rng = np.random.default_rng(seed)
    sums, sizes = _group_sums(columns, groups)
    n_groups = len(sizes)
    replicates = np.empty((n_replicates, columns.shape[1]))
    for start in range(0, n_replicates, _CHUNK):
        stop = min(start + _CHUNK, n_replicates)
        draws = rng.multinomial(n_groups, np.full(n_groups, 1.0 / n_groups), size=stop - start)
        replicates[start:stop] = (draws @ sums) / (draws @ sizes)[:, None]
    return replicates


def _group_sums(columns: Reals, groups: Sequence[str] | None) -> tuple[Reals, Reals]:
    if groups is None:
        return columns, np.ones(len(columns))
    labels, member = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.zeros((len(labels), columns.shape[1]))
    np.add.at(sums, member, columns)
    return sums, np.bincount(member, minlength=len(labels)).astype(np.float64)
