"""What the study says of an encoder under a router: Save@q with intervals paired with the reference's, and R²."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from policies.tables import Mask, OutcomeTable
from training.benchmark.splits import Part
from training.benchmark.store import Record
from training.contender import Forecast
from training.hull import Reals
from training.metrics.curve import Curve, best_single, hull, lambda_multiples, play
from training.metrics.intervals import percentile_interval, replicate_means
from training.metrics.save import LEVELS, BestSingle, save_pct


@dataclass(frozen=True, slots=True)
class Judged:
    """Forecasts of the rows that some folds tested.

    Attributes:
        rows: Which rows of the table, shape (n,).
        quality: Forecast score, shape (k, m), of those rows in order.
        scores / usd: What the router's choices brought at each λ, shape (k, n_lambdas).
    """

    rows: Mask
    quality: Reals
    scores: Reals
    usd: Reals

    def only(self, kept: Mask) -> "Judged":
        """The rows that are also in ``kept``, shape (n,)."""
        at = kept[self.rows]
        return Judged(self.rows & kept, self.quality[at], self.scores[at], self.usd[at])


def judge(table: OutcomeTable, parts: Sequence[tuple[Part, Record]]) -> Judged:
    """Put the folds of one encoder and one router together.

    Args:
        parts: (fold, record); the folds of one seed test disjoint rows, every seed the same rows, and what the
            seeds brought on a row is averaged.
    """
    multiples, counts = lambda_multiples(), np.zeros(len(table))
    quality = np.zeros(table.scores.shape)
    scores, usd = np.zeros((len(table), len(multiples))), np.zeros((len(table), len(multiples)))
    for part, record in parts:
        truth = table.scores[part.test], table.usd[part.test]
        grid = multiples / record.facts["reference_usd"]
        played = play(record.forecast, grid, scores=truth[0], usd=truth[1])
        counts[part.test] += 1.0
        quality[part.test] += record.forecast.quality
        scores[part.test] += played.scores
        usd[part.test] += played.usd
    rows = counts > 0.0
    times = counts[rows, None]
    return Judged(rows, quality[rows] / times, scores[rows] / times, usd[rows] / times)


def measure(
    table: OutcomeTable, own: Judged, reference: Judged | None, *, n_replicates: int, seed: int
) -> dict[str, Any]:
    """Save@q, maximal accuracy and explained variance with 95 % intervals, and differences to the reference.

    The reference is judged on the same rows under the same resampled queries.
    """
    truth = table.rows(own.rows)
    arms = np.hstack([truth.scores, truth.usd])
    both = [own] if reference is None else [own, reference.only(own.rows)]
    columns = [np.hstack([each.scores, each.usd, arms]) for each in both]
    m = truth.scores.shape[1]
    values = [_scalars(column.mean(axis=0), m) for column in columns]
    single = [column.astype(np.float32) for column in columns]
    resampled = replicate_means(single, n_replicates=n_replicates, seed=seed)
    draws = [np.array([list(_scalars(row, m).values()) for row in each]) for each in resampled]
    names = list(values[0])
    result: dict[str, Any] = {"n_test": len(truth), "save": {q: values[0][f"save_{q}"] for q in LEVELS}}
    result["max_accuracy"] = values[0]["max_accuracy"]
    result["ci"] = {name: percentile_interval(draws[0][:, i]) for i, name in enumerate(names)}
    result |= explained(own.quality, truth.scores)
    if reference is not None:
        apart = draws[0] - draws[1]
        ends = [percentile_interval(apart[:, i]) for i in range(len(names))]
        gaps = {name: values[0][name] - values[1][name] for name in names}
        result["versus"] = {name: [gaps[name], *(end or (None, None))] for name, end in zip(names, ends, strict=True)}
    return result


def _scalars(means: Reals, m: int) -> dict[str, float]:
    n = (len(means) - 2 * m) // 2
    arm_scores, arm_usd = means[None, 2 * n : 2 * n + m], means[None, 2 * n + m :]
    at = best_single(arm_scores, arm_usd)
    best = BestSingle(float(arm_scores[0, at]), float(arm_usd[0, at]))
    corners = hull(Curve(usd=means[n : 2 * n], accuracy=means[:n]))
    saves = {f"save_{level}": save_pct(corners, best, level=level) for level in LEVELS}
    return saves | {"max_accuracy": 100.0 * float(corners.accuracy[-1])}


def explained(quality: Reals, scores: Reals) -> dict[str, float]:
    """Percent of the variance of scores that the forecast explains: of all, and of the arms' differences."""

    def share(forecast: Reals, truth: Reals) -> float:
        spread = float(((truth - truth.mean(axis=0)) ** 2).sum())
        return 100.0 * (1.0 - float(((truth - forecast) ** 2).sum()) / max(spread, 1e-12))

    apart = [each - each.mean(axis=1, keepdims=True) for each in (quality, scores)]
    return {"explained_pct": share(quality, scores), "contrast_explained_pct": share(*apart)}


def record_of(forecast: Forecast, *, reference_usd: float, fit_s: float) -> Record:
    """A record of the store."""
    return Record(forecast, {"reference_usd": reference_usd, "fit_s": fit_s})
