"""Which arms may answer, and the reason for each that may not."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rig import config_of, tree

from policies.policy import ArmFacts
from policies.prices import Price
from router.config.arms import arm_table
from router.eligible import Candidate, Needs, eligible, expected_usd, too_dear

PLAIN = tree("small", "large", "unpriced")
PLAIN["models"]["small"]["capabilities"] = []
PLAIN["models"]["small"] |= {"context_tokens": 1000, "max_output_tokens": 500}
PLAIN["models"]["unpriced"].pop("price")
CONFIG = config_of(PLAIN)
CANDIDATES = [Candidate(facts, CONFIG.models[facts.arm.model]) for facts in arm_table(CONFIG).values()]
ALL = {"small", "large", "unpriced"}


def healthy(model: str) -> str | None:
    return None


def left(needs: Needs) -> set[str]:
    arms, removed = eligible(CANDIDATES, needs, health=healthy)
    assert len(arms) + len(removed) == len(CANDIDATES)
    assert all(removed.values())
    return {arm.arm.model for arm in arms}


@pytest.mark.parametrize(
    ("needs", "models"),
    [
        (Needs(), ALL),
        (Needs(capabilities=("tools",)), {"large", "unpriced"}),
        (Needs(prompt_tokens=1000), ALL),
        (Needs(prompt_tokens=1001), {"large", "unpriced"}),
        (Needs(prompt_tokens=900, max_tokens=101), {"large", "unpriced"}),
        (Needs(models=("small",)), {"small"}),
        (Needs(models=()), set()),
        (Needs(modes=("reasoning",)), set()),
        (Needs(modes=()), set()),
        (Needs(max_usd=1e6), {"small", "large"}),  # an unknown price is never taken for a low one
        (Needs(max_usd=0.0005), {"small"}),
        (Needs(max_usd=0.0005, n=8), set()),
        (Needs(max_usd=0.0005, n=8, max_tokens=10), {"small", "large"}),
        (Needs(max_usd=1e-12), set()),
    ],
)
def test_every_demand_binds(needs: Needs, models: set[str]) -> None:
    assert left(needs) == models


def test_an_arm_that_cannot_be_called_says_why() -> None:
    def health(model: str) -> str | None:
        return "circuit open" if model == "large" else None

    arms, removed = eligible(CANDIDATES, Needs(), health=health)
    assert removed == {"large/instant": "circuit open"}
    assert [arm.name for arm in arms] == ["small/instant", "unpriced/instant"]


@given(st.integers(0, 10**6), st.integers(0, 10**12), st.integers(1, 10**5), st.integers(1, 8))
def test_the_expected_cost_is_the_closed_form(prompt: int, price: int, output: int, n: int) -> None:
    facts = ArmFacts(CANDIDATES[0].facts.arm, price=Price(price, 3 * price), output_tokens=output)
    usd = expected_usd(facts, Needs(prompt_tokens=prompt, n=n))
    assert usd == pytest.approx(math.ceil((prompt * price + 3 * price * output * n) / 10**6) / 1e9)
    assert too_dear(facts, Needs(prompt_tokens=prompt, n=n)) is None


def test_time_that_is_paid_for_is_expected_by_the_declared_speed() -> None:
    price = Price(0, 0, gpu_second=2_000_000)
    facts = ArmFacts(CANDIDATES[0].facts.arm, price=price, output_tokens=100, first_token_s=0.5, tokens_per_s=50.0)
    assert expected_usd(facts, Needs(prompt_tokens=10)) == pytest.approx(2.5 * 0.002)
    assert expected_usd(facts, Needs(prompt_tokens=10, max_tokens=25)) == pytest.approx(1.0 * 0.002)
