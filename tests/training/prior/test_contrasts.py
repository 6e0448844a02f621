"""The blend is believed as far as held-out rows bear it out, direction by direction."""

import numpy as np
import pytest

from training.prior.contrasts import fit_contrasts, shrunk_slope


def test_an_exact_prediction_is_kept_whole() -> None:
    x = np.random.default_rng(0).normal(size=200)
    assert shrunk_slope(x, x) == pytest.approx(1.0)


def test_a_slope_is_shrunk_by_its_own_error() -> None:
    x = np.array([-1.0, 1.0] * 50)
    y = 0.5 * x + np.tile([0.5, 0.5, -0.5, -0.5], 25)  # slope .5, residual energy 25, Σx² = 100
    error = 25.0 / 98 / 100
    assert shrunk_slope(x, y) == pytest.approx(0.5 * (1 - error / 0.25))


def test_no_contrast_is_believed_beyond_what_was_said() -> None:
    x = np.random.default_rng(0).normal(size=200)
    assert shrunk_slope(x, 1.7 * x) == 1.0


@pytest.mark.parametrize(("predicted", "found"), [(np.ones(9), np.arange(9.0)), (np.arange(2.0), np.arange(2.0))])
def test_what_cannot_be_judged_is_not_believed(predicted: np.ndarray, found: np.ndarray) -> None:
    assert shrunk_slope(predicted, found) == 0.0


def test_a_prediction_that_points_the_wrong_way_is_dropped_not_turned_round() -> None:
    x = np.random.default_rng(1).normal(size=100)
    assert shrunk_slope(x, -x) == 0.0


def test_noise_leaves_the_means_alone() -> None:
    rng = np.random.default_rng(2)
    blend, scores = rng.normal(size=(4_000, 3)), rng.normal(loc=[0.2, 0.5, 0.6], size=(4_000, 3))
    contrasts = fit_contrasts(blend, scores)
    moved = contrasts.means + (blend - contrasts.centre) @ contrasts.slopes - scores.mean(axis=0)
    assert np.sqrt((moved**2).mean()) < 0.05  # three slopes of standard error 1/√4000 = .016


def test_a_direction_that_carries_noise_is_shrunk_and_the_one_that_carries_signal_is_kept() -> None:
    rng, n = np.random.default_rng(3), 2_000
    strong, weak = rng.normal(size=n), rng.normal(size=n)
    first, second = np.array([1.0, -1.0, 0.0]) / 2**0.5, np.array([1.0, 1.0, -2.0]) / 6**0.5
    blend = np.outer(0.2 * strong, first) + np.outer(0.1 * weak, second)
    scores = 0.5 + np.outer(0.2 * strong, first) + rng.normal(scale=0.1, size=(n, 3))
    contrasts = fit_contrasts(blend, scores)
    assert first @ contrasts.slopes @ first == pytest.approx(1.0, abs=0.05)
    assert second @ contrasts.slopes @ second == pytest.approx(0.0, abs=0.05)


def test_calibrated_scores_are_probabilities() -> None:
    blend = np.array([[0.0, 1.0], [1.0, 0.0], [0.9, 0.1], [0.1, 0.9]])
    calibrated = fit_contrasts(blend, blend)(5.0 * blend)
    assert calibrated.min() >= 0.0
    assert calibrated.max() <= 1.0
