"""Save@q on curves whose saving can be computed by hand, and the λ that training rows commit to."""

import numpy as np
import pytest

from training.contender import Forecast
from training.metrics.curve import Curve, hull
from training.metrics.save import BestSingle, commit, committed, save_pct

BEST = BestSingle(accuracy=0.8, usd=10.0)


def corners(usd: list[float], accuracy: list[float]) -> Curve:
    return hull(Curve(np.array(usd), np.array(accuracy)))


def test_saving_is_read_off_between_two_points_of_the_hull() -> None:
    # 0.95 · 0.8 = 0.76 lies 0.36/0.4 of the way from (1 USD, 0.4) to (11 USD, 0.8): 10 USD, nothing saved
    assert save_pct(corners([1.0, 11.0], [0.4, 0.8]), BEST, level="95") == pytest.approx(0.0)


def test_saving_at_full_quality_of_a_router_that_needs_half_the_money() -> None:
    assert save_pct(corners([1.0, 5.0], [0.4, 0.8]), BEST, level="100") == pytest.approx(50.0)


def test_a_router_that_is_good_enough_at_its_cheapest_saves_what_that_costs() -> None:
    assert save_pct(corners([2.0, 9.0], [0.79, 0.9]), BEST, level="97") == pytest.approx(80.0)


def test_saving_is_negative_where_quality_costs_more_than_the_best_arm() -> None:
    assert save_pct(corners([1.0, 20.0], [0.1, 0.8]), BEST, level="100") == pytest.approx(-100.0)


def test_there_is_no_saving_where_the_quality_is_never_reached() -> None:
    assert np.isnan(save_pct(corners([1.0, 5.0], [0.4, 0.79]), BEST, level="100"))


def test_always_taking_the_best_arm_saves_nothing_at_any_level() -> None:
    alone = corners([10.0], [0.8])
    assert [save_pct(alone, BEST, level=level) for level in ("95", "97", "99", "100")] == [0.0] * 4


def world() -> tuple[Forecast, np.ndarray, np.ndarray]:
    """Four queries; the dear arm is right on all, the cheap one on the first two, and the forecast knows it."""
    scores, usd = np.array([[1.0, 1.0], [1.0, 1.0], [0.0, 1.0], [0.0, 1.0]]), np.tile([1.0, 10.0], (4, 1))
    return Forecast(scores * 0.9, usd, far=np.zeros(4, dtype=np.bool_)), scores, usd


def test_committed_price_is_the_thriftiest_that_keeps_the_quality_on_training_rows() -> None:
    knows, scores, usd = world()
    multiples = np.array([0.0, 0.5, 2.0, np.inf])  # 0.9 quality for 9 of 10 USD more: the border is at 1
    assert commit(knows, multiples, 10.0, scores=scores, usd=usd) == dict.fromkeys(("95", "97", "99", "100"), 1)


def test_lower_levels_commit_to_thriftier_prices() -> None:
    rng = np.random.default_rng(0)
    quality = np.column_stack([rng.random(400), np.full(400, 0.95)])
    scores, usd = quality.copy(), np.tile([1.0, 10.0], (400, 1))
    knows = Forecast(quality, usd, far=np.zeros(400, dtype=np.bool_))
    chosen = commit(knows, np.array([0.0, *np.logspace(-3, 3, 120), np.inf]), 10.0, scores=scores, usd=usd)
    assert chosen["95"] > chosen["97"] > chosen["99"] >= chosen["100"]


def test_what_was_committed_to_is_told_as_saving_and_as_share_of_the_quality() -> None:
    assert committed(2.5, 0.76, BEST) == pytest.approx({"saving_pct": 75.0, "realised_ratio": 0.95})
