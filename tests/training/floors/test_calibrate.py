from dataclasses import replace

import numpy as np
import pytest

from policies.arms import Arm
from policies.tables import OutcomeTable
from training.contender import Forecast
from training.floors.calibrate import actions_at, calibrate, outcomes_of, untested


def world(n: int, *, seed: int = 0) -> tuple[Forecast, OutcomeTable]:
    """The cheap arm is right as often as the dear one on easy queries and half as often else; known beforehand."""
    rng = np.random.default_rng(seed)
    easy = rng.random(n) < 0.6
    chances = np.column_stack([np.where(easy, 0.9, 0.3), np.where(easy, 0.9, 0.6)])
    usd = np.tile([0.1, 1.0], (n, 1))
    table = OutcomeTable(
        name="world", query_ids=tuple(f"q{i}" for i in range(n)), prompts=("",) * n, domains=("",) * n,
        arms=(Arm("cheap", "instant"), Arm("dear", "instant")),
        scores=(rng.random((n, 2)) < chances).astype(np.float64), usd=usd, nano_usd=(usd * 1e9).astype(np.int64),
        prompt_tokens=np.ones(n, np.int64), input_tokens=np.ones((n, 2), np.int64),
        completion_tokens=np.ones((n, 2), np.int64), seconds=np.full((n, 2), np.nan), prices=(None, None),
    )  # fmt: skip
    noise = rng.normal(scale=0.05, size=(n, 2))  # so that λ moves queries over one by one
    return Forecast(quality=np.clip(chances + noise, 0, 1), usd=usd, far=np.zeros(n, bool)), table


FITTED_ON = world(2_000, seed=1)[1]


def test_the_reference_is_the_most_accurate_arm_of_the_rows_learned_from() -> None:
    floors = untested(FITTED_ON, n_calibration=900)
    assert floors.reference == "dear/instant"
    assert floors.quality_per_usd[0] == pytest.approx(0.01)  # the unit is one over the reference arm's mean USD


def test_a_looser_floor_saves_more_and_every_cell_is_there() -> None:
    forecast, table = world(2_000)
    floors = calibrate(forecast, table, fitted_on=FITTED_ON)
    assert len(floors.cells) == 6 * 3
    savings = [cell.saving_pct for cell in floors.at(0.95)]
    assert savings == sorted(savings, reverse=True)
    assert savings[0] > 45.0  # easy queries alone save 54 %
    assert floors.at(0.95)[-1].last is None  # 100 % of the reference arm is no saving's to promise
    floors.check()


def test_a_promise_is_broken_as_seldom_as_it_says() -> None:
    """Truth by the chances themselves; 200 calibrations of 300 rows, of which 95 % must hold."""
    forecast, table = world(20_000, seed=5)
    floors = untested(FITTED_ON, n_calibration=300)
    whole = outcomes_of(floors, forecast, table, floors.quality_per_usd).differences(0.95).mean(axis=0)
    rng, broken, saved = np.random.default_rng(0), 0, 0
    for _ in range(200):
        rows = np.zeros(20_000, bool)
        rows[rng.choice(20_000, 300, replace=False)] = True
        part = Forecast(forecast.quality[rows], forecast.usd[rows], forecast.far[rows])
        cell = calibrate(part, table.rows(rows), fitted_on=FITTED_ON, grid=(0.95,), confidences=(0.95,)).cells[0]
        broken += cell.last is not None and whole[cell.last] < 0
        saved += cell.last is not None
    assert saved > 100
    assert broken / 200 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)


def test_the_same_seed_gives_the_same_promises() -> None:
    forecast, table = world(400)
    assert calibrate(forecast, table, fitted_on=FITTED_ON) == calibrate(forecast, table, fitted_on=FITTED_ON)


def test_a_policy_that_is_wrong_is_promised_nothing() -> None:
    forecast, table = world(1_000)
    confused = replace(forecast, quality=forecast.quality[:, ::-1])
    floors = calibrate(confused, table, fitted_on=FITTED_ON, grid=(0.98,), confidences=(0.95,))
    assert floors.cells[0].last is None
    assert floors.cells[0].saving_pct == 0.0


def test_unlike_queries_and_no_promise_go_to_the_reference_arm() -> None:
    forecast, _ = world(50)
    floors = untested(FITTED_ON, n_calibration=900)
    assert set(actions_at(floors, forecast, None).tolist()) == {1}
    assert set(actions_at(floors, forecast, 1e6).tolist()) == {0}
    far = replace(forecast, far=np.ones(50, bool))
    assert set(actions_at(floors, far, 1e6).tolist()) == {1}
