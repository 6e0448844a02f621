"""Offsets are a Gaussian posterior: nothing seen is nothing added, much seen is the mean of what was seen."""

import numpy as np
import pytest

from policies.zoo.offsets import Offsets
from policies.zoo.posterior import joint_posterior, related

OLD_PARTS = ("cells", "sums", "counts", "prior_sd", "noise_sd")
CELLS = np.array([0, 0, 1], np.int32)


def seen(sums: float, counts: float, *, prior_sd: float = 0.1, noise_sd: float = 0.4) -> Offsets:
    fresh = Offsets.fresh(CELLS, prior_sd=np.full(2, prior_sd), noise_sd=np.full(2, noise_sd))
    fresh.sums[0, 1, 0], fresh.counts[0, 1, 0] = sums, counts
    return fresh


def test_a_fresh_state_adds_nothing_and_doubts_as_its_prior() -> None:
    fresh = Offsets.fresh(CELLS, prior_sd=np.array([0.1, 0.2]), noise_sd=np.array([0.4, 0.4]))
    assert (fresh.mean(np.array([0, 1])) == 0).all()
    assert fresh.variance(np.array([1]))[0] == pytest.approx([0.01, 0.04])


def test_the_posterior_is_the_closed_form_of_normal_prior_and_noise() -> None:
    offsets = seen(8.0, 16.0)  # sixteen residuals of mean .5; noise²/prior² = 16
    assert offsets.mean(np.array([0]))[0] == pytest.approx([0.0, 8.0 / 32.0])
    assert offsets.variance(np.array([0]))[0, 1] == pytest.approx(0.16 / 32.0)
    assert offsets.mean(np.array([1]))[0, 1] == 0.0


def test_without_a_prior_spread_nothing_seen_moves_it() -> None:
    assert seen(8.0, 16.0, prior_sd=0.0).mean(np.array([0]))[0, 1] == 0.0


def test_a_tenants_own_offset_is_what_it_shows_beyond_everybodys() -> None:
    two = seen(8.0, 16.0).with_scope(arm_sd=0.0, cell_sd=0.1)
    assert (two.mean(np.array([0]), scope=1) == two.mean(np.array([0]))).all()  # nothing of its own yet
    two.sums[1, 1, 0], two.counts[1, 1, 0] = 8.0, 16.0  # the same residuals; everybody's mean offset is .25
    assert two.mean(np.array([0]), scope=1)[0, 1] == pytest.approx(0.25 + (8.0 - 16.0 * 0.25) / 32.0)
    assert two.variance(np.array([0]), scope=1)[0, 1] == pytest.approx(2 * 0.16 / 32.0)


def test_what_an_arm_shows_in_one_cell_is_believed_in_all_by_its_own_part() -> None:
    """Closed form: cell means are N(arm, .1² + .4²/16), so the arm's part is 8 / 32 shrunk by .05²/(.05² + .02)."""
    offsets = seen(8.0, 16.0).warmed(answers=64.0, shared=(0.0, 0.0))  # arm_sd = .4 / 8
    arm = 0.5 * 0.05**2 / (0.05**2 + 0.1**2 + 0.16 / 16)
    assert offsets.mean(np.array([1]))[0] == pytest.approx([0.0, arm])
    assert offsets.mean(np.array([0]))[0, 1] == pytest.approx(arm + 0.5 * (0.5 - arm))


def test_the_posterior_is_that_of_all_offsets_as_one_gaussian() -> None:
    """Against the textbook: (prior precision + observed precision)⁻¹ over every arm and cell at once."""
    rng, m, k = np.random.default_rng(0), 3, 4
    sums, counts = rng.normal(size=(m, k)), rng.integers(0, 9, size=(m, k)).astype(float)
    noise = np.array([0.3, 0.4, 0.5])
    of_arms = related(np.array([0.1, 0.2, 0.05]), shared=0.6, apart=np.array([0.0, 0.3, 0.0]))
    of_cells = related(np.array([0.1, 0.05, 0.2]), shared=0.4)
    found = joint_posterior(sums, counts, of_arms=of_arms, of_cells=of_cells, noise_sd=noise)
    prior = np.kron(np.ones((k, k)), of_arms) + np.kron(np.eye(k), of_cells)  # cell by cell, its arms beside each other
    precision = np.diag((counts / noise[:, None] ** 2).T.ravel())
    covariance = np.linalg.inv(np.linalg.inv(prior) + precision)
    mean = covariance @ (sums / noise[:, None] ** 2).T.ravel()
    assert found.mean.ravel() == pytest.approx(mean, abs=1e-10)
    for cell in range(k):
        rows = slice(cell * m, (cell + 1) * m)
        assert found.covariance[cell] == pytest.approx(covariance[rows, rows], abs=1e-10)


def test_arms_that_share_an_error_learn_from_each_other() -> None:
    apart, alike = (seen(8.0, 16.0).warmed(answers=100.0, shared=(share, share)) for share in (0.0, 0.8))
    assert apart.mean(np.array([0]))[0, 0] == 0.0
    assert alike.mean(np.array([0]))[0, 0] > 0.5 * alike.mean(np.array([0]))[0, 1] > 0.0


def test_an_artifact_from_before_the_arms_own_part_serves_as_it_did() -> None:
    old = {name: values for name, values in seen(8.0, 16.0).tensors().items() if name.split(".")[1] in OLD_PARTS}
    loaded = Offsets.from_tensors(old, n_landmarks=3)
    assert loaded.mean(np.array([0]))[0] == pytest.approx([0.0, 8.0 / 32.0])
    assert loaded.mean(np.array([1]))[0, 1] == 0.0


def test_the_state_survives_an_artifact_to_the_bit() -> None:
    tensors = seen(0.1, 3.0).tensors()
    again = Offsets.from_tensors(tensors, n_landmarks=3)
    assert all((again.tensors()[name] == values).all() for name, values in tensors.items())


@pytest.mark.parametrize(
    ("part", "values", "complaint"),
    [
        ("counts", np.full((1, 2, 2), -1.0), "must not be negative"),
        ("cells", np.array([0, 7, 1], np.int32), "outside 0..1"),
        ("noise_sd", np.zeros(2), "must be positive"),
        ("prior_sd", np.zeros((1, 3)), "has shape"),
        ("doubt_sd", np.zeros(3), "has shape"),
        ("shared", np.full(2, 1.5), "must lie in 0..1"),
    ],
)
def test_a_state_that_cannot_be_is_refused(part: str, values: np.ndarray, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Offsets.from_tensors(seen(0.1, 3.0).tensors() | {f"offsets.{part}": values}, n_landmarks=3)
