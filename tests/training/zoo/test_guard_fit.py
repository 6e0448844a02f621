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
    apart = np.tile([[2.0, 0.0], [-2.0, 0.0]], (50_000, 1))  # mean squares 4 and 0, mean 2
    metric = metric_of(apart, np.full(100_000, 3.0), n_dropped=3, n_dims=2)
    assert metric == pytest.approx([3.0 / 5.0, 3.0, 3.0 / 2.0], rel=1e-3)


def test_of_few_queries_every_direction_weighs_much_alike() -> None:
    metric = metric_of(np.tile([[2.0, 0.0], [-2.0, 0.0]], (5, 1)), np.full(10, 3.0), n_dropped=3, n_dims=2)
    assert metric == pytest.approx(
        [3.0 / (4.0 / 6 + 10.0 / 6 + 1.0), 3.0 / (10.0 / 6 + 1.0), 3.0 / (1.0 / 6 + 10.0 / 6 + 1.0)]
    )


@pytest.mark.parametrize("n", [60, 120])
def test_a_small_table_calls_few_of_its_own_kind_far(n: int) -> None:
    guards = [fit_guard(queries(n, seed=seed), seed=seed) for seed in range(10)]
    unseen = queries(500, seed=99).embeddings
    assert np.mean([guard.is_far(guard.distance(unseen)).mean() for guard in guards]) < 0.15


def test_directions_beyond_those_measured_weigh_as_the_last_one() -> None:
    apart = np.array([[1.0, 0.5], [-1.0, -0.5]])
    assert metric_of(apart, np.zeros(2), n_dropped=0, n_dims=4)[1:4] == pytest.approx(
        np.full(3, metric_of(apart, np.zeros(2), n_dropped=0, n_dims=2)[1])
    )


def test_queries_that_do_not_vary_have_a_metric_all_the_same() -> None:
    assert np.isfinite(metric_of(np.zeros((3, 2)), np.zeros(3), n_dropped=0, n_dims=2)).all()
