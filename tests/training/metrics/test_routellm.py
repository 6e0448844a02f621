"""RouteLLM's measures against a transcript of its own evaluation done by hand, and their ends."""

import numpy as np
import pytest

from training.metrics.curve import Curve
from training.metrics.routellm import quantile_edges, recovered_of_pair, recovered_of_pool, strong_calls


def evaluated(scores: np.ndarray, weak: np.ndarray, strong: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    calls = strong_calls(scores, quantile_edges(scores))
    return calls.mean(axis=0), np.where(calls, strong[:, None], weak[:, None]).mean(axis=0)


def test_edges_are_the_deciles_of_ten_numbers_by_linear_interpolation() -> None:
    # qcut of 0..9: quantile k/10 lies at position 0.9 k
    assert quantile_edges(np.arange(10.0)) == pytest.approx(0.9 * np.arange(11))


def test_equal_scores_keep_their_duplicate_edges() -> None:
    # quantile 0.9 lies at position 8.1, a tenth of the way from the last 1 to the 2
    assert quantile_edges(np.array([1.0] * 9 + [2.0])).tolist() == pytest.approx([1.0] * 9 + [1.1, 2.0])


def test_first_threshold_sends_all_to_the_strong_arm_and_the_last_none() -> None:
    calls = strong_calls(np.arange(10.0), quantile_edges(np.arange(10.0)))
    assert calls.sum(axis=0).tolist() == [10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]


def test_apgr_of_a_router_that_knows_half_is_the_area_of_two_triangles() -> None:
    # weak is wrong on the two queries of highest score only; strong is always right: 0.8 at no calls, 1 from 20 % on
    weak = np.array([1.0] * 8 + [0.0] * 2)
    share, accuracy = evaluated(np.arange(10.0), weak, np.ones(10))
    found = recovered_of_pair(share, accuracy, weak=0.8, strong=1.0)
    assert found.apgr == pytest.approx(0.5 * 0.2 + 0.8)  # a rise over 0.2 of the calls, then all recovered
    assert found.cpt50 == pytest.approx(10.0)
    assert found.cpt80 == pytest.approx(16.0)


def test_a_router_that_sees_nothing_recovers_in_proportion() -> None:
    found = recovered_of_pair(np.array([1.0, 0.0]), np.array([0.8, 0.6]), weak=0.6, strong=0.8)
    assert (found.apgr, found.cpt50, found.cpt80) == pytest.approx((0.5, 50.0, 80.0))


def test_constant_scores_are_the_random_line() -> None:
    weak, strong = np.array([1.0, 0.0, 0.0, 0.0]), np.array([1.0, 1.0, 1.0, 0.0])
    share, accuracy = evaluated(np.full(4, 0.3), weak, strong)
    assert recovered_of_pair(share, accuracy, weak=0.25, strong=0.75).apgr == pytest.approx(0.5)


def test_without_a_gap_there_is_nothing_to_recover() -> None:
    found = recovered_of_pair(np.array([0.0, 1.0]), np.array([0.7, 0.7]), weak=0.7, strong=0.7)
    assert np.isnan([found.apgr, found.cpt50, found.cpt80]).all()


def test_pool_of_many_arms_takes_the_share_of_the_cost_range() -> None:
    # from (1, .4) over (3, .7) to (5, .8): PGR 0, .75, 1 at shares 0, .5, 1
    curve = Curve(np.array([1.0, 3.0, 5.0]), np.array([0.4, 0.7, 0.8]))
    found = recovered_of_pool(curve, weak=(1.0, 0.4), strong=(5.0, 0.8))
    assert found.apgr == pytest.approx(0.5 * 0.375 + 0.5 * 0.875)
    assert found.cpt50 == pytest.approx(100 * 0.5 * 0.5 / 0.75)
    assert found.cpt80 == pytest.approx(100 * (0.5 + 0.5 * 0.05 / 0.25))


def test_a_router_without_cheap_points_recovers_nothing_there() -> None:
    found = recovered_of_pool(Curve(np.array([3.0]), np.array([0.8])), weak=(1.0, 0.4), strong=(5.0, 0.8))
    assert found.apgr == pytest.approx(0.5)


def test_a_level_that_is_not_reached_has_no_call_share() -> None:
    found = recovered_of_pool(Curve(np.array([1.0, 2.0]), np.array([0.4, 0.65])), weak=(1.0, 0.4), strong=(5.0, 0.8))
    assert found.cpt50 == pytest.approx(100 * 0.25 * 0.5 / 0.625)
    assert np.isnan(found.cpt80)


def test_where_the_cheapest_arm_is_the_best_there_is_no_range() -> None:
    found = recovered_of_pool(Curve(np.array([1.0]), np.array([0.8])), weak=(1.0, 0.8), strong=(1.0, 0.8))
    assert np.isnan(found.apgr)


def test_a_router_cheaper_than_the_cheapest_arm_needs_no_share_of_the_range() -> None:
    found = recovered_of_pool(Curve(np.array([0.5]), np.array([0.7])), weak=(1.0, 0.4), strong=(5.0, 0.8))
    assert found.apgr == pytest.approx(0.75)
    assert found.cpt50 == 0.0
