"""The guard's metric: directions in which queries of a kind hardly vary tell strangers apart."""

import numpy as np
import pytest

from training.inputs import Inputs
from training.landmarks import metric_of
from training.zoo.guard import fit_guard

DIM, N = 96, 2_000


def queries(n: int, *, seed: int, shifted: float = 0.0) -> Inputs:
    """Vary much in 8 dimensions, a little in all others; ``shifted`` moves them along one of the latter."""
    rng = np.random.default_rng(seed)
    points = rng.normal(scale=0.02, size=(n, DIM))
    points[:, :8] += rng.normal(scale=1.0, size=(n, 8))
    points[:, -1] += shifted
    ones = np.ones((n, 1))
    return Inputs(
        embeddings=points.astype(np.float32),
        lexical=np.zeros((n, 3), np.float32),
        prompt_tokens=np.ones(n),
        scores=ones,
        log_tokens=ones,
        usd=ones,
        input_ratio=np.ones(1),
    )


def test_a_small_move_where_nothing_varies_is_far() -> None:
    guard = fit_guard(queries(N, seed=0), seed=0)
    near, strange = (queries(500, seed=1, shifted=by).embeddings for by in (0.0, 0.7))
    assert guard.is_far(guard.distance(near)).mean() < 0.04  # one in a hundred, and its sampling error
    assert guard.is_far(guard.distance(strange)).mean() > 0.5
    plain = np.sqrt(np.square(strange - near).sum(axis=1)).max()
    assert plain == pytest.approx(0.7, abs=0.01)  # less than such queries lie apart anyway


def test_a_direction_weighs_by_how_little_new_queries_differ_along_it() -> None:
    apart = np.array([[2.0, 0.0], [-2.0, 0.0], [2.0, 0.0], [-2.0, 0.0]])  # mean squares 4 and 0, mean 2
    metric = metric_of(apart, np.full(4, 3.0), n_dropped=3, n_dims=2)
    assert metric == pytest.approx([3.0 / 5.0, 3.0, 3.0 / 2.0])


def test_directions_beyond_those_measured_weigh_as_the_last_one() -> None:
    apart = np.array([[1.0, 0.5], [-1.0, -0.5]])
    assert metric_of(apart, np.zeros(2), n_dropped=0, n_dims=4)[1:4] == pytest.approx(
        np.full(3, metric_of(apart, np.zeros(2), n_dropped=0, n_dims=2)[1])
    )


def test_queries_that_do_not_vary_have_a_metric_all_the_same() -> None:
    assert np.isfinite(metric_of(np.zeros((3, 2)), np.zeros(3), n_dropped=0, n_dims=2)).all()
