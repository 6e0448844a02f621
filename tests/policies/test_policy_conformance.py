"""What every registered policy promises."""

import math
from dataclasses import replace

import numpy as np
import pytest

from policies.arms import Arm
from policies.context import Context
from policies.features import lexical_features
from policies.policy import ArmFacts, Policy
from policies.prices import Price
from policies.registry import PolicyError, load_policy, policy_type, registered_policies
from policies.settings import DeclaredPolicy
from policies.tradeoff import TradeOff

ARMS = tuple(
    ArmFacts(Arm(f"m{i}", mode), price=Price(10**8 * (i + 1), 10**9 * (i + 1)))  # type: ignore[arg-type]
    for i, mode in enumerate(("instant", "instant", "reasoning", "agentic"))
)
TRADE_OFF = TradeOff(quality_per_usd=50.0)
TEXTS = ("hello", "Prove that $x^2 \\ge 0$ for every real x.", "def f(x):\n    return x\n\nWhy is this slow?", "")


@pytest.fixture(params=registered_policies())
def policy(request: pytest.FixtureRequest) -> Policy:
    return policy_type(request.param).example(ARMS)


def context_of(policy: Policy, text: str) -> Context:
    dim = getattr(policy, "embedding_dim", 0) if policy.encoder_id else 0
    vector = np.random.default_rng(len(text)).normal(size=dim).astype(np.float32)
    embedding = vector / max(float(np.linalg.norm(vector)), 1e-6)
    return Context(embedding=embedding, features=lexical_features(text), prompt_tokens=len(text) // 4 + 1)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("n_arms", [1, 2, 4])
def test_it_returns_a_distribution_over_the_eligible_arms(policy: Policy, text: str, n_arms: int) -> None:
    scores = policy.score(context_of(policy, text), ARMS[:n_arms], TRADE_OFF)
    assert scores.dist.shape == (n_arms,)
    assert (scores.dist >= 0).all()
    assert scores.dist.sum() == pytest.approx(1.0)
    for name in ("quality", "quality_sd", "usd", "seconds"):
        assert getattr(scores.predictions, name).shape == (n_arms,)


def test_costs_and_times_are_never_negative_and_known_where_the_price_is(policy: Policy) -> None:
    predictions = policy.score(context_of(policy, TEXTS[1]), ARMS, TRADE_OFF).predictions
    assert (predictions.usd > 0).all()
    assert (predictions.seconds > 0).all()


def test_the_order_of_the_arms_does_not_matter(policy: Policy) -> None:
    context, order = context_of(policy, TEXTS[1]), [2, 0, 3, 1]
    straight = policy.score(context, ARMS, TRADE_OFF)
    turned = policy.score(context, [ARMS[i] for i in order], TRADE_OFF)
    assert turned.dist == pytest.approx(straight.dist[order])
    assert turned.predictions.usd == pytest.approx(straight.predictions.usd[order])


def test_the_same_question_gets_the_same_answer_and_nothing_is_written_to(policy: Policy) -> None:
    context, arms = context_of(policy, TEXTS[2]), list(ARMS)
    for array in (context.embedding, context.features):
        array.flags.writeable = False
    one, two = (policy.score(context, arms, TRADE_OFF) for _ in range(2))
    assert (one.dist == two.dist).all()
    assert one.reason == two.reason
    assert arms == list(ARMS)


def test_an_arm_it_never_saw_does_not_break_it(policy: Policy) -> None:
    stranger = ArmFacts(Arm("new/model", "reasoning", effort="low"), price=None)
    scores = policy.score(context_of(policy, TEXTS[0]), (stranger, *ARMS), TRADE_OFF)
    assert np.isfinite(scores.dist).all()
    assert math.isnan(scores.predictions.usd[0])
    alone = policy.score(context_of(policy, TEXTS[0]), (stranger,), TRADE_OFF)
    assert alone.dist.tolist() == [1.0]


def test_no_embedding_and_no_price_are_survived(policy: Policy) -> None:
    context = replace(context_of(policy, TEXTS[0]), embedding=np.zeros(0, np.float32))
    free = [replace(arm, price=None) for arm in ARMS]
    assert policy.score(context, free, TRADE_OFF).dist.sum() == pytest.approx(1.0)


def test_the_reason_holds_no_prompt_text(policy: Policy) -> None:
    scores = policy.score(context_of(policy, "SECRETWORD solve x"), ARMS, TRADE_OFF)
    assert scores.reason
    assert "SECRETWORD" not in scores.reason


def test_an_unknown_policy_is_named_beside_the_known_ones() -> None:
    with pytest.raises(PolicyError, match=r"'clever'.*rules"):
        load_policy(DeclaredPolicy(name="clever"), ARMS, None)


def test_loading_one_policy_imports_no_other() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from policies.registry import load_policy; from policies.settings import DeclaredPolicy\n"
        "load_policy(DeclaredPolicy(name='uniform'), (), None)\n"
        "sys.exit(any(m in sys.modules for m in ('policies.zoo.linear', 'safetensors', 'pyarrow')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
