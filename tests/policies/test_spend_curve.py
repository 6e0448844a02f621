"""The multiplier at which recent requests would have cost what they may, against closed forms."""

import numpy as np
import pytest

from policies.predictions import Predictions
from policies.spend_curve import MOST, UNPACED, Pace, SpendCurve
from policies.tradeoff import TradeOff

FREE = TradeOff(quality_per_usd=1.0)


def predicted(quality: list[float], usd: list[float], seconds: list[float] | None = None) -> Predictions:
    unknown = np.full(len(quality), np.nan)
    return Predictions(np.array(quality), unknown, np.array(usd), unknown if seconds is None else np.array(seconds))


def spread(n: int = 200, *, scale: float = 1.0) -> SpendCurve:
    """Request k changes from 1 USD to nothing at the multiplier 1 + k/10, times the scale's inverse in λ."""
    curve = SpendCurve()
    for k in range(n):
        curve.add(predicted([0.0, 1.0 + k / 10.0], [0.0, scale]), TradeOff(1.0 / scale))
    return curve


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e6])
def test_the_multiplier_spends_the_mean_whatever_money_is_counted_in(scale: float) -> None:
    curve = spread(scale=scale)
    pace = curve.pace(0.25 * scale)
    assert pace.low <= 16.0 * 1.01
    assert pace.high >= 16.0 / 1.01
    mixed = pace.share_low * curve.usd(pace.low) + (1.0 - pace.share_low) * curve.usd(pace.high)
    assert mixed == pytest.approx(0.25 * scale)


def test_money_enough_leaves_the_trade_off_alone() -> None:
    assert spread().pace(1.0) == UNPACED


def test_no_money_leaves_the_cheapest() -> None:
    curve = SpendCurve()
    curve.add(predicted([0.0, 1.0], [1.0, 2.0]), FREE)
    assert curve.pace(0.5) == Pace(MOST, MOST)
    assert curve.pace(-3.0).multiplier(0.0) == MOST


def test_requests_that_change_together_are_mixed() -> None:
    curve = SpendCurve()
    for _ in range(20):
        curve.add(predicted([0.0, 4.0], [0.0, 1.0]), FREE)  # all change at 4
    pace = curve.pace(0.3)
    assert (curve.usd(pace.low), curve.usd(pace.high)) == (1.0, 0.0)
    draws = (np.arange(1000) + 0.5) / 1000
    assert np.mean([curve.usd(pace.multiplier(u)) for u in draws]) == pytest.approx(0.3, abs=1e-3)


def test_a_look_near_the_last_multiplier_finds_the_same() -> None:
    curve = spread()
    assert curve.pace(0.25, near=15.0).mean == pytest.approx(curve.pace(0.25).mean, rel=0.02)
    assert curve.pace(0.25, near=1e6).mean == pytest.approx(curve.pace(0.25).mean, rel=0.02)


def test_the_oldest_request_is_forgotten() -> None:
    curve = SpendCurve(size=4)
    for usd in (100.0, 1.0, 2.0, 3.0, 4.0):
        curve.add(predicted([0.5], [usd]), FREE)
    assert len(curve) == 4
    assert curve.usd(1.0) == 2.5


def test_a_row_of_fewer_arms_keeps_nothing_of_the_row_it_replaces() -> None:
    curve = SpendCurve(size=1)
    curve.add(predicted([0.0, 0.5, 9.0], [1.0, 2.0, 30.0]), FREE)
    curve.add(predicted([0.0], [1.0]), FREE)
    assert curve.usd(1e-6) == 1.0


def test_expectations_are_corrected_by_what_was_charged() -> None:
    curve = SpendCurve()
    for _ in range(512):
        curve.add(predicted([0.5], [1.0]), FREE)
        curve.charged(predicted([0.5], [1.0]), FREE, 3.0)
        curve.usd(1.0)
    assert 2.7 < curve.usd(1.0) < 3.0  # the prior of one is still there


def test_one_odd_bill_moves_little() -> None:
    curve = SpendCurve()
    for _ in range(64):
        curve.add(predicted([0.5], [1.0]), FREE)
        curve.charged(predicted([0.5], [1.0]), FREE, 1.0)
    curve.charged(predicted([0.5], [1.0]), FREE, 20.0)
    assert curve.usd(1.0) < 1.4


def test_a_bill_is_held_against_the_multiplier_it_was_decided_at() -> None:
    curve, arms = SpendCurve(), predicted([0.0, 4.0], [1.0, 3.0])
    for _ in range(64):
        curve.add(arms, FREE)
        curve.charged(arms, TradeOff(100.0), 1.0)  # the cheap one, as expected
    assert curve.usd(1.0) == pytest.approx(3.0)


def test_an_arm_above_the_cap_is_not_counted_on_unless_all_are() -> None:
    curve = SpendCurve()
    curve.add(predicted([0.0, 1.0], [0.1, 0.2]), TradeOff(0.0, max_usd=0.15))
    assert curve.usd(1.0) == pytest.approx(0.1)
    dear = SpendCurve()
    dear.add(predicted([0.0, 1.0], [0.3, 0.5]), TradeOff(0.0, max_usd=0.15))
    assert dear.usd(1.0) == pytest.approx(0.5)


def test_seconds_count_as_the_trade_off_says() -> None:
    curve = SpendCurve()
    curve.add(predicted([0.5, 0.9], [0.1, 0.2], [1.0, 100.0]), TradeOff(0.0, quality_per_s=0.01))
    assert curve.usd(1.0) == pytest.approx(0.1)


def test_a_row_is_the_same_whatever_the_pace_it_was_decided_at() -> None:
    loose, tight = SpendCurve(), SpendCurve()
    loose.add(predicted([0.0, 4.0], [0.0, 1.0]), FREE)
    tight.add(predicted([0.0, 4.0], [0.0, 1.0]), TradeOff(50.0), multiplier=50.0)
    for multiplier in (1.0, 3.9, 4.1, 100.0):
        assert loose.usd(multiplier) == tight.usd(multiplier)


def test_what_no_trade_off_decides_costs_the_same_at_every_multiplier() -> None:
    curve = SpendCurve()
    curve.add(predicted([np.nan, np.nan], [0.5, 0.1]), FREE)
    assert curve.usd(1.0) == curve.usd(MOST) == 0.5
    curve.charged(predicted([np.nan], [np.nan]), FREE, 1.5)
    assert curve.usd(1.0) == curve.usd(MOST) == 1.0


def test_a_request_without_any_prediction_is_passed_over() -> None:
    curve = SpendCurve()
    curve.add(predicted([np.nan], [np.nan]), FREE)
    assert np.isnan(curve.usd(1.0))
    assert curve.pace(0.1) == UNPACED


def test_nothing_is_said_of_no_requests() -> None:
    curve = SpendCurve()
    assert np.isnan(curve.usd(1.0))
    curve.add(predicted([0.5], [1.0]), FREE)
    curve.forget()
    assert len(curve) == 0
    assert np.isnan(curve.usd(1.0))
