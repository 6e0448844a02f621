"""What every policy that is built on ``PredictivePolicy`` promises beyond the conformance test."""

from dataclasses import replace

import numpy as np
import pytest

from policies.arms import Arm
from policies.artifact import Artifact
from policies.context import Context
from policies.errors import ArtifactError, PolicyError
from policies.features import FEATURE_NAMES
from policies.policy import ArmFacts
from policies.prices import Price
from policies.registry import policy_type, registered_policies
from policies.settings import DeclaredPolicy
from policies.tradeoff import TradeOff
from policies.zoo.predictive import UNKNOWN_SD, PredictivePolicy

ARMS = tuple(ArmFacts(Arm(f"m{i}", "instant"), price=Price(10**9, 10**9)) for i in range(4))  # the last is not trained
NAMES = [arm.name for arm in ARMS[:3]]
TRADE_OFF = TradeOff(quality_per_usd=10.0)
OWN_STRANGERS = ("two_tower",)  # judges an arm it never saw by its descriptor


def zoo() -> list[str]:
    return [name for name in registered_policies() if issubclass(policy_type(name), PredictivePolicy)]  # type: ignore[arg-type]


@pytest.fixture(params=zoo())
def policy(request: pytest.FixtureRequest) -> PredictivePolicy:
    made = policy_type(request.param).example(ARMS)
    assert isinstance(made, PredictivePolicy)
    return made


