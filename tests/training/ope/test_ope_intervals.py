"""Intervals that hold: the bootstrap against the normal theory, Bernstein at every sample size."""

import numpy as np
import pytest

from training.ope.estimators import ESTIMATORS, Terms, means_of
from training.ope.intervals import Ratio, bernstein_radius, estimates, points_of, studentised, units_of


def width(values: np.ndarray, **options: int) -> np.ndarray:
    found = studentised(values, **options)
    return found.high - found.low


def test_an_interval_is_as_wide_as_the_normal_theory_says() -> None:
    values = np.random.default_rng(0).normal(size=(4_000, 1))
    assert width(values) == pytest.approx(2 * 1.96 * values.std() / 4_000**0.5, rel=0.1)


def test_intervals_of_skewed_means_cover() -> None:
    """Weights of 30 with a chance of 1 in 30, 600 rounds: 95 % within three standard errors of 100 samples."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(100):
        found = studentised(30.0 * (rng.random((600, 1)) < 1 / 30))
        held += found.low[0] <= 1.0 <= found.high[0]
    assert held / 100 == pytest.approx(0.95, abs=0.065)


def test_a_ratio_is_bounded_by_its_linearisation_and_equals_its_mean_where_all_weigh_alike() -> None:
    values = np.random.default_rng(0).random(2_000)
    found = studentised(values[:, None], [Ratio(3.0 * values, np.full(2_000, 3.0))])
    assert found.low[1] == pytest.approx(found.low[0], abs=1e-4)
    assert found.high[1] == pytest.approx(found.high[0], abs=1e-4)
    nothing = studentised(values[:, None], [Ratio(np.zeros(2_000), np.zeros(2_000))])
    assert np.isnan(nothing.low[1])


def test_small_numbers_beside_large_ones_keep_their_spread() -> None:
    values = np.random.default_rng(0).normal(size=(3_000, 1))
    apart = width(np.hstack([1e-9 * values, 1e6 + values]))
    assert apart[0] / 1e-9 == pytest.approx(apart[1], rel=1e-3)


def test_a_constant_has_no_width() -> None:
    assert width(np.full((50, 1), 0.3)) == pytest.approx([0.0])


def test_blocks_keep_mean_and_spread() -> None:
    values = np.random.default_rng(0).normal(size=(90_000, 2))
    units = units_of(values, most=20_000)
    assert units.shape == (20_000, 2)
    assert units.mean(axis=0) == pytest.approx(values.mean(axis=0))
    assert width(values) == pytest.approx(2 * 1.96 * values.std(axis=0) / 300, rel=0.1)


def test_blocks_of_unequal_length_add_no_spread() -> None:
    n = 30_000
    values = np.random.default_rng(0).normal(loc=0.7, scale=0.1, size=(n, 1))
    assert units_of(values, most=20_000).mean() == pytest.approx(values.mean())
    assert width(values) == pytest.approx(2 * 1.96 * values.std(axis=0) / n**0.5, rel=0.1)


def test_bernstein_is_its_formula_and_infinite_for_one_round() -> None:
    values = np.array([0.0, 1.0, 1.0, 0.0, 1.0])
    log = np.log(4 / 0.05)
    assert bernstein_radius(values, width=1.0) == pytest.approx((2 * 0.3 * log / 5) ** 0.5 + 7 * log / 12)
    assert bernstein_radius(np.ones(1), width=1.0) == np.inf


def test_bernstein_covers_where_the_bootstrap_cannot_know() -> None:
    """One round in 500 counts 100 times: most samples of 100 rounds never see it."""
    rng, covered = np.random.default_rng(0), 0
    for _ in range(200):
        values = 100.0 * (rng.random(100) < 0.002)
        covered += abs(values.mean() - 0.2) <= bernstein_radius(values, width=100.0)
    assert covered >= 190


def test_each_estimator_has_its_interval_and_only_bounded_means_have_bernstein() -> None:
    rng = np.random.default_rng(0)
    terms = Terms(np.full(300, 1.0), rng.random(300), np.full(300, 0.5), np.full(300, 0.5))
    columns = terms.columns(switch=np.inf)
    bounds = studentised(means_of(columns), [Ratio(columns[:, 2], columns[:, 5])])
    found = estimates(points_of(columns, spread=1.0, largest_weight=1.0), bounds, 0)
    assert set(found) == set(ESTIMATORS)
    assert {name for name, each in found.items() if each.bernstein is not None} == {"dm", "ips", "dr"}
    assert all(each.low <= each.value <= each.high for each in found.values())
    unbounded = estimates(points_of(columns, spread=None, largest_weight=1.0), bounds, 0)
    assert all(each.bernstein is None for each in unbounded.values())
