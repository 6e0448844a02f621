"""Target policies: many at once as one by one, and names on the command line."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from logged_world import ARMS, simulated

from policies.context import Context
from policies.policy import ArmFacts
from policies.prices import Price
from policies.tradeoff import TradeOff
from policies.zoo.default import DefaultPolicy
from policies.zoo.many import scores_many
from training.contender import Sample
from training.ope.open_target import Named, named, target_of
from training.ope.rounds import EvaluationError, Rounds
from training.ope.targets import FixedArm, PolicyTarget, Uniform
from training.records.record import arm_fields, arm_of

FACTS = [
    ArmFacts(arm_of(*arm_fields(name)), price=Price(10**8 * (i + 1), 10**9 * (i + 1))) for i, name in enumerate(ARMS)
]
UNPRICED = [*FACTS[:2], ArmFacts(FACTS[2].arm)]
STRANGER = ArmFacts(arm_of("other", "instant"), price=Price(1, 1))


@pytest.fixture
def rounds(world: Sample) -> Rounds:
    (found,) = simulated(world, np.tile([0.5, 0.3, 0.2], (len(world), 1)), n=300).chunks()
    return found


def one_by_one(policy: DefaultPolicy, rounds: Rounds, trade_off: TradeOff, arms: list[ArmFacts]) -> np.ndarray:
    contexts = zip(rounds.embeddings, rounds.features, rounds.prompt_tokens, rounds.max_tokens, strict=True)
    asked = (Context(x, words, int(n), max_tokens=None if np.isinf(b) else int(b)) for x, words, n, b in contexts)
    return np.array([policy.score(context, arms, trade_off).dist for context in asked])


def many(policy: DefaultPolicy, rounds: Rounds, trade_off: TradeOff, arms: list[ArmFacts]) -> np.ndarray | None:
    given = (rounds.embeddings, rounds.features, rounds.prompt_tokens)
    asked = rounds.under(trade_off).trade_off
    return scores_many(policy, *given, max_tokens=rounds.max_tokens, arms=arms, trade_offs=asked)


@pytest.mark.parametrize("arms", [FACTS, UNPRICED], ids=["priced", "one without a price"])
@pytest.mark.parametrize(
    "trade_off", [TradeOff(0.0), TradeOff(10.0), TradeOff(1000.0), TradeOff(10.0, 0.01), TradeOff(10.0, max_usd=0.004)]
)
def test_many_queries_at_once_are_scored_as_one_by_one(
    rounds: Rounds, trade_off: TradeOff, arms: list[ArmFacts]
) -> None:
    policy = DefaultPolicy.example([*FACTS, STRANGER])
    rounds.max_tokens[::2] = np.resize([1.0, 30.0, 300.0, 10.0**9], len(rounds.max_tokens[::2]))
    found = many(policy, rounds, trade_off, arms)
    assert found is not None
    assert np.array_equal(found, one_by_one(policy, rounds, trade_off, arms))


@pytest.mark.parametrize(
    ("arms", "trade_off"),
    [
        ([*FACTS, STRANGER], TradeOff(1.0)),
        (FACTS, TradeOff(1.0, quality_floor=0.9)),
    ],
)
def test_what_needs_a_closer_look_is_left_to_the_policy(
    rounds: Rounds, arms: list[ArmFacts], trade_off: TradeOff
) -> None:
    policy = DefaultPolicy.example([*FACTS, STRANGER])
    assert many(policy, rounds, trade_off, arms) is None


@pytest.mark.parametrize("floor", [0.0, 0.5], ids=["many at once", "one by one"])
def test_under_a_clients_bound_the_arm_is_chosen_that_is_dear_only_when_it_talks(rounds: Rounds, floor: float) -> None:
    """Output alone costs: answers of one token cost next to nothing, so quality decides, as if money had no price."""
    policy = DefaultPolicy.example([*FACTS, STRANGER])
    priced = {arm.name: replace(arm, price=Price(0, 10**9 * (i + 1))) for i, arm in enumerate(FACTS)}
    bounded = replace(rounds, max_tokens=np.ones(len(rounds)))
    asked = PolicyTarget("mine", policy, priced, trade_off=TradeOff(2_000.0, quality_floor=floor))
    best = PolicyTarget("best", policy, priced, trade_off=TradeOff(0.0)).distribution(rounds)
    assert (asked.distribution(bounded) == best).all(axis=1).mean() > 0.9
    assert (asked.distribution(rounds) == best).all(axis=1).mean() < 0.5


def test_rounds_of_different_trade_offs_are_scored_each_under_its_own(rounds: Rounds) -> None:
    policy = DefaultPolicy.example([*FACTS, STRANGER])
    rounds.trade_off[:, 0] = np.geomspace(0.1, 1e4, len(rounds))
    rounds.trade_off[::3, 3] = 0.004
    found = PolicyTarget("mine", policy, dict(zip(ARMS, FACTS, strict=True))).distribution(rounds)
    contexts = zip(rounds.embeddings, rounds.features, rounds.prompt_tokens, rounds.trade_off, strict=True)
    alone = [policy.score(Context(x, words, int(n)), FACTS, TradeOff(*terms)).dist for x, words, n, terms in contexts]
    assert np.array_equal(found, np.array(alone))
    assert len(np.unique(found, axis=0)) > 1


def test_a_target_chooses_among_the_eligible_arms_with_its_exploration(rounds: Rounds) -> None:
    policy = DefaultPolicy.example([*FACTS, STRANGER])
    rounds.eligible[:50, 1] = False
    target = PolicyTarget("mine", policy, dict(zip(ARMS, FACTS, strict=True)), explore=0.3)
    found = target.distribution(rounds)
    assert found.sum(axis=1) == pytest.approx(np.ones(len(rounds)))
    assert (found[:50, 1] == 0).all()
    assert found[50:].min() == pytest.approx(0.1)
    assert found[:50, [0, 2]].min() == pytest.approx(0.15)


def test_a_fixed_arm_that_was_not_eligible_leaves_the_choice_to_the_log(rounds: Rounds) -> None:
    rounds.eligible[0, 2] = False
    found = FixedArm(ARMS[2]).distribution(rounds)
    assert np.array_equal(found[0], rounds.propensities[0])
    assert (found[1:, 2] == 1.0).all()


def test_uniform_shares_among_the_eligible(rounds: Rounds) -> None:
    rounds.eligible[0, 2] = False
    assert Uniform().distribution(rounds)[0].tolist() == [0.5, 0.5, 0.0]


def test_a_name_that_is_nothing_is_refused_with_the_arms_there_are(tmp_path: Path) -> None:
    (none,) = named([str(tmp_path / "nowhere")])
    with pytest.raises(EvaluationError, match=r"no artifact's folder, no arm of the log \(cheap/instant"):
        target_of(none, ARMS, prices={})
    assert isinstance(target_of(Named(ARMS[0], None), ARMS, prices={}), FixedArm)
