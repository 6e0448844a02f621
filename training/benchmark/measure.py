"""Every scalar metric of one policy as a function of means over queries, so that a bootstrap replicate is new means."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.tables import OutcomeTable
from training.benchmark.pooled import Pooled
from training.metrics.aiq import aiq
from training.metrics.calibration import squared_errors
from training.metrics.cost_of_pass import accuracy_floor, cost_of_pass, saving_pct
from training.metrics.curve import Curve, Integers, Reals, best_single, hull, lambda_multiples, play
from training.metrics.e3 import e3
from training.metrics.oracle import gap_at_oracle, oracle_scores
from training.metrics.routellm import (
    N_BINS,
    Recovered,
    quantile_edges,
    recovered_of_pair,
    recovered_of_pool,
    strong_calls,
)
from training.metrics.save import LEVELS, BestSingle, committed, save_pct

Floats = NDArray[np.float32]

_N_EDGES = N_BINS + 1


@dataclass(frozen=True, slots=True)
class Arms:
    """The pool's single arms on the tested rows; who is who stays fixed in every replicate.

    Attributes:
        columns: Scores, costs and the oracle's score per query, shape (k, 2m + 1).
        best / cheapest / dearest: Index of the most accurate arm and of the arms of least and highest mean cost.
        reasoning: Index of the most accurate arm in reasoning mode; None without one.
    """

    names: tuple[str, ...]
    columns: Reals
    best: int
    cheapest: int
    dearest: int
    reasoning: int | None

    def point(self, means: Reals, arm: int) -> tuple[float, float]:
        """(USD, accuracy) of an arm in a vector of column means."""
        return float(means[len(self.names) + arm]), float(means[arm])


@dataclass(frozen=True, slots=True)
class Columns:
    """One policy's outcome per query at every λ and whatever else its metrics are means of.

    Attributes:
        values: Shape (k, c): scores and costs at each λ, at each committed level, and of RouteLLM's thresholds; then
            the Brier term.
        actions: Arm taken per λ under each seed, shape (k, n_lambdas); None where the router draws.
        paired: Two arms and a router that follows λ: RouteLLM's own protocol applies.
    """

    values: Reals
    actions: tuple[Integers, ...] | None
    paired: bool


def arms_of(table: OutcomeTable) -> Arms:
    """The single arms of the tested rows."""
    usd, accuracy = table.usd.mean(axis=0), table.scores.mean(axis=0)
    reasoning = [index for index, arm in enumerate(table.arms) if arm.mode == "reasoning"]
    return Arms(
        names=table.arm_names,
        columns=np.column_stack([table.scores, table.usd, oracle_scores(table.scores)]),
        best=best_single(table.scores, table.usd),
        cheapest=int(usd.argmin()),
        dearest=int(usd.argmax()),
        reasoning=max(reasoning, key=lambda index: float(accuracy[index]), default=None),
    )


def columns_of(pooled: Pooled, table: OutcomeTable, arms: Arms) -> Columns:
    """Play the policy over the tested rows; several seeds are averaged query by query.

    Args:
        table: The tested rows alone, k of them.
    """
    multiples = lambda_multiples()
    paired = len(table.arms) == 2 and pooled.forecasts[0].dist is None
    parts, actions = [], []
    for index, (forecast, unit) in enumerate(zip(pooled.forecasts, pooled.reference_usd, strict=True)):
        played = play(forecast, multiples / unit[:, None], scores=table.scores, usd=table.usd)
        at = np.column_stack([pooled.committed[level][index] for level in LEVELS])
        block = [played.scores, played.usd, *(np.take_along_axis(part, at, 1) for part in (played.scores, played.usd))]
        if paired:
            block.extend(_threshold_columns(forecast.quality, table.scores, strong=arms.best))
        block.append(squared_errors(forecast.quality, table.scores)[:, None])
        parts.append(np.column_stack(block))
        actions.append(played.actions)
    taken = tuple(each for each in actions if each is not None)
    return Columns(np.mean(parts, axis=0), taken if len(taken) == len(actions) else None, paired)


def _threshold_columns(quality: Reals, scores: Reals, *, strong: int) -> tuple[Reals, Reals]:
    """Whether each query goes to the strong arm at each of RouteLLM's thresholds, and its score there."""
    wins = quality[:, strong] - quality[:, 1 - strong]
    calls = strong_calls(wins, quantile_edges(wins))
    return calls.astype(np.float64), np.where(calls, scores[:, [strong]], scores[:, [1 - strong]])


def curve_in(means: Reals) -> Curve:
    """The curve in a vector of a policy's column means."""
    n = len(lambda_multiples())
    return Curve(usd=means[n : 2 * n], accuracy=means[:n])


def measure(means: Reals, arm_means: Reals, arms: Arms, *, paired: bool) -> dict[str, float]:
    """Every scalar metric by name; NaN where it is not reached or not defined.

    Args:
        means / arm_means: Means of ``Columns.values`` and of ``Arms.columns``, of all rows or of a replicate.
    """
    curve = curve_in(means)
    reached = hull(curve)
    best_usd, best_accuracy = arms.point(arm_means, arms.best)
    best, floor = BestSingle(best_accuracy, best_usd), accuracy_floor(best_accuracy)
    max_accuracy = float(curve.accuracy.max())
    pass_usd = cost_of_pass(curve, floor=floor)
    recovered = _recovered(means, arm_means, arms, reached, paired=paired)
    found = {f"save_{level}": save_pct(reached, best, level=level) for level in LEVELS}
    found |= _committed(means, best)
    found |= {
        "max_accuracy": max_accuracy,
        "aiq": aiq(reached, cheapest=arms.point(arm_means, arms.cheapest), dearest_usd=_usd(arm_means, arms)),
        "apgr": recovered.apgr,
        "cpt50": recovered.cpt50,
        "cpt80": recovered.cpt80,
        "cost_of_pass": pass_usd,
        "cost_of_pass_unconstrained": cost_of_pass(curve),
        "e3": e3(curve, floor=floor),
        "e3_unconstrained": e3(curve),
        "gap_at_oracle": gap_at_oracle(max_accuracy, float(arm_means[-1])),
        "brier": float(means[-1]),
    }
    if arms.reasoning is not None:
        found["cost_of_pass_saving_pct"] = saving_pct(pass_usd, *arms.point(arm_means, arms.reasoning))
    return found


def _usd(arm_means: Reals, arms: Arms) -> float:
    return arms.point(arm_means, arms.dearest)[0]


def _committed(means: Reals, best: BestSingle) -> dict[str, float]:
    start, n = 2 * len(lambda_multiples()), len(LEVELS)
    found: dict[str, float] = {}
    for index, level in enumerate(LEVELS):
        at = committed(float(means[start + n + index]), float(means[start + index]), best)
        found |= {f"save_committed_{level}": at["saving_pct"], f"realised_ratio_{level}": at["realised_ratio"]}
    return found


def _recovered(means: Reals, arm_means: Reals, arms: Arms, reached: Curve, *, paired: bool) -> Recovered:
    weak, strong = arms.point(arm_means, arms.cheapest), arms.point(arm_means, arms.best)
    if len(arms.names) != 2:
        return recovered_of_pool(reached, weak=weak, strong=strong)
    if not paired:
        return Recovered(float("nan"), float("nan"), float("nan"))  # it ignores λ, so it has no threshold to move
    at = slice(-1 - 2 * _N_EDGES, -1 - _N_EDGES), slice(-1 - _N_EDGES, -1)
    other = arms.point(arm_means, 1 - arms.best)
    return recovered_of_pair(means[at[0]], means[at[1]], weak=other[1], strong=strong[1])
