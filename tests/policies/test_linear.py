from dataclasses import replace

import numpy as np
import pytest

from policies.arms import Arm
from policies.context import Context
from policies.features import FEATURE_NAMES
from policies.policy import ArmFacts
from policies.prices import Price
from policies.tradeoff import TradeOff
from policies.zoo.linear import UNKNOWN_SD, LinearPolicy
from policies.zoo.ridge import expect_one

ARMS = tuple(ArmFacts(Arm(f"m{i}", "instant"), price=Price(10**9, 10**9)) for i in range(3))  # the last is not trained
POLICY = LinearPolicy.example(ARMS)
TRADE_OFF = TradeOff(quality_per_usd=10.0)
FEATURES = np.zeros(len(FEATURE_NAMES), np.float32)


def context(*start: float, **fields: int) -> Context:
    embedding = np.zeros(8, np.float32)
    embedding[: len(start)] = start
    return Context(embedding, FEATURES, prompt_tokens=100, **fields)


def test_a_prediction_is_the_mean_plus_features_times_weights() -> None:
    feature_map, ridge, x = POLICY._map, POLICY._ridge, np.array([0.3, -0.2])
    kernel = np.exp(-((x - feature_map.landmarks) ** 2).sum(axis=1))
    distance = np.sqrt(((x - feature_map.landmarks) ** 2).sum(axis=1).min())
    kept = np.exp(-((max(distance - 0.5, 0) / 1.5) ** 2))
    exact = 0.6 + kept * (kernel @ ridge.weights[:4, 0])
    predictions = POLICY.score(context(*x), ARMS, TRADE_OFF).predictions
    assert predictions.quality[0] == pytest.approx(exact, abs=1e-5)


def test_far_from_training_everything_is_the_mean_and_the_doubt_is_full() -> None:
    predictions = POLICY.score(context(0.0, 0.0, 50.0), ARMS, TRADE_OFF).predictions
    assert predictions.far
    assert predictions.quality[:2] == pytest.approx([0.6, 0.6])
    assert predictions.quality_sd[:2] == pytest.approx([0.5, 0.5])
    assert not POLICY.score(context(*POLICY._map.landmarks[0]), ARMS, TRADE_OFF).predictions.far


def test_an_untrained_arm_gets_the_mean_of_the_others_and_wide_doubt() -> None:
    predictions = POLICY.score(context(0.3), ARMS, TRADE_OFF).predictions
    assert predictions.quality[2] == pytest.approx(predictions.quality[:2].mean())
    assert predictions.quality_sd[2] == UNKNOWN_SD


def test_a_new_price_changes_the_cost_and_nothing_else() -> None:
    dearer = [replace(arm, price=Price(2 * 10**9, 2 * 10**9)) for arm in ARMS]
    old, new = (POLICY.score(context(0.3), arms, TRADE_OFF).predictions for arms in (ARMS, dearer))
    assert new.usd == pytest.approx(2 * old.usd)
    assert (new.quality == old.quality).all()


def test_a_client_bound_caps_the_predicted_answer() -> None:
    free, bound = (
        POLICY.score(each, ARMS, TRADE_OFF).predictions for each in (context(0.3), context(0.3, max_tokens=5))
    )
    assert bound.usd == pytest.approx(np.full(3, 105e-6), rel=1e-6)
    assert (bound.usd < free.usd).all()


def test_without_an_embedding_the_means_answer() -> None:
    blind = Context(np.zeros(0, np.float32), FEATURES, prompt_tokens=100)
    predictions = POLICY.score(blind, ARMS, TRADE_OFF).predictions
    assert predictions.far
    assert predictions.quality[:2] == pytest.approx([0.6, 0.6])


def test_an_embedding_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="5 numbers"):
        POLICY.score(Context(np.zeros(5, np.float32), FEATURES, prompt_tokens=1), ARMS, TRADE_OFF)


def test_the_reason_names_arm_quality_and_cost() -> None:
    scores = POLICY.score(context(0.0, 0.0, 50.0), ARMS[:1], TRADE_OFF)
    assert scores.reason.startswith("m0/instant has the highest utility: quality 0.60 ± 0.50 for 0.000248 USD")
    assert scores.reason.endswith("unlike the training queries")


@pytest.mark.parametrize("spread", [0.3, 1.0, 30.0])  # familiar, between, and far
def test_one_query_is_predicted_as_it_is_in_a_batch(spread: float) -> None:
    rng = np.random.default_rng(1)
    embeddings = rng.normal(scale=spread, size=(20, 8)).astype(np.float32)
    lexical = rng.normal(scale=4.0, size=(20, len(FEATURE_NAMES))).astype(np.float32)
    batch = POLICY.expect(embeddings, lexical)
    for row in range(20):
        one = expect_one(POLICY._map, POLICY._ridge, embeddings[row], lexical[row])
        assert one.quality == pytest.approx(batch.quality[row], abs=1e-5)
        assert one.quality_sd == pytest.approx(batch.quality_sd[row], rel=1e-4)
        assert one.output_tokens == pytest.approx(batch.output_tokens[row], rel=1e-4)
        assert one.far == batch.far[row]


def test_what_was_asked_before_changes_no_answer() -> None:
    fresh, used = LinearPolicy.example(ARMS), LinearPolicy.example(ARMS)
    for price in range(200):  # more sets of arms than are remembered, equal but for a price
        arms = tuple(replace(arm, price=Price(price, price)) for arm in ARMS)
        used.score(context(0.3), arms, TRADE_OFF)
    for arms in (ARMS, ARMS[::-1], ARMS[1:]):
        asked, first = used.score(context(0.3), arms, TRADE_OFF), fresh.score(context(0.3), arms, TRADE_OFF)
        assert (asked.predictions.usd == first.predictions.usd).all()
        assert (asked.dist == first.dist).all()


def test_strangers_alone_are_expected_to_be_like_the_trained_arms() -> None:
    trained = POLICY.score(context(0.3), ARMS[:2], TRADE_OFF).predictions
    stranger = POLICY.score(context(0.3), ARMS[2:], TRADE_OFF).predictions
    assert stranger.quality == pytest.approx([trained.quality.mean()])
    assert stranger.usd == pytest.approx([(100 + ARMS[2].output_tokens) * 1e-6])
