"""How often a floor's promise is broken, and what it saves, over many calibrations drawn from one population.

The population is a table whose every row was forecast by a fit that had not seen it. A draw takes some rows without
replacement, calibrates on them, and is judged by the whole population, whose mean difference is the truth to the draw;
the rows that were not drawn are told beside it, and their mean has noise of its own.
"""

from dataclasses import dataclass

import numpy as np

from policies.floors import Floors
from policies.tables import OutcomeTable
from training.contender import Forecast
from training.floors.betting import p_values
from training.floors.calibrate import outcomes_of
from training.floors.sequence import last_rejected
from training.metrics.curve import Reals

_AT_ONCE = 50  # draws tested together, to bound memory


@dataclass(frozen=True, slots=True)
class Draws:
    """What many calibrations of one floor came to; shares of the draws, 0..1.

    Attributes:
        unpromised: In which nothing but the reference arm was left.
        broken: Whose policy has a mean difference below 0 over the population.
        broken_on_rest: The same over the rows that were not drawn.
        saving_pct: Mean cost saved over the population, against the reference arm; 0 where nothing was promised.
        least_saving_pct: What nine draws in ten save at least.
        best_saving_pct: At the thriftiest λ that keeps the floor over the population: what no calibration can know.
    """

    floor: float
    n_draws: int
    unpromised: float
    broken: float
    broken_on_rest: float
    saving_pct: float
    least_saving_pct: float
    best_saving_pct: float


def draw_calibrations(
    floors: Floors,
    forecast: Forecast,
    table: OutcomeTable,
    *,
    floor: float,
    confidence: float = 0.95,
    n_draws: int = 500,
    seed: int = 0,
) -> Draws:
    """Calibrate ``n_draws`` times on ``floors.n_calibration`` rows of ``table``.

    Args:
        floors: Reference arm and grid of λ, fixed before any draw.
        forecast: Of every row, by a fit that had not seen it.
    """
    outcomes = outcomes_of(floors, forecast, table, floors.quality_per_usd)
    differences, usd = outcomes.differences(floor), outcomes.usd.mean(axis=0)
    saving = 100.0 * (1.0 - usd / outcomes.reference_usd.mean())
    truth, rng = differences.mean(axis=0), np.random.default_rng(seed)
    rows = [rng.permutation(len(table))[: floors.n_calibration] for _ in range(n_draws)]
    tested = [
        row
        for start in range(0, n_draws, _AT_ONCE)
        for row in _tested([differences[each] for each in rows[start : start + _AT_ONCE]], floor, confidence)
    ]
    last = [last_rejected(each, alpha=1.0 - confidence) for each in tested]
    kept = [(at, drawn) for at, drawn in zip(last, rows, strict=True) if at is not None]
    saved = np.array([0.0 if at is None else saving[at] for at in last])
    rest = [differences[:, at].sum() - differences[drawn, at].sum() for at, drawn in kept]
    return Draws(
        floor=floor,
        n_draws=n_draws,
        unpromised=1.0 - len(kept) / n_draws,
        broken=sum(bool(truth[at] < 0.0) for at, _ in kept) / n_draws,
        broken_on_rest=sum(bool(each < 0.0) for each in rest) / n_draws,
        saving_pct=float(saved.mean()),
        least_saving_pct=float(np.quantile(saved, 0.1)),
        best_saving_pct=float(saving[truth >= 0.0].max(initial=0.0)),
    )


def _tested(drawn: list[Reals], floor: float, confidence: float) -> Reals:
    """p-values of every draw, shape (n_drawn, k); all draws are walked through at once."""
    return p_values(np.concatenate(drawn, axis=1), lowest=-floor, confidence=confidence).reshape(len(drawn), -1)
