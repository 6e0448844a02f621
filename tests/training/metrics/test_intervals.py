"""The paired bootstrap against closed forms."""

import numpy as np
import pytest

from training.metrics.intervals import percentile_interval, replicate_means, weights


def test_weights_of_a_replicate_sum_to_one_and_are_whole_counts() -> None:
    drawn = np.concatenate(list(weights(50, n_replicates=120, seed=0)))
    assert drawn.shape == (120, 50)
    assert np.allclose(drawn.sum(axis=1), 1.0, atol=1e-5)
    assert np.allclose(drawn * 50, np.round(drawn * 50), atol=1e-4)


def test_replicates_spread_by_the_standard_error_of_a_mean() -> None:
    column = (np.arange(400) % 2).astype(np.float32)[:, None]  # sd 0.5: standard error 0.025
    (means,) = replicate_means([column], n_replicates=2_000, seed=0)
    assert means.std() == pytest.approx(0.025, rel=0.05)  # 2,000 replicates know it to 1.6 %
    interval = percentile_interval(means[:, 0])
    assert interval is not None
    assert interval == pytest.approx((0.451, 0.549), abs=0.005)


def test_policies_share_their_draws_so_equal_columns_differ_by_nothing() -> None:
    column = np.random.default_rng(0).random((100, 1)).astype(np.float32)
    one, other = replicate_means([column, column + np.float32(1.0)], n_replicates=50, seed=1)
    assert np.allclose(other - one, 1.0, atol=1e-5)


def test_same_seed_gives_the_same_replicates_and_another_seed_others() -> None:
    column = np.random.default_rng(0).random((100, 1)).astype(np.float32)
    first, again, other = (replicate_means([column], n_replicates=30, seed=seed)[0] for seed in (3, 3, 4))
    assert (first == again).all()
    assert (first != other).any()


def test_progress_ends_at_the_number_of_replicates() -> None:
    told: list[int] = []
    replicate_means([np.ones((5, 1), np.float32)], n_replicates=250, progress=told.append)
    assert told == [100, 200, 250]


def test_interval_ignores_replicates_in_which_the_metric_is_undefined() -> None:
    assert percentile_interval(np.array([np.nan, 1.0, 1.0])) == (1.0, 1.0)
    assert percentile_interval(np.full(3, np.nan)) is None
