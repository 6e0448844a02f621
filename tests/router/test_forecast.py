"""Forecasts of spending, against a process whose truth is known."""

import math

import numpy as np
import pytest

from router.forecast import RECENT, Z80, Rate, Step, rate_of, steps_of

DAY_PART_S = 3600.0
NANO = 1_000_000_000


def test_the_rate_is_that_of_the_last_quarter_of_a_window() -> None:
    old, new = [Step(100.0, 3600.0)] * 20, [Step(2.0, 3600.0)] * RECENT
    rate = rate_of([*old, *new])
    assert rate.usd_per_s == pytest.approx(2.0 / 3600.0)
    assert rate.variance == 0.0
    assert rate.seconds_to(10.0) == pytest.approx(5 * 3600.0)
    assert rate.seconds_to(10.0, z=Z80) == pytest.approx(5 * 3600.0)


def test_four_of_five_intervals_hold_what_comes() -> None:
    rng, held = np.random.default_rng(0), 0
    for _ in range(500):  # spending of about 50 USD an hour, in bills of 1 USD
        hours = rng.poisson(50.0, size=RECENT + 10).astype(float)
        rate = rate_of([Step(usd, 3600.0) for usd in hours[:RECENT]])
        low, high = (rate.spent_in(36_000.0, z=z) for z in (-Z80, Z80))
        held += low <= hours[RECENT:].sum() <= high
    # Six stretches make the normal interval a little narrow: 80 % of Student's t with 5 degrees would be 1.48.
    assert 0.68 <= held / 500 <= 0.85


def test_the_moment_is_where_what_is_spent_reaches_what_is_left() -> None:
    rate = Rate(0.5, 0.04, 0.001)
    for z in (-Z80, 0.0, Z80):
        assert rate.spent_in(rate.seconds_to(80.0, z=z), z=z) == pytest.approx(80.0)
    assert rate.seconds_to(80.0, z=Z80) < rate.seconds_to(80.0) < rate.seconds_to(80.0, z=-Z80)


def test_what_is_spent_is_spent_and_what_nobody_spends_lasts() -> None:
    assert Rate(0.5, 0.0, 0.0).seconds_to(0.0) == Rate(0.0, 0.0, 0.0).seconds_to(-1.0) == 0.0
    assert Rate(0.0, 0.0, 0.0).seconds_to(1.0) == math.inf
    assert Rate(0.5, 1.0, 1.0).seconds_to(1e6, z=-Z80) == math.inf  # its rate may as well be nothing


def test_stretches_go_on_from_the_last_window_and_count_what_is_under_way() -> None:
    before: list[int | None] = [None] * 22 + [1 * NANO, 3 * NANO]
    now: list[int | None] = [2 * NANO, None, 5 * NANO, *[None] * 21]
    steps = steps_of(before, now, spent=6 * NANO, part_s=(DAY_PART_S, DAY_PART_S), elapsed_s=3.5 * 3600.0)
    assert [step.usd for step in steps[-6:]] == [1.0, 2.0, 2.0, 0.0, 3.0, 1.0]
    assert [step.seconds for step in steps[-2:]] == [3600.0, 1800.0]


def test_time_before_the_first_request_ever_is_no_time_of_thrift() -> None:
    now: list[int | None] = [None] * 10 + [4 * NANO, *[None] * 13]
    steps = steps_of([None] * 24, now, spent=6 * NANO, part_s=(3600.0, 3600.0), elapsed_s=11.5 * 3600.0)
    assert [(step.usd, step.seconds) for step in steps] == [(4.0, 3600.0), (2.0, 1800.0)]


def test_a_single_stretch_has_a_rate_and_no_interval() -> None:
    rate = rate_of(steps_of([None] * 24, [None] * 24, spent=NANO, part_s=(1.0, 3600.0), elapsed_s=600.0))
    assert rate.usd_per_s == pytest.approx(1.0 / 600.0)
    assert math.isnan(rate.variance)


def test_a_window_that_begins_just_now_has_no_rate() -> None:
    with pytest.raises(ValueError, match="began just now"):
        rate_of([Step(0.0, 0.0)])
