"""The small world as streams need it: embedded, and its first queries with the default policy fitted on them."""

import numpy as np
import pytest

from policies.tables import OutcomeTable
from policies.zoo.default import DefaultPolicy
from training.contender import Sample
from training.inputs import Inputs, make_inputs
from training.prior.fit import fit_default
from training.zoo.contenders import task_of


@pytest.fixture(scope="session")
def embedded(world: OutcomeTable) -> np.ndarray:
    rng, kinds = np.random.default_rng(1), {"easy": 1.0, "hard": -1.0}
    centres = np.array([kinds[domain] for domain in world.domains])[:, None] * np.eye(1, 12)
    vectors = centres + 0.3 * rng.normal(size=(len(world), 12))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="session")
def inputs(world: OutcomeTable, embedded: np.ndarray) -> Inputs:
    return make_inputs(world, embedded)


@pytest.fixture(scope="session")
def warmed(world: OutcomeTable, inputs: Inputs) -> tuple[Sample, DefaultPolicy]:
    """The first 200 queries, and the default policy fitted on them."""
    warm = Sample(world, inputs).rows(np.arange(len(world)) < 200)
    return warm, fit_default(task_of(warm, encoder_id="hash-1", seed=0)).policy
