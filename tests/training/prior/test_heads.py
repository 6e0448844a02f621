"""What of the teacher serves as it is: the heads say what the members said, on the inputs of what serves."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from policies.features import FEATURE_NAMES
from policies.tables import OutcomeTable
from policies.zoo.basis import CLIP, Basis
from policies.zoo.landmark_basis import LandmarkBasis, to_chances
from policies.zoo.topics import TopicModel
from training.contender import Sample
from training.inputs import Inputs, Reals, make_inputs
from training.prior.distil import distil
from training.prior.fit import fit_default
from training.prior.folds import content_folds
from training.prior.heads import Heads, carried, heads_for, served_as_they_are
from training.prior.members import TOPICS, Member, fit_member
from training.prior.student_basis import DistilSettings, basis_of, map_of
from training.zoo.contenders import task_of
from training.zoo.task import FitTask

SMOOTH = (TOPICS, "logistic", "irt", "mlp")


@pytest.fixture(scope="module")
def fits() -> dict[str, tuple[Member, ...]]:
    """Fits of three folds by member, once they were made; they are only read."""
    return {}


@pytest.fixture
def task(world: OutcomeTable, encoder: Any) -> FitTask:
    return task_of(Sample(world, make_inputs(world, encoder.encode(world.prompts))), encoder_id="hash-1", seed=0)


def fitted(name: str, task: FitTask, fits: dict[str, tuple[Member, ...]]) -> tuple[Member, ...]:
    if name not in fits:
        folds = content_folds(task.inputs, 3, seed=0)
        fits[name] = tuple(fit_member(name, task.rows(folds != fold)) for fold in range(3))
    return fits[name]


def plain_basis(inputs: Inputs) -> LandmarkBasis:
    return basis_of(map_of(inputs, DistilSettings(), seed=0), inputs)


def said(basis: LandmarkBasis, heads: Heads, inputs: Inputs) -> Reals:
    """What the heads say of queries, by a basis that has nothing but them."""
    headed = replace(
        basis,
        hidden=heads.hidden,
        hidden_offset=heads.hidden_offset,
        head=heads.weights,
        head_offset=heads.offset,
        numbers=np.array([*basis.numbers[:3], heads.n_topics]),
    )
    features = headed(inputs.embeddings, inputs.lexical)
    return np.asarray(features[:, headed.n_outputs - len(heads.says) :] @ heads.says)


def committee(members: tuple[Member, ...], inputs: Inputs) -> Reals:
    return np.asarray(np.mean([each.model.quality(inputs.embeddings, inputs.lexical) for each in members], axis=0))


def spread(values: Reals) -> Reals:
    """Without what is the same for all queries: what serves has its own means."""
    return np.asarray(values - values.mean(axis=0))


@pytest.mark.parametrize("name", SMOOTH)
def test_heads_say_of_every_query_what_the_fits_of_a_member_say_on_average(
    name: str, task: FitTask, fits: dict[str, tuple[Member, ...]]
) -> None:
    members, basis = fitted(name, task, fits), plain_basis(task.inputs)
    own = spread(said(basis, heads_for(basis, [(name, 1.0, members)]), task.inputs))
    told = spread(committee(members, task.inputs))
    assert np.sqrt((told**2).mean()) > 0.01  # there is something to say
    assert np.sqrt(((own - told) ** 2).mean()) < 0.1 * np.sqrt((told**2).mean())


def test_members_side_by_side_say_their_weighted_sum(task: FitTask, fits: dict[str, tuple[Member, ...]]) -> None:
    basis = plain_basis(task.inputs)
    each = [(name, weight, fitted(name, task, fits)) for name, weight in zip(SMOOTH, (0.4, 0.1, 0.2, 0.3), strict=True)]
    together = heads_for(basis, each)
    apart = sum(said(basis, heads_for(basis, [one]), task.inputs) for one in each)
    assert said(basis, together, task.inputs) == pytest.approx(apart, abs=1e-12)
    assert together.n_topics == len({label for fit in fits[TOPICS] for label in fit.labels})


def test_a_topic_that_a_fold_does_not_know_is_told_by_those_that_do(task: FitTask) -> None:
    basis = plain_basis(task.inputs)
    model, labels = TopicModel.example(n_arms=2, dim=basis.dim), ("a", "b", "c", "d")
    # Log-odds are up to a constant per query, which two folds need not share.
    weights, intercepts = model.weights[:, 1:] + 0.7, model.intercepts[1:] + 3.0
    fewer = replace(model, weights=weights, intercepts=intercepts, means=model.means[1:])
    whole = Member(model, {}, labels)
    alone = heads_for(basis, [(TOPICS, 1.0, (whole,))])
    heads = heads_for(basis, [(TOPICS, 1.0, (Member(fewer, {}, labels[1:]), whole, whole))])
    assert heads.n_topics == 4
    assert said(basis, heads, task.inputs) == pytest.approx(said(basis, alone, task.inputs), abs=1e-9)


def test_a_line_is_carried_over_with_its_centre_scales_and_weights() -> None:
    rng, dim, k, n_lexical = np.random.default_rng(4), 12, 6, len(FEATURE_NAMES)
    plain = LandmarkBasis.example(dim=dim)
    basis = replace(
        plain,
        centre=rng.normal(size=dim),
        projection=np.linalg.qr(rng.normal(size=(dim, k)))[0],
        lexical_mean=rng.normal(size=n_lexical),
        lexical_sd=rng.uniform(1.0, 2.0, size=n_lexical),
        numbers=np.array([2.0, 0.05, 3.7, 0.0]),
    )
    own = Basis(
        centre=basis.centre + basis.projection @ rng.normal(size=k),
        projection=basis.projection @ rng.normal(size=(k, 4)),  # within what the other one keeps
        lexical_mean=rng.normal(size=n_lexical),
        lexical_sd=rng.uniform(1.0, 2.0, size=n_lexical),
        lexical_weight=np.array([0.3]),
    )
    weights, offset = rng.normal(size=(own.n_outputs, 5)), rng.normal(size=5)
    embeddings = rng.normal(size=(40, dim)).astype(np.float32)
    lexical = rng.uniform(-0.5, 0.5, size=(40, n_lexical)).astype(np.float32)  # nothing is clipped
    z = basis.net_inputs((embeddings - basis.centre) @ basis.projection, lexical, scale=3.7)
    there, shift = carried(own, basis, weights, offset)
    assert np.abs(z[:, k:]).max() < CLIP
    assert z @ there + shift == pytest.approx(own(embeddings, lexical) @ weights + offset, abs=1e-9)


def test_the_members_that_can_and_weigh_enough_are_served_topics_first() -> None:
    names = ("knn", "mlp", "irt", TOPICS, "logistic")
    assert served_as_they_are(names, np.array([0.5, 0.1, 0.019, 0.3, 0.02])) == (TOPICS, "logistic", "mlp")
    assert served_as_they_are(("knn", "gbdt"), np.array([0.5, 0.5])) == ()


def test_what_serves_comes_closer_to_its_teacher_with_heads_than_without(world: OutcomeTable, encoder: Any) -> None:
    sample = Sample(world, make_inputs(world, encoder.encode(world.prompts)))
    half = np.arange(len(sample)) < len(sample) // 2
    task, unseen = task_of(sample.rows(half), encoder_id="hash-1", seed=0), sample.rows(~half).inputs
    fit = fit_default(task, members=("knn", TOPICS, "logistic", "irt"))
    assert set(fit.teacher.quality.served) == {TOPICS, "logistic", "irt"}
    lessons = replace(fit.teacher.lessons(), rest=None)
    headless = distil(task, lessons, settings=DistilSettings())
    told = fit.teacher.predict(unseen).quality

    def missed(policy: Any) -> float:
        expected = policy.expect(unseen.embeddings, unseen.lexical)
        near = expected.familiarity > 0.9  # elsewhere the guard has its own opinion
        return float(np.square(expected.quality - told)[near].mean())

    assert missed(fit.policy) < 0.8 * missed(headless)


def test_chances_of_topics_sum_to_one_and_the_others_are_logistic() -> None:
    log_odds = np.random.default_rng(0).normal(scale=3.0, size=(50, 7))
    chances = log_odds.copy()
    to_chances(chances, n_topics=4)
    raised = np.exp(log_odds[:, :4])
    assert chances[:, :4] == pytest.approx(raised / raised.sum(axis=1, keepdims=True))
    assert chances[:, 4:] == pytest.approx(1.0 / (1.0 + np.exp(-log_odds[:, 4:])))
    one = log_odds[0].copy()
    to_chances(one, n_topics=4)
    assert one == pytest.approx(chances[0], abs=1e-15)


def test_chances_of_extreme_log_odds_neither_overflow_nor_become_nothing() -> None:
    chances = np.array([[1e300, -1e300, 1e300, -1e300], [-1e300, -1e300, 0.0, 5e3]])
    to_chances(chances, n_topics=2)
    assert chances == pytest.approx(np.array([[1.0, 0.0, 1.0, 0.0], [0.5, 0.5, 0.5, 1.0]]))


@pytest.mark.parametrize("n_topics", [4.0, -1.0, 1.5, np.inf, np.nan])
def test_a_basis_refuses_more_topics_than_it_has_heads(n_topics: float) -> None:
    tensors = LandmarkBasis.example(dim=4).tensors("basis")
    numbers = np.array([2.0, 0.05, 1.0, n_topics], np.float32)
    with pytest.raises(ValueError, match=r"basis\.numbers must not name more topics than basis\.head has columns"):
        LandmarkBasis.from_tensors(tensors | {"basis.numbers": numbers}, "basis")
