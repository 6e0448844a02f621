"""The teacher's members: the zoo's models, and the ridge of `linear` without its guard."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from policies.errors import PolicyError
from policies.tables import OutcomeTable
from policies.zoo.linear import LinearPolicy
from training.contender import Sample
from training.inputs import make_inputs
from training.linear import fit_linear
from training.prior.members import _SEARCH, LINEAR, MEMBERS, fit_member
from training.zoo.contenders import task_of
from training.zoo.task import FitTask


@pytest.fixture
def task(world: OutcomeTable, encoder: Any) -> FitTask:
    return task_of(Sample(world, make_inputs(world, encoder.encode(world.prompts))), encoder_id="hash-1", seed=0)


def test_linear_judges_familiar_queries_as_the_policy_serves_them(task: FitTask) -> None:
    inputs = task.inputs
    judged = fit_member(LINEAR, task).model.quality(inputs.embeddings, inputs.lexical)
    feature_map, ridge, _ = fit_linear(inputs, replace(_SEARCH, seed=0))
    policy = LinearPolicy(feature_map, ridge, arms=[arm.name for arm in task.arms], encoder_id="hash-1", version="")
    served = policy.expect(inputs.embeddings, inputs.lexical)
    familiar = served.familiarity > 0.9999
    assert familiar.sum() > 100
    assert judged[familiar] == pytest.approx(served.quality[familiar], abs=2e-3)


def test_a_stranger_is_not_shrunk_by_a_member(task: FitTask) -> None:
    member, strange = fit_member(LINEAR, task), -task.inputs.embeddings[:50]
    judged = member.model.quality(strange, task.inputs.lexical[:50])
    assert ((judged >= 0.0) & (judged <= 1.0)).all()
    assert judged.std(axis=0).max() > 0.0


def test_the_same_seed_gives_the_same_member(task: FitTask) -> None:
    one, again = (fit_member(LINEAR, task) for _ in range(2))
    inputs = task.inputs
    assert np.array_equal(
        one.model.quality(inputs.embeddings, inputs.lexical), again.model.quality(inputs.embeddings, inputs.lexical)
    )
    assert one.facts == again.facts


def test_no_member_has_another_name(task: FitTask) -> None:
    assert LINEAR in MEMBERS
    with pytest.raises(PolicyError, match="no policy of the zoo is named 'oracle'"):
        fit_member("oracle", task)
