import numpy as np
import pytest

from policies.predictions import Predictions
from policies.tradeoff import TradeOff
from policies.zoo.choose import most_useful


def predictions(quality: list[float], usd: list[float]) -> Predictions:
    n = len(quality)
    return Predictions(np.array(quality), np.full(n, 0.1), np.array(usd), np.ones(n))


def test_the_trade_off_decides_between_better_and_cheaper() -> None:
    both = predictions([0.6, 0.8], [0.001, 0.011])  # 0.2 more for 0.01 USD: indifferent at 20 per USD
    assert most_useful(both, TradeOff(quality_per_usd=25.0)).tolist() == [1.0, 0.0]
    assert most_useful(both, TradeOff(quality_per_usd=15.0)).tolist() == [0.0, 1.0]


def test_equal_utilities_share_the_probability() -> None:
    assert most_useful(predictions([0.5, 0.5, 0.4], [0.0, 0.0, 0.0]), TradeOff(1.0)).tolist() == [0.5, 0.5, 0.0]


def test_an_unknown_price_counts_as_the_dearest_known_one() -> None:
    dist = most_useful(predictions([0.6, 0.8, 0.7], [0.001, 0.02, float("nan")]), TradeOff(quality_per_usd=1.0))
    assert dist.tolist() == [0.0, 1.0, 0.0]


def test_arms_above_the_cap_are_passed_over_unless_all_are() -> None:
    both = predictions([0.6, 0.9], [0.001, 0.01])
    assert most_useful(both, TradeOff(0.0, max_usd=0.005)).tolist() == [1.0, 0.0]
    assert most_useful(both, TradeOff(0.0, max_usd=0.0001)).sum() == pytest.approx(1.0)
