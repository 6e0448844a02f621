"""AIQ, cost-of-pass, E³, the oracle's gap, calibration: each against a case worked out by hand."""

import numpy as np
import pytest

from training.metrics.aiq import aiq
from training.metrics.calibration import bins, ece, squared_errors
from training.metrics.cost_of_pass import accuracy_floor, cost_of_pass, saving_pct
from training.metrics.curve import Curve
from training.metrics.e3 import e3
from training.metrics.oracle import gap_at_oracle, oracle_scores

LINE = Curve(np.array([1.0, 3.0]), np.array([0.4, 0.8]))


def test_aiq_of_a_straight_line_is_its_middle() -> None:
    assert aiq(LINE, cheapest=(1.0, 0.4), dearest_usd=3.0) == pytest.approx(0.6)


def test_aiq_stays_flat_after_the_last_point_and_at_the_cheapest_arm_before_the_first() -> None:
    # 0..1: 0.2; 1..3: mean 0.6; 3..5: 0.8
    assert aiq(LINE, cheapest=(0.0, 0.2), dearest_usd=5.0) == pytest.approx((0.2 + 2 * 0.6 + 2 * 0.8) / 5)


def test_aiq_cuts_off_what_costs_more_than_any_arm() -> None:
    assert aiq(LINE, cheapest=(1.0, 0.4), dearest_usd=2.0) == pytest.approx(0.5)


def test_aiq_of_arms_that_cost_the_same_is_unknown() -> None:
    assert np.isnan(aiq(LINE, cheapest=(1.0, 0.4), dearest_usd=1.0))


def test_cost_of_pass_is_the_least_usd_per_correct_answer() -> None:
    assert cost_of_pass(LINE) == pytest.approx(1.0 / 0.4)


def test_floor_keeps_the_cheap_and_wrong_out() -> None:
    assert accuracy_floor(0.8) == pytest.approx(0.795)
    assert cost_of_pass(LINE, floor=0.795) == pytest.approx(3.0 / 0.8)


def test_cost_of_pass_is_unknown_below_the_floor_and_where_nothing_is_right() -> None:
    assert np.isnan(cost_of_pass(LINE, floor=0.9))
    assert np.isnan(cost_of_pass(Curve(np.array([1.0]), np.array([0.0]))))


def test_saving_compares_with_one_arms_cost_of_pass() -> None:
    assert saving_pct(3.0, arm_usd=4.0, arm_accuracy=0.8) == pytest.approx(40.0)
    assert np.isnan(saving_pct(3.0, arm_usd=4.0, arm_accuracy=0.0))


def test_e3_counts_accuracy_twice() -> None:
    assert e3(LINE) == pytest.approx(max(0.16 / 1.0, 0.64 / 3.0))
    assert e3(Curve(np.array([1.0, 9.0]), np.array([0.4, 0.8]))) == pytest.approx(0.16)


def test_e3_honours_the_floor() -> None:
    assert e3(Curve(np.array([1.0, 9.0]), np.array([0.4, 0.8])), floor=0.7) == pytest.approx(0.64 / 9)
    assert np.isnan(e3(LINE, floor=0.9))


def test_oracle_takes_the_best_arm_of_every_query() -> None:
    assert oracle_scores(np.array([[0.0, 1.0], [0.0, 0.0], [1.0, 0.5]])).tolist() == [1.0, 0.0, 1.0]


def test_gap_is_relative_to_the_oracle() -> None:
    assert gap_at_oracle(0.6, 0.8) == pytest.approx(25.0)
    assert np.isnan(gap_at_oracle(0.0, 0.0))


def test_ece_of_two_bins_by_hand() -> None:
    found = bins(np.array([0.1, 0.2, 0.8, 0.9]), np.array([0.0, 1.0, 1.0, 1.0]), n_bins=2)
    assert [each.n for each in found] == [2, 2]
    assert [each.predicted for each in found] == pytest.approx([0.15, 0.85])
    assert [each.observed for each in found] == pytest.approx([0.5, 1.0])
    assert ece(found) == pytest.approx(0.5 * 0.35 + 0.5 * 0.15)


def test_bins_hold_equally_many() -> None:
    predicted = np.random.default_rng(0).random((50, 4))
    assert [each.n for each in bins(predicted, predicted)] == [20] * 10


def test_a_perfect_forecast_of_shares_has_no_calibration_error() -> None:
    observed = np.tile([0.0, 1.0], 50)
    assert ece(bins(np.full(100, 0.5), observed)) == 0.0


def test_equal_predictions_stay_in_one_bin() -> None:
    assert len(bins(np.full(100, 0.5), np.zeros(100))) == 1


def test_brier_terms_are_mean_squared_errors_over_the_arms() -> None:
    assert squared_errors(np.array([[0.5, 1.0]]), np.array([[1.0, 0.0]])).tolist() == [0.625]
