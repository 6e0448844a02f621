from dataclasses import replace

import numpy as np
import pytest

from policies.errors import PolicyError
from policies.floors import Cell, Floors
from policies.prices import Price
from policies.tables import OutcomeTable
from training.contender import Forecast
from training.floors.calibrate import untested
from training.floors.realised import as_rows, realised


def promises(table: OutcomeTable, *cells: Cell) -> Floors:
    return replace(untested(table, n_calibration=300), cells=cells)


def forecast_of(table: OutcomeTable) -> Forecast:
    easy = np.array([domain == "easy" for domain in table.domains])
    quality = np.column_stack([np.where(easy, 0.9, 0.1), np.full(len(table), 0.9)])
    return Forecast(quality, table.usd, np.zeros(len(table), bool))


def test_what_is_realised_is_the_mean_over_the_rows(world: OutcomeTable) -> None:
    middle = 100  # half a point of quality for the dear arm's mean USD: easy queries alone go to the cheap one
    row = realised(promises(world, Cell(0.9, 0.95, middle)), forecast_of(world), world)[0]
    easy = np.array([domain == "easy" for domain in world.domains])
    scores = np.where(easy, world.scores[:, 0], world.scores[:, 1])
    assert row.difference == pytest.approx((scores - 0.9 * world.scores[:, 1]).mean())
    assert row.low < row.difference < row.high
    assert row.saving_pct == pytest.approx(100 * (1 - np.where(easy, *world.usd.T).mean() / world.usd[:, 1].mean()))
    assert row.verdict == "kept"


def test_a_floor_that_does_not_hold_is_called_broken(world: OutcomeTable) -> None:
    cheapest_always = len(promises(world).quality_per_usd) - 1
    row = realised(promises(world, Cell(0.97, 0.95, cheapest_always)), forecast_of(world), world)[0]
    assert row.high < 0.0
    assert (row.verdict, row.promises) == ("broken", True)


def test_without_a_promise_the_reference_arm_serves(world: OutcomeTable) -> None:
    row = realised(promises(world, Cell(1.0, 0.95, None)), forecast_of(world), world)[0]
    assert (row.promises, row.difference, row.saving_pct, row.ratio, row.verdict) == (False, 0.0, 0.0, 1.0, "kept")


def test_only_cells_of_the_confidence_served_count(world: OutcomeTable) -> None:
    floors = promises(world, Cell(0.97, 0.9, 1), Cell(0.97, 0.95, 0))
    assert len(as_rows(realised(floors, forecast_of(world), world))) == 1
    assert realised(promises(world, Cell(0.97, 0.9, 1)), forecast_of(world), world) == ()


def test_data_of_other_arms_or_prices_are_refused(world: OutcomeTable) -> None:
    floors, forecast = promises(world, Cell(0.97, 0.95, 0)), forecast_of(world)
    with pytest.raises(PolicyError, match="the floors are of the arms"):
        realised(floors, forecast, replace(world, arms=world.arms[::-1]))
    with pytest.raises(PolicyError, match="another price of cheap/instant"):
        realised(floors, forecast, replace(world, prices=(Price(1, 1), world.prices[1])))
