import numpy as np
import pytest

from policies.arms import Arm
from policies.context import Context
from policies.policy import ArmFacts
from policies.prices import Price
from policies.registry import PolicyError, load_policy
from policies.settings import DeclaredPolicy
from policies.tradeoff import TradeOff

CHEAP = ArmFacts(
    Arm("cheap", "instant"), price=Price(10**9, 2 * 10**9), output_tokens=100, first_token_s=1.0, tokens_per_s=50.0
)
DEAR = ArmFacts(Arm("dear", "instant"), price=Price(10**10, 10**10))
UNPRICED = ArmFacts(Arm("mystery", "instant"))
CONTEXT = Context(np.zeros(0, np.float32), np.zeros(0, np.float32), prompt_tokens=1000)
TRADE_OFF = TradeOff(quality_per_usd=1.0)


def test_the_declared_arm_gets_everything() -> None:
    policy = load_policy(DeclaredPolicy("static", arm="dear/instant"), (CHEAP, DEAR), None)
    assert policy.score(CONTEXT, (CHEAP, DEAR), TRADE_OFF).dist.tolist() == [0.0, 1.0]


def test_an_ineligible_arm_is_replaced_by_the_cheapest_and_that_is_said() -> None:
    policy = load_policy(DeclaredPolicy("static", arm="dear/instant"), (CHEAP, DEAR, UNPRICED), None)
    scores = policy.score(CONTEXT, (UNPRICED, CHEAP), TRADE_OFF)
    assert scores.dist.tolist() == [0.0, 1.0]
    assert "dear/instant is not eligible: cheap/instant" in scores.reason


def test_cost_and_time_come_from_the_configuration() -> None:
    policy = load_policy(DeclaredPolicy("uniform"), (CHEAP,), None)
    predictions = policy.score(CONTEXT, (CHEAP,), TRADE_OFF).predictions
    assert predictions.usd[0] == pytest.approx(1000 * 1e-6 + 100 * 2e-6)
    assert predictions.seconds[0] == pytest.approx(1.0 + 100 / 50)
    assert np.isnan(predictions.quality[0])


def test_a_client_bound_shortens_the_expected_answer() -> None:
    policy = load_policy(DeclaredPolicy("uniform"), (CHEAP,), None)
    bounded = Context(CONTEXT.embedding, CONTEXT.features, prompt_tokens=1000, max_tokens=10)
    assert policy.score(bounded, (CHEAP,), TRADE_OFF).predictions.usd[0] == pytest.approx(1000 * 1e-6 + 10 * 2e-6)


@pytest.mark.parametrize("arm", [None, "", "gone/instant"])
def test_an_arm_that_is_not_configured_is_refused(arm: str | None) -> None:
    with pytest.raises(PolicyError, match=r"policy\.arm.*cheap/instant"):
        load_policy(DeclaredPolicy("static", arm=arm), (CHEAP,), None)
