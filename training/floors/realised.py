"""What became of an artifact's promises on other rows: the realised difference at every floor, with its interval."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from policies.errors import PolicyError
from policies.floors import SERVED_CONFIDENCE, Floors, same_cost
from policies.tables import OutcomeTable
from training.contender import Forecast
from training.floors.calibrate import outcomes_of
from training.metrics.intervals import percentile_interval, replicate_means


@dataclass(frozen=True, slots=True)
class Realised:
    """One floor on the rows looked at.

    Attributes:
        promises: Whether anything but the reference arm is served there.
        difference / low / high: Mean of score − floor × the reference arm's score, with its 95 % bootstrap interval.
        verdict: ``kept`` where the mean is not below 0, ``broken`` where the whole interval is, else ``unclear``.
        saving_pct / ratio: Cost saved and quality kept, against the reference arm.
    """

    floor: float
    promises: bool
    difference: float
    low: float
    high: float
    verdict: str
    saving_pct: float
    ratio: float


def realised(
    floors: Floors, forecast: Forecast, table: OutcomeTable, *, confidence: float = SERVED_CONFIDENCE, seed: int = 0
) -> tuple[Realised, ...]:
    """Serve every floor of ``confidence`` over ``table`` as the gateway would, and look up what came of it.

    Args:
        forecast: Of the rows of ``table``, by the policy that makes the promises.

    Raises:
        PolicyError: The table's arms or prices are others than those of the promises.
    """
    check_arms(floors, table)
    cells = floors.at(confidence)
    lambdas = [None if cell.last is None else floors.quality_per_usd[cell.last] for cell in cells]
    if not cells:
        return ()
    outcomes = outcomes_of(floors, forecast, table, lambdas)
    columns = [outcomes.differences(cell.floor)[:, at] for at, cell in enumerate(cells)]
    replicates = replicate_means([np.column_stack(columns).astype(np.float32)], seed=seed)[0]
    rows = []
    for at, cell in enumerate(cells):
        difference = float(columns[at].mean())
        low, high = percentile_interval(replicates[:, at]) or (difference, difference)
        verdict = "kept" if difference >= 0.0 else "broken" if high < 0.0 else "unclear"
        saving, ratio = outcomes.saving_pct(at), outcomes.ratio(at)
        rows.append(Realised(cell.floor, cell.last is not None, difference, low, high, verdict, saving, ratio))
    return tuple(rows)


def check_arms(floors: Floors, table: OutcomeTable) -> None:
    """Raises:
    PolicyError: The table has other arms than the promises, in another order, or at other prices.
    """
    names = [name for name, _ in floors.arms]
    if list(table.arm_names) != names:
        raise PolicyError(f"the floors are of the arms {', '.join(names)}; the data have {', '.join(table.arm_names)}")
    for (name, price), own in zip(floors.arms, table.prices, strict=True):
        if not same_cost(price, own):
            raise PolicyError(f"the floors were promised at another price of {name} than the data's; train it again")


def as_rows(found: Sequence[Realised]) -> list[dict[str, Any]]:
    """As JSON values."""
    return [asdict(each) for each in found]
