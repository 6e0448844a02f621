"""Arms join and leave; what was learned of the rest stays the same to the bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policies.arms import Arm
from policies.artifact import Artifact, load_artifact, save_artifact
from policies.descriptors import ArmDescriptor
from policies.errors import PolicyError, PolicyMismatch
from policies.prices import Price
from policies.registry import policy_type
from policies.tables import OutcomeTable
from policies.zoo.default import DefaultPolicy
from policies.zoo.predictive import PredictivePolicy
from policies.zoo.sigmoid import log_odds
from training.anchors.estimate import Standing
from training.arms import Newcomer, Population, adopt, retire, standing_by_descriptor
from training.inputs import Inputs, make_inputs
from training.zoo.fit import fit_policy
from training.zoo.save import artifact_of
from training.zoo.task import FitTask

NEW = Newcomer(Arm("new", "instant"), Price(10**9, 10**9), Standing(float(log_odds(0.7)), 0.2), output_tokens=150.0)
KINDS = ("default", "global_means", "knn", "mf", "irt", "mlp", "two_tower")


def fitted(world: OutcomeTable, encoder: Any, kind: str = "mf") -> tuple[Artifact, Inputs]:
    inputs = make_inputs(world, encoder.encode(world.prompts))
    task = FitTask(inputs, world.arms, world.prices, encoder_id=encoder.encoder_id)
    policy, facts = fit_policy(kind, task)
    return artifact_of(policy, task, facts=facts), inputs


def serve(artifact: Artifact) -> PredictivePolicy:
    policy = policy_type(artifact.policy).from_artifact(artifact)  # type: ignore[attr-defined]
    assert isinstance(policy, PredictivePolicy)
    return policy


@pytest.mark.parametrize("kind", KINDS)
def test_a_newcomer_leaves_every_prediction_of_the_others_as_it_was(
    kind: str, world: OutcomeTable, encoder: Any
) -> None:
    artifact, inputs = fitted(world, encoder, kind)
    before = serve(artifact).expect(inputs.embeddings, inputs.lexical)
    after = serve(adopt(artifact, NEW)).expect(inputs.embeddings, inputs.lexical)
    assert (after.quality[:, :2] == before.quality).all()
    assert after.usd[:, :2] == pytest.approx(before.usd, rel=1e-12)
    gone = serve(retire(adopt(artifact, NEW), "dear/instant"))
    assert gone.arm_names == ("cheap/instant", "new/instant")
    assert (gone.expect(inputs.embeddings, inputs.lexical).quality == after.quality[:, [0, 2]]).all()


def test_what_was_learned_of_the_rest_is_kept_to_the_bit(world: OutcomeTable, encoder: Any) -> None:
    artifact, _ = fitted(world, encoder)
    joined = adopt(artifact, NEW)
    for name, values in artifact.tensors.items():
        if name.startswith(("mf.", "guard.", "tokens.basis")):
            assert joined.tensors[name].tobytes() == values.tobytes()
    assert joined.tensors["levels.means"][:2].tobytes() == artifact.tensors["levels.means"].tobytes()
    weights = artifact.tensors["tokens.weights"]
    assert (joined.tensors["tokens.weights"][:, [0, 1, 3, 4]] == weights).all()
    back = retire(joined, "new/instant")
    assert all(back.tensors[name].tobytes() == values.tobytes() for name, values in artifact.tensors.items())


def test_the_mean_prediction_of_a_newcomer_is_its_standing(world: OutcomeTable, encoder: Any) -> None:
    artifact, inputs = fitted(world, encoder)
    n = len(inputs)
    everyone = Population(inputs.embeddings, inputs.lexical, np.full(n, 1 / n))
    policy = serve(adopt(artifact, NEW, population=everyone))
    quality = policy.model.quality(inputs.embeddings, inputs.lexical)
    assert quality[:, 2].mean() == pytest.approx(0.7, abs=1e-6)
    easy = np.array(world.domains) == "easy"
    assert quality[easy, 2].mean() > quality[~easy, 2].mean() + 0.1  # it shares the difficulty


def test_online_offsets_begin_with_a_newcomers_doubt(world: OutcomeTable, encoder: Any) -> None:
    artifact, _ = fitted(world, encoder, "default")
    standing = Standing(float(log_odds(0.5)), 0.4)
    offsets = DefaultPolicy.from_artifact(adopt(artifact, Newcomer(NEW.arm, NEW.price, standing))).offsets
    assert offsets.doubt_sd[-1] == pytest.approx(0.4 * 0.25)  # a log odds' deviation × p(1 − p)
    assert (offsets.doubt_sd[:-1] == 0).all()
    assert offsets.arm_sd[0, -1] == pytest.approx(offsets.arm_sd[0, :-1].mean())


def test_its_tokens_and_price_are_expected(world: OutcomeTable, encoder: Any) -> None:
    artifact, inputs = fitted(world, encoder)
    expected = serve(adopt(artifact, NEW)).expect(inputs.embeddings, inputs.lexical)
    assert expected.output_tokens[:, 2].mean() == pytest.approx(150.0, rel=0.02)
    assert expected.usd[:, 2].mean() == pytest.approx((300 + 150) * 1e-6, rel=0.02)


def test_an_adopted_arm_is_saved_loaded_and_judged_anew(tmp_path: Path, world: OutcomeTable, encoder: Any) -> None:
    artifact, _ = fitted(world, encoder)
    folder = save_artifact(adopt(artifact, NEW), tmp_path / "a", encoder=encoder)
    loaded = load_artifact(folder, encoder=encoder)
    surer = Newcomer(NEW.arm, NEW.price, Standing(float(log_odds(0.5)), 0.05))
    again = serve(adopt(loaded, surer))
    assert again.arm_names == ("cheap/instant", "dear/instant", "new/instant")
    assert again.levels.means[2] == pytest.approx(0.5)
    assert [entry["name"] for entry in loaded.arms] == ["cheap/instant", "dear/instant", "new/instant"]


def test_a_descriptor_says_little_of_a_third_arm_and_says_so(world: OutcomeTable, encoder: Any) -> None:
    artifact, _ = fitted(world, encoder)
    standing = standing_by_descriptor(artifact, ArmDescriptor("new", "instant", usd_per_mtok_in=1.0))
    assert standing.sd >= 1.0
    low, high = standing.interval
    assert low < 0.5 < 0.9 < high


def test_the_towers_judge_a_newcomer_themselves(world: OutcomeTable, encoder: Any) -> None:
    artifact, _ = fitted(world, encoder, "two_tower")
    standing = standing_by_descriptor(adopt(artifact, NEW), ArmDescriptor("other", "instant"))
    assert standing.sd == pytest.approx(float(artifact.tensors["two_tower.strength_prior"][1]))


def test_two_pieces_of_evidence_join_by_their_precision() -> None:
    joined = Standing(0.0, 1.0).joined(Standing(3.0, 0.5))
    assert joined.log_odds == pytest.approx((0.0 * 1 + 3.0 * 4) / 5)
    assert joined.sd == pytest.approx(5**-0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda artifact: retire(artifact, "nobody/instant"), r"no arm 'nobody/instant'; it has cheap/instant"),
        (lambda artifact: retire(retire(artifact, "dear/instant"), "cheap/instant"), "only arm"),
        (lambda artifact: adopt(artifact, Newcomer(Arm("cheap", "instant"), None, NEW.standing)), "was fitted on"),
    ],
)
def test_what_cannot_be_is_refused(change: Any, message: str, world: OutcomeTable, encoder: Any) -> None:
    artifact, _ = fitted(world, encoder)
    with pytest.raises(PolicyError, match=message):
        change(artifact)


def test_a_policy_without_a_roster_is_refused() -> None:
    declared = Artifact(policy="linear", arms=(), encoder_id="e", features_id="f", tensors={})
    with pytest.raises(PolicyError, match=r"join or leave a 'linear' policy; train it again"):
        retire(declared, "a/instant")


def test_another_encoder_is_refused(tmp_path: Path, world: OutcomeTable, encoder: Any) -> None:
    artifact, _ = fitted(world, encoder)
    folder = save_artifact(adopt(artifact, NEW), tmp_path / "a", encoder=encoder)
    other = type(encoder)()
    other.encoder_id = "hash-2"
    with pytest.raises(PolicyMismatch, match="hash-2"):
        load_artifact(folder, encoder=other)
