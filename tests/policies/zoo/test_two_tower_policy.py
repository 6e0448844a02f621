"""An arm that was not trained is judged by what the configuration tells of it."""

import numpy as np
import pytest

from policies.arms import Arm
from policies.context import Context
from policies.features import lexical_features
from policies.policy import ArmFacts
from policies.prices import Price
from policies.tradeoff import TradeOff
from policies.zoo.basis import Basis
from policies.zoo.irt import ResponseModel
from policies.zoo.mf import FactorModel
from policies.zoo.mlp import NetModel
from policies.zoo.roster import NEWCOMER, Roster, enrolled, shared_log_odds
from policies.zoo.sigmoid import sigmoid
from policies.zoo.two_tower import TwoTowerModel, TwoTowerPolicy

TRAINED = tuple(ArmFacts(Arm(f"m{i}", "instant"), price=Price(10**8, 10**8)) for i in range(3))
POLICY = TwoTowerPolicy.example((*TRAINED, TRAINED[0]))
VECTOR = np.eye(8, dtype=np.float32)[0]
ZERO = Basis.example(dim=8)


def context(embedding: np.ndarray = VECTOR) -> Context:
    return Context(embedding=embedding, features=lexical_features("why?"), prompt_tokens=5)


def priced(usd: float, model: str = "new") -> ArmFacts:
    return ArmFacts(Arm(model, "instant"), price=Price(round(usd * 1e9), round(usd * 1e9)))


def test_a_dearer_stranger_is_expected_to_be_better() -> None:
    arms = (priced(0.05, "a"), priced(5.0, "b"), *TRAINED)
    quality = POLICY.score(context(), arms, TradeOff(quality_per_usd=0.0)).predictions.quality
    assert quality[1] > quality[0] + 0.05


def test_a_stranger_without_a_price_is_doubted_and_stands_where_no_price_tells() -> None:
    stranger = ArmFacts(Arm("new", "instant"), price=None)
    quality, sd = POLICY.quality_of_strangers(POLICY.nothing_known(), context(np.zeros(0, np.float32)), [stranger])
    # The example's prior is 0 log odds with a doubt of half a logit: 0.5 ± 0.5 · 0.25.
    assert (quality[0], sd[0]) == (pytest.approx(0.5), pytest.approx(0.125))


def test_far_from_the_training_queries_a_stranger_stands_where_its_descriptor_alone_puts_it() -> None:
    far = context(np.full(8, 50.0, np.float32))
    expected = POLICY.expect(far.embedding[None, :], far.features[None, :])
    quality, _ = POLICY.quality_of_strangers(expected, far, [priced(0.99)])
    assert quality[0] == pytest.approx(0.5, abs=1e-6)  # log(0.99 + 0.01) = 0


def test_towers_are_found_behind_a_roster() -> None:
    model = POLICY.towers
    tensors = {"roster.columns": np.array([2, NEWCOMER, 0]), "roster.offset": np.array([0.0, 0.7, 0.0])}
    joined = enrolled(model, tensors | {"roster.offset_sd": np.zeros(3)})
    levels = type(POLICY.levels)(np.full(3, 0.6), np.full(3, 0.5), np.full(3, 0.4))
    names = [arm.name for arm in TRAINED]
    policy = TwoTowerPolicy(joined, POLICY.tokens, POLICY.guard, levels, arms=names, encoder_id="example")
    assert policy.towers is model
    assert policy.score(context(), (priced(1.0), *TRAINED), TradeOff(quality_per_usd=0.0)).dist.sum() == pytest.approx(
        1.0
    )


def test_a_newcomer_is_the_shared_difficulty_and_its_offset() -> None:
    base = FactorModel.example(n_arms=2, dim=8)
    lexical = lexical_features("why?")[None, :]
    roster = Roster(base, np.array([1, NEWCOMER]), np.array([0.0, 0.7]), np.zeros(2))
    trained, quality = base.quality(VECTOR[None, :], lexical), roster.quality(VECTOR[None, :], lexical)
    assert quality[0, 0] == trained[0, 1]
    assert quality[0, 1] == pytest.approx(sigmoid(np.log(trained / (1 - trained)).mean() + np.array(0.7)))
    assert shared_log_odds(np.array([[0.5, 0.5]])).tolist() == [0.0]


def test_a_roster_of_columns_that_are_not_there_is_refused() -> None:
    tensors = {"roster.columns": np.array([0, 5]), "roster.offset": np.zeros(2), "roster.offset_sd": np.zeros(2)}
    with pytest.raises(ValueError, match="outside the model's 2"):
        enrolled(FactorModel.example(n_arms=2, dim=8), tensors)


@pytest.mark.parametrize("kind", [FactorModel, ResponseModel, NetModel, TwoTowerModel])
def test_arrays_that_do_not_belong_together_are_named(kind: type[FactorModel]) -> None:
    tensors = kind.example(n_arms=3, dim=8).tensors()
    name = next(name for name, values in tensors.items() if "basis" not in name and values.ndim == 2 and values.size)
    with pytest.raises(ValueError, match="has shape"):
        kind.from_tensors(tensors | {name: tensors[name][:-1]})


def test_the_formulas_are_those_of_their_names() -> None:
    z = np.zeros((1, ZERO.n_outputs))
    z[0, :4] = VECTOR[:4]
    lexical = np.zeros((1, ZERO.lexical_mean.size), np.float32)
    irt = ResponseModel.example(n_arms=2, dim=8)
    logits = irt.ability @ np.concatenate([[1.0], (z @ irt.demand)[0]]) - float((z @ irt.difficulty)[0])
    assert irt.quality(VECTOR[None, :], lexical)[0] == pytest.approx(0.1 + 0.9 / (1 + np.exp(-logits)))
    net = NetModel.example(n_arms=2, dim=8)
    hidden = np.maximum(z @ net.hidden, 0.0)
    assert net.quality(VECTOR[None, :], lexical)[0] == pytest.approx(1 / (1 + np.exp(-(hidden @ net.out)[0])))
