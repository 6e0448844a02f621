"""Every comparison bandit gives a distribution over what is eligible, and finds the better of two arms."""

from collections.abc import Callable

import numpy as np
import pytest

from training.bandits.base import Bandit
from training.bandits.linear import LinTS, LinUCB, Ucb

DIM, M = 4, 3
MAKERS: dict[str, Callable[[], Bandit]] = {
    "linucb": lambda: LinUCB(DIM, M),
    "thompson": lambda: LinTS(DIM, M),
    "ucb": lambda: Ucb(M),
}


def play(bandit: Bandit, *, n: int, seed: int = 0) -> float:
    """Share of the better arm in the last half: arm 1 is right with .7, arm 0 with .4, arm 2 is never eligible."""
    rng, eligible, better = np.random.default_rng(seed), np.array([1.0, 1.0, 0.0]), 0
    for at in range(n):
        context = np.append(rng.normal(size=DIM - 1), 1.0)
        dist = bandit.action_dist(context, eligible)
        assert dist.sum() == pytest.approx(1.0)
        assert dist[2] == 0.0
        action = int(rng.choice(M, p=dist))
        bandit.update_params(action, float(rng.random() < (0.4, 0.7, 0.0)[action]), context)
        better += at >= n // 2 and action == 1
    return better / (n - n // 2)


@pytest.mark.parametrize("name", MAKERS)
def test_the_better_arm_is_found(name: str) -> None:
    assert play(MAKERS[name](), n=1_500) > 0.75


def test_paretobandit_plays_by_the_same_protocol() -> None:
    pytest.importorskip("pareto_bandit")
    from training.bandits.paretobandit import ParetoBandit

    assert play(ParetoBandit(DIM, M, seed=0), n=800) > 0.6


def test_the_inverse_stays_the_inverse() -> None:
    bandit, rng = LinUCB(DIM, 1), np.random.default_rng(0)
    gram = np.linalg.inv(bandit.A_inv[0])
    for _ in range(50):
        context = rng.normal(size=DIM)
        bandit.update_params(0, 1.0, context)
        gram += np.outer(context, context)
    assert bandit.A_inv[0] @ gram == pytest.approx(np.eye(DIM), abs=1e-9)


@pytest.mark.parametrize("name", MAKERS)
def test_one_eligible_arm_is_taken(name: str) -> None:
    assert MAKERS[name]().action_dist(np.ones(DIM), np.array([0.0, 0.0, 1.0])).tolist() == [0.0, 0.0, 1.0]
