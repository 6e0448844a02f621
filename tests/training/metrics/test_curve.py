"""The λ grid, the choices it makes, and the hull over them."""

import numpy as np
import pytest

from training.contender import Forecast
from training.metrics.curve import (
    Curve,
    best_single,
    choices,
    hull,
    lambda_multiples,
    play,
    reference_usd,
    thriftiest,
)


def forecast(quality: list[list[float]], usd: list[list[float]], dist: list[list[float]] | None = None) -> Forecast:
    far = np.zeros(len(quality), dtype=np.bool_)
    return Forecast(np.array(quality), np.array(usd), far=far, dist=None if dist is None else np.array(dist))


def test_grid_runs_from_quality_alone_to_cost_alone() -> None:
    grid = lambda_multiples()
    assert len(grid) == 122
    assert grid[0] == 0.0
    assert np.isinf(grid[-1])
    assert grid[1] == pytest.approx(1e-3)
    assert grid[-2] == pytest.approx(1e3)
    assert np.allclose(np.diff(np.log(grid[1:-1])), np.log(1e6) / 119)


def test_choice_changes_where_the_difference_in_quality_is_worth_the_difference_in_cost() -> None:
    # 0.9 − 0.5 = 0.4 more quality for 3 − 1 = 2 USD more: the border is λ = 0.2
    chosen = choices(forecast([[0.5, 0.9]], [[1.0, 3.0]]), np.array([0.0, 0.19, 0.21, np.inf]))
    assert chosen.tolist() == [[1, 1, 0, 0]]


def test_equal_utility_goes_to_the_cheaper_forecast() -> None:
    chosen = choices(forecast([[0.5, 0.5], [0.75, 0.5]], [[2.0, 1.0], [2.0, 1.0]]), np.array([0.0, 0.25]))
    assert chosen.tolist() == [[1, 1], [0, 1]]


def test_infinite_price_takes_the_cheapest_and_of_equally_cheap_the_better() -> None:
    assert choices(forecast([[0.1, 0.2, 0.9]], [[1.0, 1.0, 2.0]]), np.array([np.inf])).tolist() == [[1]]


def test_each_query_may_have_its_own_grid() -> None:
    same = forecast([[0.5, 0.9], [0.5, 0.9]], [[1.0, 3.0], [1.0, 3.0]])
    assert choices(same, np.array([[0.1], [0.3]])).tolist() == [[1], [0]]


def test_outcome_is_that_of_the_chosen_arm() -> None:
    played = play(
        forecast([[0.5, 0.9]], [[1.0, 3.0]]),
        np.array([0.0, np.inf]),
        scores=np.array([[0.0, 1.0]]),
        usd=np.array([[2.0, 5.0]]),
    )
    assert played.scores.tolist() == [[1.0, 0.0]]
    assert played.usd.tolist() == [[5.0, 2.0]]


def test_a_router_that_draws_gets_the_expectation_at_every_price() -> None:
    drawn = forecast([[0.5, 0.9]], [[1.0, 3.0]], dist=[[0.25, 0.75]])
    played = play(drawn, np.array([0.0, np.inf]), scores=np.array([[0.0, 1.0]]), usd=np.array([[2.0, 6.0]]))
    assert played.actions is None
    assert played.scores.tolist() == [[0.75, 0.75]]
    assert played.usd.tolist() == [[5.0, 5.0]]


def test_best_single_is_the_cheaper_of_equally_accurate_arms() -> None:
    scores, usd = np.array([[1.0, 1.0, 0.0]]), np.array([[3.0, 2.0, 1.0]])
    assert best_single(scores, usd) == 1
    assert reference_usd(scores, usd) == 2.0


def test_hull_drops_what_a_coin_toss_beats() -> None:
    corners = hull(Curve(usd=np.array([0.0, 1.0, 2.0, 3.0]), accuracy=np.array([0.0, 0.2, 0.8, 0.7])))
    assert corners.usd.tolist() == [0.0, 2.0]
    assert corners.accuracy.tolist() == [0.0, 0.8]


def test_thriftiest_price_is_the_highest_that_reaches_the_accuracy() -> None:
    curve = Curve(usd=np.array([9.0, 4.0, 1.0]), accuracy=np.array([0.9, 0.8, 0.5]))
    assert thriftiest(curve, 0.8) == 1


def test_where_no_price_reaches_the_accuracy_the_most_accurate_one_is_taken() -> None:
    curve = Curve(usd=np.array([9.0, 4.0, 1.0]), accuracy=np.array([0.7, 0.8, 0.5]))
    assert thriftiest(curve, 0.95) == 1
