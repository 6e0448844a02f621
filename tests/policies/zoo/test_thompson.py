"""Traffic by doubt: the probability of being best, within what exploration may cost."""

import numpy as np
import pytest

from policies.predictions import Reals
from policies.zoo.thompson import Exploring, chances_of_best, follow_doubt, normal_points

NOBODY = np.zeros(3, np.bool_)


def shared(utility: list[float], sd: list[float], usd: list[float], exploring: Exploring, **more: Reals) -> Reals:
    return follow_doubt(
        np.array(utility), np.diag(sd), np.array(usd), exploring=exploring,
        barred=more.get("barred", NOBODY), points=normal_points(3),
    )  # fmt: skip


def test_two_arms_are_a_closed_form() -> None:
    """Φ(lead / deviation of the difference): .1 / √(.06² + .08²) = 1."""
    chances = chances_of_best(np.array([0.6, 0.5]), np.diag([0.06, 0.08]), normal_points(2))
    assert chances == pytest.approx([0.8413447, 0.1586553])


def test_many_arms_come_near_a_large_sample() -> None:
    rng = np.random.default_rng(0)
    mean, factor = rng.normal(scale=0.02, size=8), rng.normal(scale=0.03, size=(8, 8))
    drawn = mean + rng.normal(size=(100_000, 8)) @ factor.T
    truth = np.bincount(drawn.argmax(axis=1), minlength=8) / 100_000
    found = chances_of_best(mean, factor, normal_points(8))
    assert found.sum() == pytest.approx(1.0)
    assert found == pytest.approx(truth, abs=0.05)


def test_the_points_have_mean_nil_and_unit_covariance() -> None:
    points = normal_points(8)
    assert points.mean(axis=0) == pytest.approx(np.zeros(8), abs=1e-12)
    assert points.T @ points / len(points) == pytest.approx(np.eye(8), abs=1e-9)


def test_what_arms_are_sure_to_share_divides_no_traffic() -> None:
    together = np.column_stack([np.full(3, 0.3), np.zeros((3, 2))])  # all rise and fall as one
    dist = follow_doubt(
        np.array([0.6, 0.5, 0.4]), together, np.ones(3), exploring=Exploring(), barred=NOBODY, points=normal_points(3)
    )
    assert dist.tolist() == [1.0, 0.0, 0.0]


def test_an_arm_whose_bound_does_not_reach_the_incumbent_gets_nothing() -> None:
    dist = shared([0.6, 0.59, 0.3], [0.05, 0.05, 0.05], [1.0, 1.0, 1.0], Exploring())
    assert dist[2] == 0.0
    assert 0.3 < dist[1] < 0.5


def test_the_share_of_exploration_is_a_bound() -> None:
    free = shared([0.6, 0.59, 0.58], [0.1] * 3, [1.0] * 3, Exploring())
    bound = shared([0.6, 0.59, 0.58], [0.1] * 3, [1.0] * 3, Exploring(share=0.1))
    assert bound[1:] == pytest.approx(0.1 * free[1:])
    assert shared([0.6, 0.59, 0.58], [0.1] * 3, [1.0] * 3, Exploring(share=0.0)).tolist() == [1.0, 0.0, 0.0]


def test_exploration_keeps_within_its_money() -> None:
    usd = np.array([1.0, 10.0, 1.0])
    dist = shared([0.6, 0.6, 0.5], [0.1] * 3, usd.tolist(), Exploring(extra_usd=0.2))
    assert float(dist @ usd) == pytest.approx(1.2)
    assert dist[1] > 0.0


def test_exploring_what_is_cheaper_costs_nothing_and_is_not_held_back() -> None:
    usd = [10.0, 1.0, 1.0]
    held, free = (shared([0.6, 0.59, 0.5], [0.1] * 3, usd, Exploring(extra_usd=money)) for money in (0.0, 9.0))
    assert held == pytest.approx(free)


def test_a_barred_arm_is_taken_only_where_it_is_best() -> None:
    barred = np.array([False, True, False])
    assert shared([0.6, 0.59, 0.58], [0.1] * 3, [1.0] * 3, Exploring(), barred=barred)[1] == 0.0
    assert shared([0.5, 0.9, 0.5], [0.01] * 3, [1.0] * 3, Exploring(), barred=barred)[1] == 1.0


@pytest.mark.parametrize("wrong", [{"share": 1.5}, {"extra_usd": -1.0}, {"width": -1.0}])
def test_exploring_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="exploring"):
        Exploring(**wrong)


def test_too_many_arms_for_the_points_are_refused() -> None:
    with pytest.raises(ValueError, match="points do for fewer"):
        normal_points(500)


def test_arms_that_cost_nothing_are_explored_like_others() -> None:
    """As local models without a price: an unbounded spend above 0 USD is no number, and must not be computed."""
    free = shared([0.6, 0.59, 0.1], [0.05] * 3, [0.0] * 3, Exploring(share=0.5))
    assert np.array_equal(free, shared([0.6, 0.59, 0.1], [0.05] * 3, [0.1] * 3, Exploring(share=0.5)))
