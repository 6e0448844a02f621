"""Numbers of the fits against a truth that is known: closed forms, identities and simulated worlds."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from policies.tables import OutcomeTable
from training.inputs import Inputs, make_inputs
from training.zoo.blend import fit_members, mixture_weights
from training.zoo.cluster import shrunk_means
from training.zoo.gbdt import boost, flatten, start_of
from training.zoo.guard import fit_guard
from training.zoo.logistic import Penalties, Rotated
from training.zoo.task import FitTask, Learned, folds_of
from training.zoo.tokens import fit_tokens


@pytest.fixture
def inputs(world: OutcomeTable, encoder: Any) -> Inputs:
    return make_inputs(world, encoder.encode(world.prompts))


def test_the_forest_in_numpy_is_lightgbms_own() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(800, 12))
    chance = 1 / (1 + np.exp(-features[:, :1] * 2 + features[:, 1:2] * features[:, 2:3]))
    scores = np.hstack([rng.random((800, 1)) < chance, chance])  # hard labels, and soft ones
    level, starts = scores.mean(axis=1, keepdims=True), np.zeros(2)
    own = boost(features[:500], scores[:500], starts, n_trees=30, seed=0)
    common = boost(features[:500], level[:500], np.zeros(1), n_trees=9, seed=0)
    ours = flatten(own, common=common).sums(features, n_arms=2)
    shared = common[0].predict(features, raw_score=True)
    theirs = np.column_stack([booster.predict(features, raw_score=True) + shared for booster in own])
    assert ours == pytest.approx(theirs, abs=1e-6)
    assert np.abs(ours).max() > 0.5  # they did learn something


def test_boosting_starts_from_the_arms_own_log_odds() -> None:
    scores = np.column_stack([np.repeat([0.0, 1.0], 50), np.repeat([0.0, 1.0], [20, 80])])
    assert start_of(scores) == pytest.approx([0.0, np.log(4.0)])


def test_at_the_logistic_optimum_the_gradient_is_nil() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(300, 5)), (rng.random((300, 3)) < 0.6).astype(np.float64)
    found, _ = Rotated(x, y).fit(Penalties(shared=2.0, contrast=7.0))
    missed = found(x) - y
    shared = found.weights.mean(axis=1, keepdims=True)
    gradient = (x - x.mean(axis=0)).T @ missed + 2.0 * shared + 7.0 * (found.weights - shared)
    assert np.abs(gradient).max() < 0.05  # at zero weights it is about 20
    assert np.abs(missed.mean(axis=0)).max() < 1e-3


def test_with_equal_penalties_an_arm_does_not_care_for_the_others() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(200, 4)), (rng.random((200, 2)) < 0.5).astype(np.float64)
    both, alone = (Rotated(x, scores).fit(Penalties(5.0, 5.0))[0] for scores in (y, y[:, :1]))
    assert both.weights[:, 0] == pytest.approx(alone.weights[:, 0], abs=1e-3)


def test_a_cell_is_pulled_to_the_mean_by_what_its_rows_can_tell() -> None:
    # Within a cell the variance is 1/4, between cells it is 1/16: 4 rows weigh 4 / (4 + 4).
    cells = np.repeat(np.arange(4_000), 4)
    rng = np.random.default_rng(3)
    level = rng.choice([0.25, 0.75], 4_000)
    scores = (level[cells] + rng.choice([-0.5, 0.5], len(cells)))[:, None]
    means, raw = shrunk_means(scores, cells, 4_000), scores.reshape(4_000, 4).mean(axis=1)
    kept = (means[:, 0] - scores.mean()) / (raw - scores.mean())
    assert kept == pytest.approx(np.full(4_000, 0.5), abs=0.02)


def test_cells_that_do_not_differ_all_get_the_mean() -> None:
    rng = np.random.default_rng(4)
    scores = (rng.random((5_000, 2)) < 0.5).astype(np.float64)
    means = shrunk_means(scores, rng.integers(0, 50, 5_000).astype(np.intp), 50)
    assert np.abs(means - scores.mean(axis=0)).max() < 0.02  # a cell's own mean is off by .05 on average


def test_the_true_mixture_gets_the_weights() -> None:
    rng = np.random.default_rng(5)
    truth, guess = rng.uniform(0.05, 0.95, (2, 4_000, 2))
    scores = (rng.random((4_000, 2)) < truth).astype(np.float64)
    weights = mixture_weights(np.stack([truth, guess]), scores)
    assert weights[0] > 0.95
    assert weights.sum() == pytest.approx(1.0)


def test_on_no_evidence_members_weigh_alike() -> None:
    weights = mixture_weights(np.full((3, 4, 1), 0.5), np.array([[0.0], [1.0], [1.0], [0.0]]))
    assert weights == pytest.approx(np.full(3, 1 / 3))


def test_a_blend_of_one_is_that_one_and_is_not_fitted_again(inputs: Inputs, world: OutcomeTable) -> None:
    task = FitTask(inputs, world.arms, world.prices)
    alone = fit_members(task, ("cluster",)).model
    done = Learned(alone.members["cluster"])  # type: ignore[attr-defined]
    again = fit_members(replace(task, done={"cluster": done}), ("cluster",)).model
    assert again.members["cluster"] is done.model  # type: ignore[attr-defined]
    assert (again.weights == alone.weights).all()  # type: ignore[attr-defined]


def test_tokens_and_recorded_cost_that_follow_the_query_are_predicted(inputs: Inputs) -> None:
    level = 5.0 + inputs.embeddings[:, :2].astype(np.float64)
    model = fit_tokens(replace(inputs, log_tokens=level, usd=np.exp(level - 12.0)), seed=0)
    spent = model.spending(inputs.embeddings, inputs.lexical, kept=np.ones(len(inputs)))
    assert spent.output_tokens == pytest.approx(np.exp(level), rel=0.02)
    assert spent.usd == pytest.approx(np.exp(level - 12.0), rel=0.02)


def test_smearing_makes_the_mean_of_a_log_normal_right(inputs: Inputs) -> None:
    noise = np.random.default_rng(6).normal(5.0, 1.0, size=inputs.scores.shape)
    model = fit_tokens(replace(inputs, log_tokens=noise), seed=0)
    spent = model.spending(inputs.embeddings, inputs.lexical, kept=np.ones(len(inputs)))
    assert spent.output_tokens.mean() == pytest.approx(np.exp(5.5), rel=0.1)  # 600 draws: standard error 5 %


def test_recorded_times_give_a_line_and_missing_ones_none(inputs: Inputs) -> None:
    tokens = np.exp(5.0 + inputs.embeddings[:, :2].astype(np.float64))
    seconds = 0.4 + 0.02 * tokens
    seconds[::2, 0], seconds[:, 1] = np.nan, np.nan
    model = fit_tokens(replace(inputs, log_tokens=np.log(tokens)), seed=0, seconds=seconds)
    assert model.latency[0] == pytest.approx([0.4, 0.02])
    assert np.isnan(model.latency[1]).all()


def test_times_that_fall_with_tokens_never_become_negative(inputs: Inputs) -> None:
    tokens = np.exp(5.0 + inputs.embeddings[:, :2].astype(np.float64))
    model = fit_tokens(replace(inputs, log_tokens=np.log(tokens)), seed=0, seconds=1000.0 - tokens)
    assert (model.latency >= 0).all()


def test_training_queries_are_familiar_and_strangers_are_far(inputs: Inputs) -> None:
    guard = fit_guard(inputs, seed=0)
    distance = guard.distance(inputs.embeddings)
    assert guard.is_far(distance).mean() < 0.02  # one in a hundred of unseen ones, fewer of these
    assert guard.familiarity(distance).mean() > 0.8
    strangers = np.random.default_rng(8).normal(size=(50, inputs.embeddings.shape[1])).astype(np.float32)
    far = strangers / np.linalg.norm(strangers, axis=1, keepdims=True)
    assert guard.is_far(guard.distance(far)).all()


def test_folds_are_of_equal_sizes_and_never_more_than_rows() -> None:
    assert np.bincount(folds_of(11, 3, seed=0)).tolist() == [4, 4, 3]
    assert np.unique(folds_of(2, 5, seed=0)).tolist() == [0, 1]
