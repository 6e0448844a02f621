"""Topics: labels of the training queries help where they tell arms apart, and are not needed to serve."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from policies.tables import OutcomeTable
from policies.zoo.topics import TopicModel
from training.inputs import make_inputs
from training.prior.teacher import members_for
from training.zoo.fit import fit_model
from training.zoo.task import FitTask


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


def test_labels_that_tell_nothing_earn_nothing(task: FitTask) -> None:
    drawn = np.random.default_rng(1).choice(["a", "b", "c"], 600)
    model, inputs = fitted(replace(task, domains=drawn)), task.inputs
    off = model.quality(inputs.embeddings, inputs.lexical) - inputs.scores.mean(axis=0)
    assert np.abs(off).max() < 0.06


def test_the_teacher_asks_for_topics_only_where_queries_have_labels(task: FitTask) -> None:
    assert "topics" in members_for(task)
    assert "topics" not in members_for(replace(task, domains=None))
    assert "topics" not in members_for(replace(task, domains=np.full(600, "one")))
