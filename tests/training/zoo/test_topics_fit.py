"""Topics: labels of the training queries help where they tell arms apart, and are not needed to serve."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from policies.tables import OutcomeTable
from policies.zoo.topics import TopicModel
from training.inputs import make_inputs
from training.prior.members import members_for
from training.zoo.fit import fit_model
from training.zoo.task import FitTask
from training.zoo.topics import topics_of


@pytest.fixture
def task(world: OutcomeTable, encoder: Any) -> FitTask:
    inputs = make_inputs(world, encoder.encode(world.prompts))
    return FitTask(inputs, world.arms, world.prices, domains=np.array(world.domains))


def fitted(task: FitTask) -> TopicModel:
    model = fit_model("topics", task).model
    assert isinstance(model, TopicModel)
    return model


def test_each_topic_has_the_means_of_its_queries(task: FitTask, world: OutcomeTable) -> None:
    easy = np.array(world.domains) == "easy"
    means = fitted(task).means  # labels in order: easy, hard
    assert means[0] == pytest.approx(world.scores[easy].mean(axis=0), abs=0.02)
    assert means[1] == pytest.approx(world.scores[~easy].mean(axis=0), abs=0.02)


def test_the_topic_of_an_unseen_query_is_read_off_the_query(task: FitTask) -> None:
    first = np.arange(len(task.inputs)) < 300
    model, unseen = fitted(task.rows(first)), task.rows(~first)
    chances = model.topics(unseen.inputs.embeddings, unseen.inputs.lexical)
    assert unseen.domains is not None
    assert ((chances[:, 0] > 0.5) == (unseen.domains == "easy")).mean() > 0.95


@pytest.mark.parametrize("domains", [None, np.full(600, "one")])
def test_without_labels_or_with_one_the_means_remain(task: FitTask, domains: Any) -> None:
    model, inputs = fitted(replace(task, domains=domains)), task.inputs
    expected = np.tile(inputs.scores.mean(axis=0), (len(inputs), 1))
    assert model.quality(inputs.embeddings, inputs.lexical) == pytest.approx(expected)


def test_labels_that_few_share_and_no_label_are_one_rest(task: FitTask) -> None:
    labels = np.array(["a"] * 300 + ["b"] * 10 + ["c"] * 9 + [""] * 81 + [f"id-{i}" for i in range(200)])
    assert dict(zip(*np.unique(topics_of(replace(task, domains=labels)), return_counts=True), strict=True)) == {
        "": 290,
        "a": 300,
        "b": 10,
    }


def test_identifiers_in_the_place_of_labels_are_no_topics(task: FitTask) -> None:
    identified = replace(task, domains=np.array([f"id-{i}" for i in range(600)]))
    assert fitted(identified).means.shape[0] == 1
    assert "topics" not in members_for(identified)


def test_of_very_many_labels_the_200_that_most_share_are_topics(task: FitTask) -> None:
    many = np.repeat([f"label-{i:03}" for i in range(250)], np.where(np.arange(250) < 240, 20, 12))
    inputs = task.inputs.rows(np.arange(len(many)) % 600)
    topics = np.unique(topics_of(replace(task, inputs=inputs, domains=many)))
    assert len(topics) == 201  # and the rest
    assert "label-249" not in topics


def test_labels_that_tell_nothing_earn_nothing(task: FitTask) -> None:
    drawn = np.random.default_rng(1).choice(["a", "b", "c"], 600)
    model, inputs = fitted(replace(task, domains=drawn)), task.inputs
    off = model.quality(inputs.embeddings, inputs.lexical) - inputs.scores.mean(axis=0)
    assert np.abs(off).max() < 0.06


def test_the_teacher_asks_for_topics_only_where_queries_have_labels(task: FitTask) -> None:
    assert "topics" in members_for(task)
    assert "topics" not in members_for(replace(task, domains=None))
    assert "topics" not in members_for(replace(task, domains=np.full(600, "one")))
