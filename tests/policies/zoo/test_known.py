"""What the configuration alone tells of an arm's cost."""

import numpy as np
import pytest

from policies.arms import Arm
from policies.policy import ArmFacts
from policies.prices import Price
from policies.zoo.known import declared


def test_time_that_is_paid_for_is_part_of_the_expected_cost() -> None:
    arm = Arm(model="m", mode="instant", effort="")
    prices = Price(10**9, 2 * 10**9), Price(10**9, 2 * 10**9, gpu_second=10**6), None
    facts = declared([ArmFacts(arm, price=price, tokens_per_s=50.0) for price in prices])
    by_token, with_time, unknown = facts.usd(100.0, np.full(3, 200.0))
    assert by_token == pytest.approx((100 * 1 + 200 * 2) / 1e6)
    assert with_time == pytest.approx(by_token + 200 / 50 * 0.001)
    assert np.isnan(unknown)