def queries(n: int, *, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(scale=0.4, size=(n, 8)).astype(np.float32)
    return embeddings, rng.normal(scale=2.0, size=(n, len(FEATURE_NAMES))).astype(np.float32)


def context(embedding: np.ndarray, lexical: np.ndarray, **fields: int) -> Context:
    return Context(embedding, lexical, prompt_tokens=100, **fields)


def again(policy: PredictivePolicy, **changed: np.ndarray) -> PredictivePolicy:
    tensors = policy.to_tensors() | {name.replace("__", "."): values for name, values in changed.items()}
    return type(policy).from_tensors(tensors, arms=NAMES, encoder_id="example")


def test_what_is_loaded_predicts_the_same_bits_as_what_was_saved(policy: PredictivePolicy) -> None:
    once = again(policy)  # rounds to the artifact's precision
    twice = again(once)
    first, second = (each.expect(*queries(20)) for each in (once, twice))
    for part in ("quality", "quality_sd", "output_tokens", "usd", "far"):
        assert (getattr(first, part) == getattr(second, part)).all()


def test_one_query_is_predicted_as_it_is_in_a_batch(policy: PredictivePolicy) -> None:
    embeddings, lexical = queries(40)
    batch = policy.expect(embeddings, lexical)
    for row in range(40):
        scores = policy.score(context(embeddings[row], lexical[row]), ARMS[:3], TRADE_OFF)
        assert scores.predictions.quality == pytest.approx(batch.quality[row], abs=1e-6)
        assert scores.predictions.usd == pytest.approx((100 + batch.output_tokens[row]) * 1e-6, rel=1e-6)
        assert scores.predictions.far == batch.far[row]


def test_qualities_are_probabilities(policy: PredictivePolicy) -> None:
    expected = policy.expect(*queries(200))
    assert ((expected.quality >= 0) & (expected.quality <= 1)).all()
    assert (expected.quality_sd > 0).all()
    assert (expected.output_tokens > 0).all()


def test_a_batch_of_none_is_none(policy: PredictivePolicy) -> None:
    embeddings, lexical = queries(1)
    assert policy.expect(embeddings[:0], lexical[:0]).quality.shape == (0, 3)


def test_far_from_training_everything_is_the_mean(policy: PredictivePolicy) -> None:
    _, lexical = queries(1)
    predictions = policy.score(context(np.full(8, 50.0, np.float32), lexical[0]), ARMS[:3], TRADE_OFF).predictions
    assert predictions.far
    assert predictions.quality == pytest.approx(np.full(3, 0.6))
    assert predictions.quality_sd == pytest.approx(np.full(3, 0.5))
    assert predictions.usd == pytest.approx(np.full(3, (100 + np.exp(5.0)) * 1e-6), rel=1e-6)


def test_without_a_guard_nothing_is_far(policy: PredictivePolicy) -> None:
    tensors = {name: values for name, values in policy.to_tensors().items() if not name.startswith("guard.")}
    bare = type(policy).from_tensors(tensors, arms=NAMES, encoder_id="example")
    embeddings, lexical = queries(5)
    expected = bare.expect(100 * embeddings, lexical)
    assert not expected.far.any()
    assert expected.quality == pytest.approx(bare.model.quality(100 * embeddings, lexical))


def test_an_arm_that_was_not_trained_gets_the_mean_of_the_others_and_wide_doubt(policy: PredictivePolicy) -> None:
    if policy.name in OWN_STRANGERS:
        return
    embeddings, lexical = queries(1)
    predictions = policy.score(context(embeddings[0], lexical[0]), ARMS, TRADE_OFF).predictions
    assert predictions.quality[3] == pytest.approx(predictions.quality[:3].mean())
    assert predictions.quality_sd[3] == UNKNOWN_SD
    assert predictions.usd[3] == pytest.approx((100 + ARMS[3].output_tokens) * 1e-6)


def test_an_arm_that_is_gone_changes_nothing_for_the_rest(policy: PredictivePolicy) -> None:
    embeddings, lexical = queries(1)
    asked = context(embeddings[0], lexical[0])
    whole, rest = (policy.score(asked, arms, TRADE_OFF).predictions for arms in (ARMS[:3], ARMS[1:3]))
    assert (rest.quality == whole.quality[1:]).all()
    assert (rest.usd == whole.usd[1:]).all()


def test_a_new_price_changes_the_cost_and_nothing_else(policy: PredictivePolicy) -> None:
    embeddings, lexical = queries(1)
    dearer = [replace(arm, price=Price(2 * 10**9, 2 * 10**9)) for arm in ARMS[:3]]
    asked = context(embeddings[0], lexical[0])
    old, new = (policy.score(asked, arms, TRADE_OFF).predictions for arms in (ARMS[:3], dearer))
    assert new.usd == pytest.approx(2 * old.usd)
    assert (new.quality == old.quality).all()


def test_an_arm_without_a_price_costs_what_it_was_billed_in_training(policy: PredictivePolicy) -> None:
    embeddings, lexical = queries(1)
    free = [replace(arm, price=None) for arm in ARMS]
    predictions = policy.score(context(embeddings[0], lexical[0]), free, TRADE_OFF).predictions
    assert predictions.usd[:3] == pytest.approx(policy.expect(embeddings, lexical).usd[0])
    assert np.isnan(predictions.usd[3])


def test_a_time_that_was_learned_goes_before_the_declared_one(policy: PredictivePolicy) -> None:
    latency = np.array([[1.0, 0.1], [np.nan, np.nan], [0.0, 0.2]], np.float32)
    timed = again(policy, tokens__latency=latency)
    embeddings, lexical = queries(1)
    tokens = timed.expect(embeddings, lexical).output_tokens[0]
    learned = timed.score(context(embeddings[0], lexical[0]), ARMS[:3], TRADE_OFF).predictions.seconds
    assert learned == pytest.approx([1 + 0.1 * tokens[0], 0.5 + tokens[1] / 50, 0.2 * tokens[2]], rel=1e-6)


def test_a_client_bound_caps_tokens_cost_and_time(policy: PredictivePolicy) -> None:
    embeddings, lexical = queries(1)
    bound = policy.score(context(embeddings[0], lexical[0], max_tokens=5), ARMS, TRADE_OFF).predictions
    assert bound.usd == pytest.approx(np.full(4, 105e-6))
    assert bound.seconds == pytest.approx(np.full(4, 0.5 + 5 / 50))


def test_an_embedding_of_another_length_is_refused(policy: PredictivePolicy) -> None:
    _, lexical = queries(1)
    with pytest.raises(ValueError, match="5 numbers"):
        policy.score(context(np.zeros(5, np.float32), lexical[0]), ARMS, TRADE_OFF)


def test_a_missing_tensor_is_told_with_its_policy(policy: PredictivePolicy) -> None:
    for name in policy.to_tensors():
        if name.startswith(("guard.", "two_tower.")) and name != "guard.centre":
            continue  # the first is optional as a whole, the second is its owner's
        tensors = {other: values for other, values in policy.to_tensors().items() if other != name}
        with pytest.raises(ArtifactError, match=f"{policy.name} policy.*train it again"):
            type(policy).from_tensors(tensors, arms=NAMES, encoder_id="example")


def test_a_tensor_of_another_shape_is_refused(policy: PredictivePolicy) -> None:
    for name, values in policy.to_tensors().items():
        if name.startswith("two_tower."):
            continue  # its owner's
        with pytest.raises(ArtifactError, match="train it again"):
            again(policy, **{name.replace(".", "__"): values[None]})


def test_a_number_that_is_not_finite_is_refused(policy: PredictivePolicy) -> None:
    means = np.array([0.5, np.nan, 0.5], np.float32)
    with pytest.raises(ArtifactError, match=r"levels\.means.*not finite"):
        again(policy, levels__means=means)


def test_an_artifact_of_another_policy_is_refused(policy: PredictivePolicy) -> None:
    artifact = Artifact("uniform", tuple({"name": name} for name in NAMES), "example", "", policy.to_tensors())
    with pytest.raises(ArtifactError, match="'uniform'"):
        type(policy).from_artifact(artifact)


def test_weights_of_more_arms_than_the_artifact_names_are_refused(policy: PredictivePolicy) -> None:
    with pytest.raises(ArtifactError, match="do not fit 2 arms"):
        type(policy).from_tensors(policy.to_tensors(), arms=NAMES[:2], encoder_id="example")


def test_without_an_artifact_the_command_that_writes_one_is_named(policy: PredictivePolicy) -> None:
    with pytest.raises(PolicyError, match=f"gearshift train {policy.name}"):
        type(policy).build(DeclaredPolicy(name=policy.name), ARMS, None)
