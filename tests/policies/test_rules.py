import numpy as np
import pytest

from policies.arms import Arm
from policies.context import Context
from policies.errors import PolicyError
from policies.features import lexical_features
from policies.policy import ArmFacts
from policies.prices import Price
from policies.registry import load_policy
from policies.settings import DeclaredPolicy, DeclaredRule
from policies.tradeoff import TradeOff
from policies.zoo.rules import RulesPolicy

INSTANT = ArmFacts(Arm("small", "instant"), price=Price(10**8, 10**8))
DEAR = ArmFacts(Arm("large", "instant"), price=Price(10**9, 10**9))
REASONING = ArmFacts(Arm("small", "reasoning"), price=Price(10**8, 10**8), output_tokens=2000)
ARMS = (REASONING, DEAR, INSTANT)
NO_EMBEDDING = np.zeros(0, np.float32)


def chosen(rules: RulesPolicy, text: str, *, arms: tuple[ArmFacts, ...] = ARMS, turn: int = 1) -> tuple[str, str]:
    context = Context(NO_EMBEDDING, lexical_features(text), prompt_tokens=len(text) // 4, turn=turn)
    scores = rules.score(context, arms, TradeOff(quality_per_usd=1.0))
    return arms[int(scores.dist.argmax())].name, scores.reason


@pytest.mark.parametrize(
    ("text", "arm", "why"),
    [
        ("What is the capital of France?", "small/instant", "short and simple"),
        ("hi there", "small/instant", "short and simple"),
        ("Prove that the square root of 2 is irrational.", "small/reasoning", "mathematics"),
        ("What is $\\frac{1}{2} + \\sqrt{3}$?", "small/reasoning", "mathematics"),
        ("```\nfoo(bar)\n```\nwhat happens here", "small/reasoning", "code"),
        ("Plan my move to Lyon step by step", "small/reasoning", "several steps"),
        ("the quick brown fox sat down " * 300, "small/reasoning", "long"),
    ],
)
def test_the_shipped_rules_reason_only_where_it_pays(text: str, arm: str, why: str) -> None:
    name, reason = chosen(RulesPolicy(), text)
    assert name == arm
    assert why in reason


def test_among_arms_of_one_pattern_the_cheapest_is_taken() -> None:
    assert chosen(RulesPolicy([DeclaredRule({}, ["*/instant"], "all")]), "x")[0] == "small/instant"


def test_a_rule_whose_arms_are_not_eligible_hands_on_to_the_next() -> None:
    rules = RulesPolicy([DeclaredRule({}, ["*/agentic*"], "tools"), DeclaredRule({}, ["large/*"], "large")])
    assert chosen(rules, "x") == ("large/instant", "rule: large")


def test_without_any_fitting_rule_the_cheapest_arm_answers_and_says_so() -> None:
    rules = RulesPolicy([DeclaredRule({"min_turn": 3}, ["large/*"], "late in the talk")])
    assert chosen(rules, "x") == ("small/instant", "no rule names an eligible arm: the cheapest one")
    assert chosen(rules, "x", turn=3)[0] == "large/instant"


@pytest.mark.parametrize(
    ("when", "fires"),
    [
        ({"max_prompt_tokens": 10}, True),
        ({"max_prompt_tokens": 4}, False),
        ({"min_digit_share": 0.1, "is_question": True}, True),
        ({"is_question": False}, False),
        ({"turn": 1}, True),
        ({"last_arm": "small/*"}, False),
        ({"min_max_tokens": 100}, True),
    ],
)
def test_all_conditions_must_hold(when: dict[str, float], fires: bool) -> None:
    rules = RulesPolicy([DeclaredRule(when, ["large/*"], "fired")])
    assert (chosen(rules, "What is 17 * 23?" + " " * 4)[1] == "rule: fired") is fires


@pytest.mark.parametrize("when", [{"is_maths": True}, {"min_is_a_question": 1}, {"min_turn": True}, {"max_turn": "2"}])
def test_a_mistaken_condition_is_reported_with_its_rule(when: dict[str, float]) -> None:
    settings = DeclaredPolicy("rules", rules=[DeclaredRule({}, ["*"]), DeclaredRule(when, ["*"])])
    with pytest.raises(PolicyError, match=r"policy\.rules\[1\]\.when"):
        load_policy(settings, ARMS, None)


@pytest.mark.parametrize("name", ["upper_share", "min_upper_share", "max_upper_share"])
def test_a_condition_that_features_no_longer_have_is_named_with_what_there_is(name: str) -> None:
    settings = DeclaredPolicy("rules", rules=[DeclaredRule({name: 0.5}, ["*"])])
    with pytest.raises(PolicyError, match=rf"policy\.rules\[0\]\.when.*'{name}' is unknown; use one of.*digit_share"):
        load_policy(settings, ARMS, None)


def test_a_rule_that_prefers_nothing_is_refused() -> None:
    with pytest.raises(PolicyError, match=r"policy\.rules\[0\]\.prefer"):
        RulesPolicy([DeclaredRule({}, [])])


def test_the_version_follows_the_rules() -> None:
    one, two = (RulesPolicy([DeclaredRule({"min_turn": n}, ["*"])]) for n in (1, 2))
    assert one.version != two.version
    assert RulesPolicy().version == RulesPolicy().version
