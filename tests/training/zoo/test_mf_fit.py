"""Matrix factorisation finds the factors that made the outcomes."""

import numpy as np
import pytest

from policies.zoo.sigmoid import sigmoid
from training.zoo.likelihood import log_loss, minimise
from training.zoo.mf import Factors, FactorSettings, descend, fit_factors


def made(n: int = 1500, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """z, outcomes, and the chances that made them: two directions of z, four arms."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 6))
    chance = sigmoid(z[:, :2] @ np.array([[2.0, -2.0, 0.0, 1.0], [0.0, 1.0, -2.0, 1.0]]) + np.array([0.5, 0, 0, -1]))
    return z, (rng.random(chance.shape) < chance).astype(np.float64), chance


def test_the_chances_that_made_the_outcomes_are_recovered() -> None:
    z, scores, chance = made()
    factors, _ = fit_factors(z, scores, FactorSettings(rank=4))
    fresh, _, truth = made(seed=1)
    assert np.corrcoef(factors.quality(fresh).ravel(), truth.ravel())[0, 1] > 0.98
    assert np.abs(factors.quality(z) - chance).mean() < 0.04


def test_without_features_the_quality_is_each_arms_mean() -> None:
    _, scores, _ = made(400)
    fitted = descend(start_at(scores), np.zeros((400, 6)), scores, penalty=1.0, n_steps=50)
    assert fitted.quality(np.zeros((1, 6)))[0] == pytest.approx(scores.mean(axis=0), abs=1e-4)


def test_a_missing_outcome_is_no_wrong_answer() -> None:
    z, scores, _ = made()
    holes = scores.copy()
    holes[np.random.default_rng(2).random(scores.shape) < 0.5] = np.nan
    factors, _ = fit_factors(z, holes, FactorSettings(rank=4))
    assert factors.quality(z).mean(axis=0) == pytest.approx(scores.mean(axis=0), abs=0.04)


def test_a_stronger_penalty_gives_smaller_factors() -> None:
    z, scores, _ = made(400)
    sizes = []
    for penalty in (1.0, 30.0, 1e4):
        fitted = descend(start_at(scores), z, scores, penalty=penalty, n_steps=80)
        sizes.append(float(np.linalg.norm(fitted.query @ fitted.arm.T)))
    assert sizes[0] > sizes[1] > sizes[2]
    assert sizes[2] < 1e-2


def test_the_same_seed_gives_the_same_bytes() -> None:
    z, scores, _ = made(300)
    one, two = (fit_factors(z, scores, FactorSettings(rank=4, seed=3))[0] for _ in range(2))
    assert one.flat().tobytes() == two.flat().tobytes()


def test_the_minimiser_finds_a_known_minimum() -> None:
    found = minimise(lambda x: (float(((x - 3.0) ** 2).sum()), 2.0 * (x - 3.0)), np.zeros(2), n_steps=50)
    assert found == pytest.approx([3.0, 3.0], abs=1e-5)


def test_the_log_loss_of_a_coin_is_log_two() -> None:
    scores = np.array([[1.0, np.nan], [0.0, 1.0]])
    assert log_loss(np.full((2, 2), 0.5), scores) == pytest.approx(np.log(2.0))


def start_at(scores: np.ndarray) -> Factors:
    rng = np.random.default_rng(0)
    return Factors(rng.normal(scale=0.1, size=(6, 4)), rng.normal(scale=0.3, size=(scores.shape[1], 4)), np.zeros(4))
