"""Item response theory recovers abilities and difficulty, and lets kin arms share strength."""

import numpy as np
import pytest

from policies.arms import Arm
from policies.zoo.sigmoid import log_odds, sigmoid
from training.zoo.irt import ResponseSettings, _cross_entropy, _gradient, _prior, _start, fit_responses
from training.zoo.kinship import effort_rank, kinship, strangers

SETTINGS = ResponseSettings(n_abilities=2, penalties=(3.0, 30.0), floors=(0.0,))
EFFORTS = tuple(Arm("m", "reasoning", effort) for effort in ("low", "medium", "high"))


def made(strength: np.ndarray, n: int = 1500, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """z, outcomes and the difficulty that made them."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 5))
    difficulty = 1.2 * z[:, 0] - 0.6 * z[:, 1]
    chance = sigmoid(strength - difficulty[:, None])
    return z, (rng.random(chance.shape) < chance).astype(np.float64), difficulty


def test_strengths_and_difficulty_are_recovered() -> None:
    truth = np.array([-1.0, -0.3, 0.4, 1.5])
    z, scores, difficulty = made(truth)
    fitted, _ = fit_responses(z, scores, kin=strangers(4), settings=SETTINGS)
    assert np.corrcoef(z @ fitted.difficulty, difficulty)[0, 1] > 0.97
    assert fitted.ability[:, 0] == pytest.approx(truth, abs=0.2)


def test_without_features_the_quality_is_each_arms_mean() -> None:
    _, scores, _ = made(np.array([-0.5, 0.5]), 800)
    fitted, _ = fit_responses(np.zeros((800, 5)), scores, kin=strangers(2), settings=SETTINGS)
    assert fitted.quality(np.zeros((1, 5)))[0] == pytest.approx(scores.mean(axis=0), abs=0.01)


def test_the_guessing_floor_that_made_the_outcomes_is_chosen() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(4000, 5))
    chance = 0.25 + 0.75 * sigmoid(np.array([-1.0, 0.0]) - 4.0 * z[:, :1])
    scores = (rng.random(chance.shape) < chance).astype(np.float64)
    settings = ResponseSettings(n_abilities=1, penalties=(1.0,), floors=(0.0, 0.25))
    fitted, _ = fit_responses(z, scores, kin=strangers(2), settings=settings)
    assert fitted.floor == 0.25
    assert (fitted.quality(z) >= 0.25).all()


def test_an_effort_with_few_rows_is_nearer_the_truth_when_kin_share_strength() -> None:
    truth, shared, alone = np.array([0.8, 1.0, 1.2]), [], []
    for seed in range(8):
        z, scores, _ = made(truth, 400, seed=seed)
        scores[20:, 2] = np.nan  # the high effort was tried on 20 queries only
        for kin, missed in ((kinship(EFFORTS), shared), (strangers(3), alone)):
            fitted, _ = fit_responses(z, scores, kin=kin, settings=SETTINGS)
            missed.append(abs(float(fitted.ability[2, 0]) - truth[2]))
    assert np.mean(shared) < np.mean(alone)


def test_more_effort_is_not_taken_for_weaker_on_the_word_of_few_answers() -> None:
    z, scores, _ = made(np.array([0.5, 0.5, 0.5]), 300)
    scores[12:, 2], scores[:12, 2] = np.nan, 0.0  # twelve wrong answers in a row
    fitted, _ = fit_responses(z, scores, kin=kinship(EFFORTS), settings=SETTINGS)
    low, medium, high = fitted.ability[:, 0]
    assert high > min(low, medium) - 0.2
    free, _ = fit_responses(z, scores, kin=strangers(3), settings=SETTINGS)
    assert free.ability[2, 0] < high - 1.0


@pytest.mark.parametrize("floor", [0.0, 0.2])
def test_the_gradient_is_the_slope_of_the_objective(floor: float) -> None:
    z, scores, _ = made(np.array([0.2, 0.8, 0.1]), 60)
    at = _start(5, scores, kin=kinship(EFFORTS), floor=floor, settings=SETTINGS)
    flat = at.flat() + 0.1 * np.random.default_rng(0).normal(size=at.flat().size)

    def value(x: np.ndarray) -> float:
        here = at.like(x)
        loss = _cross_entropy(here.logits(z), scores, np.ones_like(scores), floor=floor)[0]
        return loss + _prior(here, penalty=2.0, share=0.3)[0]

    here = at.like(flat)
    pull = _cross_entropy(here.logits(z), scores, np.ones_like(scores), floor=floor)[1]
    slope = _gradient(here, z, pull).flat() + _prior(here, penalty=2.0, share=0.3)[1].flat()
    steps = np.eye(len(flat)) * 1e-5
    numeric = np.array([(value(flat + step) - value(flat - step)) / 2e-5 for step in steps])
    assert slope == pytest.approx(numeric, rel=1e-4, abs=1e-4)


def test_kin_are_modes_of_a_model_and_efforts_of_a_mode() -> None:
    arms = (*EFFORTS, Arm("m", "instant"), Arm("other", "instant"))
    kin = kinship(arms)
    assert kin.ordered == ((0, 1), (1, 2))
    # Effects: two models, two modes of m, three efforts.
    assert kin.members.sum(axis=0).tolist() == [4, 1, 3, 1, 1, 1, 1]
    assert kin.members.sum(axis=1).tolist() == [3, 3, 3, 2, 1]


def test_budgets_are_ordered_among_themselves_and_unknown_efforts_by_nothing() -> None:
    arms = (Arm("m", "reasoning", "8000"), Arm("m", "reasoning", "1000"), Arm("m", "reasoning", "low"))
    assert kinship(arms).ordered == ((1, 0),)
    assert effort_rank("") is None


def test_log_odds_and_sigmoid_are_inverse() -> None:
    logits = np.linspace(-8.0, 8.0, 9)
    assert log_odds(sigmoid(logits)) == pytest.approx(logits, abs=1e-6)
    assert sigmoid(np.array([-1e4, 1e4])).tolist() == [0.0, 1.0]
