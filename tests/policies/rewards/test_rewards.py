"""Rewards against tables computed by hand, and what every registered reward promises."""

import math

import numpy as np
import pytest

from policies.predictions import Predictions
from policies.rewards.base import Facts, Reward, RewardError
from policies.rewards.registry import load_reward, registered_rewards
from policies.tradeoff import TradeOff, utility

WHOLE = Facts(score=1.0, usd=0.01, seconds=2.0, instant_rate=0.8, reference_rate=0.9)


@pytest.fixture(params=registered_rewards())
def reward(request: pytest.FixtureRequest) -> Reward:
    return load_reward(request.param)


def test_a_reward_of_full_facts_is_a_finite_number_and_repeats(reward: Reward) -> None:
    values = {reward.reward(WHOLE) for _ in range(2)}
    assert len(values) == 1
    assert math.isfinite(values.pop() or 0.0)


def test_an_ungraded_outcome_has_no_reward_rather_than_a_bad_one(reward: Reward) -> None:
    assert reward.reward(Facts(usd=0.01, seconds=2.0, instant_rate=0.8, reference_rate=0.9)) is None


def test_a_right_answer_earns_at_least_a_wrong_one(reward: Reward) -> None:
    wrong = Facts(score=0.0, usd=0.01, seconds=2.0, instant_rate=0.8, reference_rate=0.9)
    assert (reward.reward(WHOLE) or 0.0) > (reward.reward(wrong) or 0.0)


@pytest.mark.parametrize("name", registered_rewards())
@pytest.mark.parametrize("options", [{"typo": 1.0}, {"bonus": math.inf}, {"quality_per_usd": -1.0}, {"exponent": "2"}])
def test_a_senseless_option_is_refused(name: str, options: dict[str, float]) -> None:
    with pytest.raises(RewardError, match=name):
        load_reward(name, options)


def test_an_unknown_reward_is_named_beside_the_known_ones() -> None:
    with pytest.raises(RewardError, match=r"'kind'.*additive"):
        load_reward("kind")


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (Facts(score=1.0, usd=0.01, seconds=2.0), 1 - 20 * 0.01 - 0.1 * 2),
        (Facts(score=0.0, usd=0.01, seconds=2.0), -0.4),
        (Facts(score=0.5, usd=0.0, seconds=0.0), 0.5),
        (Facts(feedback=0.75, usd=0.0, seconds=1.0), 0.65),
        (Facts(checks={"a": 1.0, "b": 0.0}, usd=0.0, seconds=0.0), 0.5),
        (Facts(status="error", usd=0.01, seconds=0.0), -0.2),
    ],
)
def test_additive_by_hand(facts: Facts, expected: float) -> None:
    additive = load_reward("additive", {"quality_per_usd": 20.0, "quality_per_s": 0.1})
    assert additive.reward(facts) == pytest.approx(expected)


def test_additive_is_the_utility_of_a_sure_prediction() -> None:
    one = Predictions(np.array([0.7]), np.array([0.0]), np.array([0.02]), np.array([3.0]))
    expected = utility(one, TradeOff(quality_per_usd=5.0, quality_per_s=0.01))[0]
    additive = load_reward("additive", {"quality_per_usd": 5.0, "quality_per_s": 0.01})
    assert additive.reward(Facts(score=0.7, usd=0.02, seconds=3.0)) == pytest.approx(expected)


def test_an_unknown_cost_is_an_error_where_it_counts_and_nothing_where_it_does_not() -> None:
    facts = Facts(score=1.0)
    assert load_reward("additive").reward(facts) == 1.0
    for name in ("additive", "success_gated"):
        with pytest.raises(RewardError, match="no usd"):
            load_reward(name, {"quality_per_usd": 1.0}).reward(facts)


@pytest.mark.parametrize(
    ("score", "usd", "expected"),
    [(1.0, 0.0, 1.0), (1.0, 0.1, 1 - 0.2), (1.0, 0.5, 1 - 0.6), (0.0, 0.0, 0.0), (0.0, 9.0, 0.0), (0.5, 0.1, 0.4)],
)
def test_success_gated_by_hand(score: float, usd: float, expected: float) -> None:
    gated = load_reward("success_gated", {"quality_per_usd": 2.0, "most": 0.6})
    assert gated.reward(Facts(score=score, usd=usd)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (Facts(score=1.0, mode="instant", instant_rate=0.9), 1.0),
        (Facts(score=1.0, mode="reasoning", instant_rate=0.9), 1 - 0.81),
        (Facts(score=1.0, mode="agentic", instant_rate=1.0), 0.0),
        (Facts(score=1.0, mode="reasoning", instant_rate=0.5), 1.0),  # not above τ: hard
        (Facts(score=0.0, mode="reasoning", instant_rate=0.1), 0.0),
        (Facts(score=1.0, mode="reasoning", instant_rate=0.1, well_formed=False), 0.0),
    ],
)
def test_apo_by_hand(facts: Facts, expected: float) -> None:
    assert load_reward("apo").reward(facts) == pytest.approx(expected)


def test_apo_without_the_instant_rate_says_what_is_missing() -> None:
    with pytest.raises(RewardError, match="instant_rate"):
        load_reward("apo").reward(Facts(score=1.0, mode="reasoning"))


@pytest.mark.parametrize(
    ("score", "mode", "expected"),
    [(1.0, "instant", 0.25), (1.0, "reasoning", 0.2), (0.0, "instant", -0.75), (0.0, "reasoning", -0.8)],
)
def test_adaptthink_by_hand(score: float, mode: str, expected: float) -> None:
    facts = Facts(score=score, mode=mode, reference_rate=0.8)  # type: ignore[arg-type]
    assert load_reward("adaptthink").reward(facts) == pytest.approx(expected)
