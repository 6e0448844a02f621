from dataclasses import replace

import numpy as np
import pytest

from policies.tables import OutcomeTable
from training.contender import Forecast
from training.floors.calibrate import untested
from training.floors.draws import draw_calibrations


def population(table: OutcomeTable, *, times: int = 4) -> tuple[Forecast, OutcomeTable]:
    """The table several times over, and a forecast that knows which queries are easy but for noise."""
    rows = np.tile(np.arange(len(table)), times)
    whole = replace(
        table, query_ids=tuple(str(i) for i in range(len(rows))), prompts=tuple(table.prompts[i] for i in rows),
        domains=tuple(table.domains[i] for i in rows), scores=table.scores[rows], usd=table.usd[rows],
    )  # fmt: skip
    easy = np.array([domain == "easy" for domain in whole.domains])
    quality = np.column_stack([np.where(easy, 0.9, 0.1), np.full(len(rows), 0.9)])
    noise = np.random.default_rng(0).normal(scale=0.1, size=quality.shape)
    return Forecast(quality + noise, whole.usd, np.zeros(len(rows), bool)), whole


def test_few_promises_are_broken_and_no_draw_knows_the_best(world: OutcomeTable) -> None:
    forecast, table = population(world)
    drawn = draw_calibrations(untested(world, n_calibration=500), forecast, table, floor=0.95, n_draws=100)
    assert drawn.broken <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 100)
    assert 20.0 < drawn.saving_pct < drawn.best_saving_pct
    assert drawn.least_saving_pct < drawn.saving_pct
    assert drawn.unpromised < 0.1


def test_the_same_seed_draws_the_same(world: OutcomeTable) -> None:
    forecast, table = population(world)
    floors = untested(world, n_calibration=300)
    once, again = (draw_calibrations(floors, forecast, table, floor=0.97, n_draws=5, seed=3) for _ in range(2))
    assert once == again


def test_a_policy_that_is_wrong_is_promised_nothing_and_breaks_nothing(world: OutcomeTable) -> None:
    forecast, table = population(world)
    wrong = replace(forecast, quality=forecast.quality[:, ::-1])
    drawn = draw_calibrations(untested(world, n_calibration=300), wrong, table, floor=0.97, n_draws=20)
    assert (drawn.unpromised, drawn.saving_pct, drawn.broken) == (1.0, pytest.approx(0.0), 0.0)
