from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="fitting encoders needs torch: pip install 'gearshift[encoder]'")

from training.encoder.fit_outcomes import OutcomeSettings, blended_teacher, fit_on_outcomes
from training.encoder.fit_static import StaticSettings, fit_static
from training.encoder.weights import EncoderFitError

SEEN, UNSEEN = slice(0, 400), slice(400, 500)


@pytest.fixture(scope="module")
def scores(language) -> np.ndarray:
    """Arm 0 is right on even topics and arm 1 on odd ones, each with probability .9."""
    even = language.topics % 2 == 0
    lucky = np.random.default_rng(1).random((500, 2)) < 0.9
    return (np.stack([even, ~even], axis=1) == lucky).astype(np.float64)


@pytest.fixture(scope="module")
def fitted(language):
    return fit_static(language.bags(SEEN), language.teacher[SEEN], language.start, StaticSettings(epochs=4)).weights


def gap(embeddings: np.ndarray, topics: np.ndarray) -> float:
    """Mean similarity of prompts that the same arm answers less that of prompts that different arms answer."""
    same = (topics[:, None] - topics[None]) % 2 == 0
    similar = embeddings @ embeddings.T
    return float(similar[same].mean() - similar[~same].mean())


def test_outcomes_draw_unseen_prompts_of_one_arm_together(language, scores, fitted) -> None:
    settings = OutcomeSettings(epochs=8, batch=32, learning_rate=1e-2, outcome_weight=2.0)
    tuned = fit_on_outcomes(language.bags(SEEN), language.teacher[SEEN], scores[SEEN], fitted, settings)
    before, after = (
        gap(each.embed(language.bags(UNSEEN)), language.topics[UNSEEN]) for each in (fitted, tuned.weights)
    )
    assert after > before + 0.1
    assert min(tuned.aside_losses) < tuned.aside_losses[0]


def test_it_stops_when_the_prompts_set_aside_say_so(language, fitted) -> None:
    noise = (np.random.default_rng(3).random((400, 3)) < 0.5).astype(np.float64)
    settings = OutcomeSettings(epochs=30, learning_rate=1e-2, outcome_weight=5.0)
    losses = fit_on_outcomes(language.bags(SEEN), language.teacher[SEEN], noise, fitted, settings).aside_losses
    assert len(losses) < 31
    assert losses[-1] >= min(losses[:-1])


def test_the_same_seed_gives_the_same_weights(language, scores, fitted) -> None:
    settings = OutcomeSettings(epochs=2)
    one, other = (
        fit_on_outcomes(language.bags(SEEN), language.teacher[SEEN], scores[SEEN], fitted, settings) for _ in range(2)
    )
    assert np.array_equal(one.weights.vectors, other.weights.vectors)


@pytest.mark.parametrize("wrong", [np.zeros((399, 2)), np.full((400, 2), 1.5), np.full((400, 2), np.nan)])
def test_scores_that_do_not_fit_are_refused(language, fitted, wrong: np.ndarray) -> None:
    with pytest.raises(EncoderFitError, match="one row of 0"):
        fit_on_outcomes(language.bags(SEEN), language.teacher[SEEN], wrong, fitted)


def test_an_encoder_of_another_size_than_the_teacher_is_refused(language, scores, fitted) -> None:
    wide = replace(fitted, map_to_dim=np.zeros((16, 7), np.float32))
    with pytest.raises(EncoderFitError, match="a teacher of 12 numbers for an encoder of 7"):
        fit_on_outcomes(language.bags(SEEN), language.teacher[SEEN], scores[SEEN], wide)


def test_a_blended_teacher_holds_the_teacher_and_what_it_predicts(language, scores) -> None:
    blended = blended_teacher(language.teacher, language.teacher, scores, weight=0.7)
    np.testing.assert_allclose(np.linalg.norm(blended, axis=1), 1.0, atol=1e-5)
    first = blended[:, :12] / np.linalg.norm(blended[:, :12], axis=1, keepdims=True)
    np.testing.assert_allclose(first, language.teacher, atol=1e-5)
    right = (blended[:, 12] > blended[:, 13]) == (language.topics % 2 == 0)
    assert right.mean() > 0.7


def test_no_target_holds_its_own_prompts_outcome(language, scores) -> None:
    changed = scores.copy()
    changed[0] = 1.0 - changed[0]
    same, other = (blended_teacher(language.teacher, language.teacher, each)[0, 12:] for each in (scores, changed))
    one, two = (each / np.linalg.norm(each) for each in (same, other))
    np.testing.assert_allclose(one, two, atol=1e-6)  # its length follows the others', its direction is untouched
