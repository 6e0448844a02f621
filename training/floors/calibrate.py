"""Finds how thrifty a fitted policy may be at each quality floor, by tests on rows it has not learned from.

For each floor and confidence: the paired differences d = score of the policy − floor × score of the reference arm, on
the same query; for each λ of a grid fixed beforehand the hypothesis that their mean is at most 0; betting p-values, in
the fixed order from the least λ to the highest. What is promised is this very fit: fitted again on all rows it would be
another policy, of which nothing was tested.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from policies.floors import Cell, Floors
from policies.tables import OutcomeTable
from policies.zoo.under_floor import frugal_choice
from training.contender import Forecast
from training.floors.betting import p_values
from training.floors.sequence import last_rejected
from training.metrics.curve import Reals, best_single, reference_usd

FLOORS = (0.90, 0.95, 0.97, 0.98, 0.99, 1.0)
CONFIDENCES = (0.90, 0.95, 0.99)
# λ × the reference arm's mean USD: below, a policy looks at nothing but quality; above, at nothing but cost.
_LOWEST, _HIGHEST, _N_LAMBDAS = 1e-2, 1e2, 240


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What a policy's choices scored and cost, with the reference arm's on the same n queries.

    Attributes:
        scores / usd: At each of k λ, shape (n, k).
        reference_scores / reference_usd: Shape (n,).
    """

    scores: Reals
    usd: Reals
    reference_scores: Reals
    reference_usd: Reals

    def differences(self, floor: float) -> Reals:
        """Score − floor × the reference arm's score, in [−floor, 1], shape (n, k)."""
        return np.asarray(self.scores - floor * self.reference_scores[:, None])

    def saving_pct(self, column: int) -> float:
        """Cost saved against the reference arm, percent; 0 where it costs nothing."""
        alone = float(self.reference_usd.mean())
        return 100.0 * (1.0 - float(self.usd[:, column].mean()) / alone) if alone > 0.0 else 0.0

    def ratio(self, column: int) -> float:
        """Mean score as a share of the reference arm's; 1 where both are nil."""
        alone = float(self.reference_scores.mean())
        return float(self.scores[:, column].mean()) / alone if alone > 0.0 else 1.0


def untested(fitted_on: OutcomeTable, *, n_calibration: int) -> Floors:
    """Reference arm and grid of λ by the rows the policy learned from; no cell yet."""
    scores, usd = fitted_on.scores, fitted_on.usd
    multiples = np.logspace(np.log10(_LOWEST), np.log10(_HIGHEST), _N_LAMBDAS)
    return Floors(
        reference=fitted_on.arm_names[best_single(scores, usd)],
        arms=tuple(zip(fitted_on.arm_names, fitted_on.prices, strict=True)),
        quality_per_usd=tuple((multiples / reference_usd(scores, usd)).tolist()),
        cells=(),
        n_calibration=n_calibration,
    )


def actions_at(floors: Floors, forecast: Forecast, quality_per_usd: float | None) -> NDArray[np.intp]:
    """The arm that is served under a floor at that λ, shape (n,): the batch path of ``FloorKeeper``.

    None, and a query unlike the training queries: the reference arm.
    """
    reference = [name for name, _ in floors.arms].index(floors.reference)
    if quality_per_usd is None:
        return np.full(len(forecast.quality), reference, dtype=np.intp)
    chosen = frugal_choice(forecast.quality, forecast.usd, quality_per_usd=quality_per_usd)
    return np.where(forecast.far, reference, chosen)


def outcomes_of(floors: Floors, forecast: Forecast, table: OutcomeTable, lambdas: Sequence[float | None]) -> Outcomes:
    """Play the floor-keeping policy over a table at each of ``lambdas``."""
    reference = table.arm_names.index(floors.reference)
    actions = np.column_stack([actions_at(floors, forecast, quality_per_usd) for quality_per_usd in lambdas])
    return Outcomes(
        scores=np.take_along_axis(table.scores, actions, axis=1),
        usd=np.take_along_axis(table.usd, actions, axis=1),
        reference_scores=table.scores[:, reference],
        reference_usd=table.usd[:, reference],
    )


def promised(outcomes: Outcomes, floor: float, confidence: float, *, order: NDArray[np.int64]) -> Cell:
    """The cell of one floor and confidence; ``order`` of the rows, shape (n,), drawn without looking at them."""
    tested = p_values(outcomes.differences(floor)[order], lowest=-floor, confidence=confidence)
    last = last_rejected(tested, alpha=1.0 - confidence)
    if last is None:
        return Cell(floor, confidence, None)
    return Cell(floor, confidence, last, saving_pct=outcomes.saving_pct(last), ratio=outcomes.ratio(last))


def calibrate(
    forecast: Forecast,
    table: OutcomeTable,
    *,
    fitted_on: OutcomeTable,
    grid: Sequence[float] = FLOORS,
    confidences: Sequence[float] = CONFIDENCES,
    seed: int = 0,
) -> Floors:
    """The promises of a policy.

    Args:
        forecast: The policy's, of the rows of ``table``.
        table: Rows that it has not learned from, of the arms that ``fitted_on`` has.
        seed: Of the order of the rows; where that was by domain, each would still be a draw from the whole.
    """
    floors = untested(fitted_on, n_calibration=len(table))
    outcomes = outcomes_of(floors, forecast, table, floors.quality_per_usd)
    order = np.random.default_rng(seed).permutation(len(table))
    cells = [promised(outcomes, floor, level, order=order) for floor in grid for level in confidences]
    return replace(floors, cells=tuple(cells))
