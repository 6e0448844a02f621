"""Pacing on made-up traffic whose right answer is known."""

import numpy as np
import pytest

from policies.pacing import Arrivals, Pacer, paced
from policies.predictions import Predictions, Reals
from policies.spend_curve import MOST, UNPACED, Pace, SpendCurve
from policies.tradeoff import TradeOff

TENANT = TradeOff(quality_per_usd=1e-3, quality_floor=0.5, max_usd=7.0)


class Played:
    """What was spent, and the multiplier of each request."""

    def __init__(self, spent: float, multipliers: Reals) -> None:
        self.spent, self.multipliers = spent, multipliers


def served(arrivals: list[float], *, limit_usd: float, before: float = 0.0, usd: float = 1.0, seed: int = 0) -> Played:
    """Requests that are worth up to 1 of quality for `usd`, or nothing for a hundredth; looked at one by one."""
    rng, curve = np.random.default_rng(seed), SpendCurve()
    pacer = Pacer(curve, Arrivals(before=before), limit_usd=limit_usd)
    spent, multipliers = 0.0, []
    for number, at in enumerate(arrivals):
        pace = pacer.look(spent_usd=spent, elapsed=at, requests=number)
        multiplier = pace.multiplier(rng.random())
        quality, costs = np.array([0.0, rng.random()]), np.array([usd / 100.0, usd])
        told, trade_off = Predictions(quality, quality, costs, costs), paced(TradeOff(1e-3 / usd), multiplier)
        curve.add(told, trade_off, multiplier=multiplier)
        cost = float(costs[(quality - trade_off.quality_per_usd * costs).argmax()])
        spent += cost
        curve.charged(told, trade_off, cost)
        multipliers.append(multiplier)
    return Played(spent, np.array(multipliers))


@pytest.mark.parametrize("usd", [1e-7, 1.0, 1e4])
@pytest.mark.parametrize("before", [0.0, 2_000.0])
def test_a_budget_lasts_its_window_whatever_the_scale(usd: float, before: float) -> None:
    limit = 600.0 * usd
    played = served(np.linspace(0.0, 0.9995, 2_000).tolist(), limit_usd=limit, before=before, usd=usd)
    assert 0.99 <= played.spent / limit <= 1.0
    # Worth is uniform, so 29 % of it lies above .71: the multiplier is steady where its forecast is.
    middle = played.multipliers[600:1_600] * 1e-3
    assert np.median(middle) == pytest.approx(0.71, abs=0.06)


def test_few_requests_are_answered_as_their_trade_off_says() -> None:
    played = served([0.001, 0.002, 0.003, 0.3, 0.6, 0.9], limit_usd=20.0)
    assert (played.multipliers == 1.0).all()


def test_a_burst_at_the_start_does_not_foretell_a_flood() -> None:
    arrivals = np.concatenate([np.linspace(0.0, 0.001, 100), np.linspace(0.001, 0.999, 900)]).tolist()
    played = served(arrivals, limit_usd=400.0)
    assert 0.98 <= played.spent / 400.0 <= 1.0
    assert np.median(played.multipliers[20:100]) < 1e3  # 1 of quality is the most that anything is worth


def test_traffic_that_ends_early_is_let_go_again() -> None:
    """Half the earlier window's requests: the pace falls back as they fail to come."""
    played = served(np.linspace(0.0, 0.999, 1_000).tolist(), limit_usd=500.0, before=2_000.0)
    assert 0.98 <= played.spent / 500.0 <= 1.0
    assert np.median(played.multipliers[-200:]) < np.median(played.multipliers[20:200])


def test_a_spent_window_leaves_the_cheapest_and_money_loosens_it() -> None:
    curve = SpendCurve()
    for _ in range(10):
        curve.add(Predictions(*(np.array([0.0, 0.9]),) * 2, *(np.array([0.01, 1.0]),) * 2), TradeOff(1e-3))
    pacer = Pacer(curve, Arrivals(before=100.0), limit_usd=10.0)
    assert pacer.look(spent_usd=10.0, elapsed=0.5, requests=50) == Pace(MOST, MOST)
    assert pacer.look(spent_usd=0.0, elapsed=0.99, requests=50) == UNPACED


def test_money_under_way_counts_as_spent() -> None:
    curve = SpendCurve()
    for _ in range(10):
        curve.add(Predictions(*(np.array([0.0, 0.9]),) * 2, *(np.array([0.01, 1.0]),) * 2), TradeOff(1e-3))
    pacer = Pacer(curve, Arrivals(before=100.0), limit_usd=10.0)
    assert pacer.look(spent_usd=0.0, elapsed=0.99, requests=99, pending_usd=10.0) == Pace(MOST, MOST)


def test_the_pace_stays_until_enough_was_seen() -> None:
    pacer = Pacer(SpendCurve(), Arrivals(), limit_usd=1.0, pace=Pace(5.0, 5.0))
    assert pacer.look(spent_usd=0.9, elapsed=0.1, requests=3) == Pace(5.0, 5.0)


def test_arrivals_follow_the_usual_shape() -> None:
    arrivals = Arrivals([1.0, 1.0, 8.0, 0.0], before=1_000.0)
    assert arrivals.come(0.5) == pytest.approx(0.2, abs=0.01)
    # A little less than 800: what comes at odd times is allowed for.
    assert arrivals.remaining(elapsed=0.5, requests=200) == pytest.approx(800.0, rel=0.03)
    # A fourth part that was always empty: nothing much is left to come.
    assert arrivals.remaining(elapsed=0.75, requests=1_000) == pytest.approx(5.0, abs=1.0)


def test_arrivals_learn_a_new_rate_and_one_look_says_what_many_do() -> None:
    once, often = Arrivals(before=1_000.0), Arrivals(before=1_000.0)
    for at in np.linspace(0.0, 0.5, 501):
        many = often.remaining(elapsed=float(at), requests=round(3_000 * at))
    assert once.remaining(elapsed=0.5, requests=1_500) == pytest.approx(many, rel=0.01)
    assert many == pytest.approx(1_500, rel=0.1)  # 3,000 a window, of which half is to come; the old rate fades


def test_arrivals_survive_a_clock_that_stands_and_counts_that_fall() -> None:
    arrivals = Arrivals([0.0, 0.0], before=10.0)
    first = arrivals.remaining(elapsed=0.5, requests=10)
    assert arrivals.remaining(elapsed=0.4, requests=5) == first
    assert arrivals.remaining(elapsed=1.0, requests=10**9) == 1.0


def test_a_pace_only_tightens_and_leaves_floor_and_cap() -> None:
    tightened = paced(TENANT, 3.0)
    assert tightened.quality_per_usd == pytest.approx(3e-3)
    assert (tightened.quality_floor, tightened.max_usd) == (0.5, 7.0)
    assert paced(TENANT, 1.0) is TENANT
    with pytest.raises(ValueError, match="only tighten"):
        paced(TENANT, 0.5)
