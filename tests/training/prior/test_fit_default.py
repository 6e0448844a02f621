"""The default policy: what its teacher knows survives distillation, saving and serving one query at a time."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policies.artifact import load_artifact, save_artifact
from policies.errors import ArtifactError
from policies.policy import ArmFacts
from policies.tables import OutcomeTable
from policies.tradeoff import TradeOff
from policies.zoo.default import DefaultPolicy
from training.contender import Sample
from training.inputs import Inputs, make_inputs
from training.offline import contexts_of
from training.prior.contender import default, reloaded
from training.prior.distil import between_cells_sd
from training.prior.fit import DefaultFit, fit_default
from training.prior.folds import content_folds
from training.prior.spending import fit_spending
from training.prior.teacher import contrast_weights
from training.zoo.contenders import task_of
from training.zoo.save import artifact_of

MEMBERS = ("knn", "logistic")


@pytest.fixture
def sample(world: OutcomeTable, encoder: Any) -> Sample:
    return Sample(world, make_inputs(world, encoder.encode(world.prompts)))


@pytest.fixture(scope="module")
def fits() -> dict[str, DefaultFit]:
    """The fit on the whole world, once it was made; it is only read."""
    return {}


def whole(fits: dict[str, DefaultFit], sample: Sample, encoder: Any) -> DefaultFit:
    if "whole" not in fits:
        fits["whole"] = fitted(sample, encoder)
    return fits["whole"]


def fitted(sample: Sample, encoder: Any, *, seed: int = 0) -> DefaultFit:
    return fit_default(task_of(sample, encoder_id=encoder.encoder_id, seed=seed), members=MEMBERS)


def test_the_student_expects_what_its_teacher_expects(sample: Sample, encoder: Any) -> None:
    half = np.arange(len(sample)) < len(sample) // 2
    fit, unseen = fitted(sample.rows(half), encoder), sample.rows(~half).inputs
    taught, told = fit.policy.expect(unseen.embeddings, unseen.lexical).quality, fit.teacher.predict(unseen).quality
    assert np.corrcoef(taught[:, 0], told[:, 0])[0, 1] > 0.9


def test_a_saved_default_decides_one_query_as_a_batch_does(
    fits: dict[str, DefaultFit], sample: Sample, encoder: Any, tmp_path: Path
) -> None:
    task = task_of(sample, encoder_id=encoder.encoder_id, seed=0)
    fit = whole(fits, sample, encoder)
    save_artifact(artifact_of(fit.policy, task, facts=fit.facts), tmp_path / "art", encoder=encoder)
    served = DefaultPolicy.from_artifact(load_artifact(tmp_path / "art", encoder=encoder))
    batch = reloaded(artifact_of(fit.policy, task, facts=fit.facts)).expect(
        sample.inputs.embeddings, sample.inputs.lexical
    )
    arms = [ArmFacts(arm, price) for arm, price in zip(sample.table.arms, sample.table.prices, strict=True)]
    for row, context in enumerate(contexts_of(sample.table, sample.inputs.embeddings)[:100]):
        predictions = served.score(context, arms, TradeOff(1.0)).predictions
        assert predictions.quality == pytest.approx(batch.quality[row], abs=5e-6)
        assert predictions.quality_sd == pytest.approx(batch.quality_sd[row], abs=5e-6)
        assert predictions.far == batch.far[row]


def test_offsets_that_were_learned_move_the_predictions(
    fits: dict[str, DefaultFit], sample: Sample, encoder: Any
) -> None:
    policy = whole(fits, sample, encoder).policy
    tensors = policy.to_tensors()
    tensors["offsets.sums"] = tensors["offsets.sums"] - 50.0
    tensors["offsets.counts"] = tensors["offsets.counts"] + 500.0
    moved = DefaultPolicy.from_tensors(tensors, arms=sample.table.arm_names, encoder_id=encoder.encoder_id)
    before, after = (each.expect(sample.inputs.embeddings, sample.inputs.lexical) for each in (policy, moved))
    assert (after.quality < before.quality).mean() > 0.9
    assert (after.quality_sd < before.quality_sd).all()


@pytest.mark.parametrize("missing", ["distilled.weights", "distilled.basis.landmarks", "offsets.cells"])
def test_a_default_artifact_that_lacks_a_part_is_refused(
    fits: dict[str, DefaultFit], sample: Sample, encoder: Any, missing: str
) -> None:
    tensors = whole(fits, sample, encoder).policy.to_tensors()
    del tensors[missing]
    with pytest.raises(ArtifactError, match="train it again"):
        DefaultPolicy.from_tensors(tensors, arms=sample.table.arm_names, encoder_id=encoder.encoder_id)


def test_far_from_everything_seen_the_means_remain(fits: dict[str, DefaultFit], sample: Sample, encoder: Any) -> None:
    policy = whole(fits, sample, encoder).policy
    stranger = np.zeros((1, encoder.dim), np.float32)
    stranger[0, 0] = -40.0
    expected = policy.expect(stranger, sample.inputs.lexical[:1])
    assert expected.far.all()
    assert expected.quality[0] == pytest.approx(sample.table.scores.mean(axis=0), abs=1e-6)


def test_what_was_held_out_commits_a_trade_off_without_a_second_fit(sample: Sample) -> None:
    few = sample.rows(np.arange(len(sample)) < 150)
    family = default(encoder_id="hash-1").fit_family(few, seed=0)
    held_out = family["default"].held_out
    assert held_out is not None
    missed = ((held_out.quality - few.table.scores) ** 2).mean()
    assert missed < ((few.table.scores - few.table.scores.mean(axis=0)) ** 2).mean()


def test_where_only_costs_were_recorded_they_are_learned(sample: Sample, encoder: Any) -> None:
    bare = Sample(replace(sample.table, prices=(None, None)), sample.inputs)
    fit = fitted(bare, encoder)
    assert fit.teacher.usd is not None
    usd = fit.policy.expect(sample.inputs.embeddings, sample.inputs.lexical).usd
    assert usd == pytest.approx(sample.table.usd, rel=1e-2)  # every request of this world costs the same


def test_equal_texts_never_part(sample: Sample) -> None:
    twice = Inputs(
        **{
            part: np.concatenate([getattr(sample.inputs, part)] * 2)
            for part in Inputs.__slots__
            if part != "input_ratio"
        },
        input_ratio=sample.inputs.input_ratio,
    )
    folds, n = content_folds(twice, 5, seed=1), len(sample)
    assert (folds[:n] == folds[n:]).all()
    assert set(folds) == set(range(5))


def test_spending_that_follows_the_query_is_found_and_noise_is_not(sample: Sample) -> None:
    easy, rng = np.array(sample.table.domains) == "easy", np.random.default_rng(5)
    tokens = np.column_stack([np.where(easy, 50.0, 200.0), 100.0 * rng.uniform(0.5, 1.5, len(easy))])
    held_out = fit_spending(sample.inputs, tokens).held_out
    assert np.abs(held_out[:, 0] - tokens[:, 0]).mean() < 20.0
    assert held_out[:, 1].std() < 5.0  # of 29 that are noise


def test_offsets_expect_the_spread_between_cells_and_no_more() -> None:
    rng = np.random.default_rng(6)
    cell = np.repeat(np.arange(20), 400)
    spread = rng.normal(scale=0.1, size=20)
    residual = np.column_stack([spread[cell], np.zeros(8_000)]) + rng.normal(scale=0.4, size=(8_000, 2))
    found = between_cells_sd(cell.astype(np.int32), residual, np.full(2, 0.4))
    assert found[0] == pytest.approx(spread.std(), abs=0.03)
    assert found[1] < 0.02


def test_members_are_weighed_by_what_sets_arms_apart() -> None:
    rng, n = np.random.default_rng(8), 4_000
    contrast, level = rng.normal(scale=0.2, size=n), rng.normal(scale=0.3, size=n)
    scores = np.column_stack([level + contrast, level - contrast])
    knows_level, knows_contrast = np.column_stack([level, level]), np.column_stack([contrast, -contrast])
    weights = contrast_weights(np.stack([knows_level, knows_contrast]), scores)
    assert weights == pytest.approx([0.5 * 500 / 4_500, 1.0 - 0.5 * 500 / 4_500])
