"""Propensities against draws, and what of the possible was tried."""

from dataclasses import replace

import numpy as np
import pytest
from logged_world import simulated

from training.contender import Sample
from training.ope.draws import ALARM, Draws, state_action_coverage, trajectory_quality

CHANCES = np.array([0.7, 0.2, 0.1])


def draws(world: Sample, *, seed: int, said: np.ndarray | None = None) -> Draws:
    (rounds,) = simulated(world, np.tile(CHANCES, (len(world), 1)), seed=seed).chunks()
    found = Draws.empty(3)
    found.add(rounds if said is None else replace(rounds, propensities=np.tile(said, (len(rounds), 1))))
    return found


def test_honest_propensities_give_uniform_p_values(world: Sample) -> None:
    values = np.array([draws(world, seed=seed).p_value() for seed in range(200)])
    assert (values < 0.1).mean() == pytest.approx(0.1, abs=0.07)  # three standard errors are 0.064
    assert values.mean() == pytest.approx(0.5, abs=0.07)


def test_a_propensity_that_is_off_by_a_few_points_is_found(world: Sample) -> None:
    assert draws(world, seed=1, said=np.array([0.64, 0.26, 0.1])).p_value() < ALARM


def test_certain_draws_say_nothing_against_themselves() -> None:
    sure = Draws(np.array([5, 0]), np.array([5.0, 0.0]), np.array([[5.0, 0.0], [0.0, 0.0]]))
    assert sure.p_value() == 1.0


def test_coverage_is_one_for_a_uniform_log_and_small_for_a_narrow_one() -> None:
    assert state_action_coverage(np.full((4, 3), 50)) == pytest.approx(1.0)
    assert state_action_coverage(np.array([[150, 0, 0]] * 4)) == pytest.approx(1 / 3, abs=1e-3)
    assert state_action_coverage(np.array([[1, 0, 0]])) == pytest.approx(1.0)  # one round can cover one pair


def test_quality_of_the_log_lies_between_chance_and_the_best() -> None:
    assert trajectory_quality(0.6, even=0.5, best=0.7) == pytest.approx(0.5)
    assert trajectory_quality(0.6, even=0.6, best=0.6) is None
