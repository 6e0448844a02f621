"""Ridge of every arm at once: against one dense solve, and what it finds in small worlds."""

import numpy as np
import pytest

from training.logged.grams import Grams
from training.logged.shared_ridge import APART, SHARED, Prior, fit_shared_ridge, left_out, likeliest, solve


def logged(
    n: int, *, shared: float, apart: float, arms: int = 3, d: int = 6, noise: float = 0.5, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Features with a 1 first, actions, targets (n, 1), and the true weights of every arm (arms, d)."""
    rng = np.random.default_rng(seed)
    features = np.hstack([np.ones((n, 1)), rng.normal(size=(n, d - 1))])
    weights = shared * rng.normal(size=d) + apart * rng.normal(size=(arms, d))
    action = rng.integers(0, arms, size=n)
    targets = np.einsum("nd,nd->n", features, weights[action]) + noise * rng.normal(size=n)
    return features, action, targets[:, None], weights


def grams_of(features: np.ndarray, action: np.ndarray, targets: np.ndarray, arms: int = 3) -> Grams:
    found = Grams.empty(n_arms=arms, n_features=features.shape[1], n_targets=targets.shape[1])
    found.add(features, action, targets)
    return found


def test_it_is_the_ridge_of_shared_and_own_features_side_by_side() -> None:
    features, action, targets, _ = logged(200, shared=1.0, apart=0.3)
    prior = Prior(0.3, 0.03)
    own, common = prior.precisions(6)
    wide = np.hstack([features, *(features * (action == arm)[:, None] for arm in range(3))])
    dense = np.linalg.solve(wide.T @ wide + np.diag(np.concatenate([common, own, own, own])), wide.T @ targets[:, 0])
    expected = dense[:6] + dense[6:].reshape(3, 6)
    assert solve(grams_of(features, action, targets), 0, prior).weights == pytest.approx(expected, abs=1e-6)


def test_the_evidence_is_the_likelihood_of_the_targets_up_to_what_all_priors_share() -> None:
    """Against the density of a normal with covariance σ²(I + wide Λ⁻¹ wideᵀ) at the noise that fits best."""
    features, action, targets, _ = logged(80, shared=1.0, apart=0.3)
    sums = grams_of(features, action, targets)
    wide = np.hstack([features, *(features * (action == arm)[:, None] for arm in range(3))])

    def log_density(prior: Prior) -> float:
        own, common = prior.precisions(6)
        covariance = np.eye(80) + (wide / np.concatenate([common, own, own, own])) @ wide.T
        fit = float(targets[:, 0] @ np.linalg.solve(covariance, targets[:, 0])) / 80
        return -0.5 * (80 * np.log(fit) + float(np.linalg.slogdet(covariance)[1]))

    one, other = Prior(0.3, 0.03), Prior(0.01, 0.003)
    found = solve(sums, 0, one).evidence - solve(sums, 0, other).evidence
    assert found == pytest.approx(log_density(one) - log_density(other), rel=1e-4)


def test_arms_that_do_not_differ_are_given_no_room_to() -> None:
    alike = grams_of(*logged(3_000, shared=0.5, apart=0.0)[:3])
    apart = grams_of(*logged(3_000, shared=0.5, apart=0.5)[:3])
    assert likeliest(alike)[0].apart == APART[0]
    assert likeliest(apart)[0].apart > 10 * APART[0]
    assert likeliest(apart)[0].shared in SHARED


def test_what_all_arms_share_is_learned_from_all_rounds() -> None:
    features, action, targets, weights = logged(90, shared=1.0, apart=0.05)
    alone = []
    for arm in range(3):
        rows = action == arm
        alone.append(np.linalg.lstsq(features[rows], targets[rows, 0], rcond=None)[0])
    together = fit_shared_ridge(grams_of(features, action, targets)).weights[:, :, 0]
    assert ((together - weights) ** 2).mean() < 0.8 * ((np.array(alone) - weights) ** 2).mean()


def test_doubt_is_large_where_an_arm_was_hardly_tried() -> None:
    features, action, targets, _ = logged(900, shared=0.5, apart=0.3)
    kept = (action != 2) | (np.arange(900) < 30)
    model = fit_shared_ridge(grams_of(features[kept], action[kept], targets[kept]))
    doubt = model.doubt(features[:50])
    assert (doubt[:, 2] > 1.5 * doubt[:, 0]).all()


def test_an_arm_that_was_never_tried_is_expected_to_be_like_the_others() -> None:
    features, action, targets, _ = logged(900, shared=0.5, apart=0.0)
    kept = action != 2
    model = fit_shared_ridge(grams_of(features[kept], action[kept], targets[kept]))
    said = model(features)[:, :, 0]
    assert said[:, 2] == pytest.approx(said[:, :2].mean(axis=1), abs=0.1)


def test_sums_add_up_over_chunks_and_leave_parts_out() -> None:
    features, action, targets, _ = logged(300, shared=1.0, apart=0.3)
    parts = [grams_of(features[i::3], action[i::3], targets[i::3]) for i in range(3)]
    whole = sum(parts[1:], parts[0])
    assert whole.products == pytest.approx(grams_of(features, action, targets).products)
    rest = np.arange(300) % 3 != 0
    assert left_out(parts)[0].targets == pytest.approx(grams_of(features[rest], action[rest], targets[rest]).targets)


def test_targets_fitted_apart_are_those_fitted_together() -> None:
    features, action, targets, _ = logged(200, shared=1.0, apart=0.3)
    both = grams_of(features, action, np.hstack([targets, targets**2]))
    together, apart = fit_shared_ridge(both), [fit_shared_ridge(both.of(slice(i, i + 1))) for i in range(2)]
    joined = apart[0].beside(apart[1])
    assert joined(features) == pytest.approx(together(features))
    assert joined.doubt(features) == pytest.approx(together.doubt(features))
    assert joined.priors == together.priors


def test_a_weight_is_a_target_seen_so_often_but_of_one_round() -> None:
    features, action, targets, _ = logged(100, shared=1.0, apart=0.3)
    weighted, twice = (Grams.empty(n_arms=3, n_features=6, n_targets=1) for _ in range(2))
    weighted.add(features, action, targets, np.full(100, 2.0))
    for _ in range(2):
        twice.add(features, action, targets)
    for name in ("products", "targets", "squares"):
        assert getattr(weighted, name) == pytest.approx(getattr(twice, name))
    assert 2 * weighted.counts == pytest.approx(twice.counts)


def test_the_noise_is_that_of_a_target_of_weight_one() -> None:
    """Nine of ten targets scatter four times as far, and count a sixteenth; all count, and none tells too much."""
    features, action, targets, weights = logged(4_000, shared=0.5, apart=0.3, noise=0.5)
    noisy = np.arange(4_000) % 10 > 0
    extra = np.where(noisy, 0.5 * 15**0.5, 0.0) * np.random.default_rng(1).normal(size=4_000)
    grams, alone = (Grams.empty(n_arms=3, n_features=6, n_targets=1) for _ in range(2))
    grams.add(features, action, targets + extra[:, None], np.where(noisy, 1 / 16, 1.0))
    alone.add(features[~noisy], action[~noisy], targets[~noisy])
    model, few = fit_shared_ridge(grams), fit_shared_ridge(alone)
    assert model.noise[0] == pytest.approx(0.25, rel=0.1)
    assert (model.doubt(features[:50]) < few.doubt(features[:50])).all()
    assert ((model.weights - weights[:, :, None]) ** 2).mean() < ((few.weights - weights[:, :, None]) ** 2).mean()
