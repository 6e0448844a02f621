"""What a report shows beside the scalars: bands of the curve, which arms and modes are chosen, domains, calibration."""

from dataclasses import dataclass

import numpy as np

from policies.arms import Arm
from policies.tables import OutcomeTable
from training.benchmark.measure import Columns
from training.benchmark.pooled import Pooled
from training.metrics.calibration import bins, ece
from training.metrics.curve import Curve, Reals, lambda_multiples

_MAX_POINTS = 25


@dataclass(frozen=True, slots=True)
class Calibration:
    """ECE and its bins as rows of (mean prediction, mean score, n)."""

    ece: float
    rows: list[list[float]]


def calibration_of(pooled: Pooled, table: OutcomeTable) -> Calibration:
    """Calibration of the predicted quality of every arm, all seeds together."""
    predicted = np.concatenate([forecast.quality for forecast in pooled.forecasts])
    found = bins(predicted, np.tile(table.scores, (len(pooled.forecasts), 1)))
    return Calibration(ece(found), [[each.predicted, each.observed, each.n] for each in found])


def curve_rows(curve: Curve, replicates: Reals) -> list[list[float]]:
    """Per λ: λ × reference USD, mean USD, accuracy, then the 95 % interval of either.

    Args:
        replicates: Means of the policy's columns, shape (n_replicates, c).
    """
    multiples = lambda_multiples()
    n = len(multiples)
    low, high = np.percentile(replicates[:, : 2 * n], [2.5, 97.5], axis=0)
    columns = [multiples, curve.usd, curve.accuracy, low[n:], high[n:], low[:n], high[:n]]
    rows: list[list[float]] = np.column_stack(columns).tolist()
    return rows


def chosen_share(pooled: Pooled, columns: Columns, table: OutcomeTable, *, at: int) -> dict[str, float]:
    """Share of the queries that each arm gets at the ``at``-th λ; arms that get none are left out."""
    shares = _arm_shares(pooled, columns, n_arms=len(table.arms), at=at)
    return {arm.name: float(share) for arm, share in zip(table.arms, shares, strict=True) if share > 0.0}


def modes_by_usd(
    pooled: Pooled, columns: Columns, table: OutcomeTable, curve: Curve
) -> list[tuple[float, dict[str, float]]]:
    """Share of each mode (with its effort) along the curve, by rising cost, at most 25 points."""
    _, distinct = np.unique(curve.usd, return_index=True)
    spread = np.linspace(0, len(distinct) - 1, min(_MAX_POINTS, len(distinct)))
    rows = []
    for at in distinct[np.unique(np.round(spread).astype(np.int64))]:
        mix: dict[str, float] = {}
        for arm, share in zip(
            table.arms, _arm_shares(pooled, columns, n_arms=len(table.arms), at=int(at)), strict=True
        ):
            mix[_mode(arm)] = mix.get(_mode(arm), 0.0) + float(share)
        rows.append((float(curve.usd[at]), mix))
    return rows


def by_domain(columns: Columns, table: OutcomeTable, *, at: int, best: int) -> dict[str, dict[str, float]]:
    """Cost and accuracy at the ``at``-th λ in each domain, beside the pool's most accurate arm."""
    labels, n = np.array(table.domains), len(lambda_multiples())
    found = {}
    for domain in sorted(set(table.domains)):
        rows = labels == domain
        found[domain] = {
            "n": int(rows.sum()),
            "usd": float(columns.values[rows, n + at].mean()),
            "accuracy": float(columns.values[rows, at].mean()),
            "best_single_usd": float(table.usd[rows, best].mean()),
            "best_single_accuracy": float(table.scores[rows, best].mean()),
        }
    return found


def _arm_shares(pooled: Pooled, columns: Columns, *, n_arms: int, at: int) -> Reals:
    """Share of each arm at one λ, shape (n_arms,), mean over seeds."""
    if columns.actions is None:
        drawn = [forecast.dist.mean(axis=0) for forecast in pooled.forecasts if forecast.dist is not None]
        return np.asarray(np.mean(drawn, axis=0))
    counts = [np.bincount(actions[:, at], minlength=n_arms) / len(actions) for actions in columns.actions]
    return np.asarray(np.mean(counts, axis=0))


def _mode(arm: Arm) -> str:
    return f"{arm.mode}:{arm.effort}" if arm.effort else arm.mode
