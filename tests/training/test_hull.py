import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.hull import bootstrap_means, gain_at_equal_cost, hull_accuracy, hull_usd, interval, upper_hull

USD = np.array([1.0, 2.0, 3.0, 5.0, 4.0])
ACCURACY = np.array([0.2, 0.6, 0.5, 0.9, 0.65])  # the third is beaten, the fifth lies below the edge 2 -> 5


def test_the_hull_keeps_only_arms_that_no_mix_beats() -> None:
    usd, accuracy = upper_hull(USD, ACCURACY)
    assert (usd.tolist(), accuracy.tolist()) == ([1.0, 2.0, 5.0], [0.2, 0.6, 0.9])


def test_between_corners_a_mix_is_a_straight_line_and_beyond_them_flat() -> None:
    at = [hull_accuracy(USD, ACCURACY, usd) for usd in (0.5, 1.5, 3.5, 9.0)]
    assert at == pytest.approx([0.2, 0.4, 0.75, 0.9])


def test_the_cost_of_an_accuracy_inverts_the_hull_and_is_unknown_above_it() -> None:
    assert hull_usd(USD, ACCURACY, 0.75) == pytest.approx(3.5)
    assert np.isnan(hull_usd(USD, ACCURACY, 0.91))


@given(st.lists(st.tuples(st.floats(0.001, 10), st.floats(0, 1)), min_size=1, max_size=8), st.data())
def test_no_coin_toss_between_arms_lies_above_the_hull(arms: list[tuple[float, float]], data: st.DataObject) -> None:
    usd, accuracy = np.array(arms).T
    weights = np.array(data.draw(st.lists(st.floats(0.01, 1), min_size=len(arms), max_size=len(arms))))
    weights /= weights.sum()
    assert hull_accuracy(usd, accuracy, float(weights @ usd)) >= float(weights @ accuracy) - 1e-9


def test_a_coin_toss_gains_nothing_and_its_interval_says_so() -> None:
    rng, n = np.random.default_rng(0), 4_000
    scores = np.column_stack([rng.random(n) < 0.4, rng.random(n) < 0.8]).astype(np.float64)
    usd = np.column_stack([np.full(n, 1.0), np.full(n, 3.0)])
    tossed = rng.integers(0, 2, n)
    at = np.arange(n)
    result = gain_at_equal_cost(scores[at, tossed], usd[at, tossed], arm_scores=scores, arm_usd=usd, n_replicates=400)
    assert result.gain.low < 0 < result.gain.high
    assert result.gain.value == pytest.approx(0.0, abs=0.02)


def test_a_router_that_knows_gains_what_it_must() -> None:
    n = 1_000
    scores = np.zeros((n, 2))
    scores[: n // 2, 0], scores[:, 1] = 1.0, 1.0  # cheap is right on half, dear always
    usd = np.column_stack([np.full(n, 1.0), np.full(n, 3.0)])
    cost = np.where(np.arange(n) < n // 2, 1.0, 3.0)
    result = gain_at_equal_cost(np.ones(n), cost, arm_scores=scores, arm_usd=usd, n_replicates=200)
    assert result.gain.value == pytest.approx(1.0 - 0.75)  # a mix of mean cost 2 is right on 3/4
    assert result.saving == pytest.approx(1 - 2.0 / 3.0)
    assert result.gain.low > 0.2


def test_the_bootstrap_spread_is_the_standard_error_of_the_mean() -> None:
    values = np.random.default_rng(0).normal(size=(2_500, 1))
    means = bootstrap_means(values, n_replicates=2_000, seed=0)
    assert means.std() == pytest.approx(values.std() / 50, rel=0.08)
    spread = interval(float(values.mean()), means[:, 0])
    assert spread.high - spread.low == pytest.approx(2 * 1.96 / 50, rel=0.1)


def test_rows_of_one_group_are_resampled_together() -> None:
    values = np.repeat(np.random.default_rng(0).normal(size=(625, 1)), 4, axis=0)
    groups = [str(i // 4) for i in range(2_500)]
    alone = bootstrap_means(values, n_replicates=1_000, seed=0).std()
    together = bootstrap_means(values, n_replicates=1_000, seed=0, groups=groups).std()
    assert together / alone == pytest.approx(2.0, rel=0.12)  # four copies are one observation
