"""Offsets are a Gaussian posterior: nothing seen is nothing added, much seen is the mean of what was seen."""

import numpy as np
import pytest

from policies.zoo.offsets import Offsets

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


def test_a_tenants_own_offset_adds_to_everybodys() -> None:
    both = seen(8.0, 16.0)
    sums, counts = (np.concatenate([part, part]) for part in (both.sums, both.counts))
    two = Offsets(CELLS, sums, counts, np.repeat(both.prior_sd, 2, axis=0), both.noise_sd)
    assert two.mean(np.array([0]), scope=1)[0, 1] == pytest.approx(0.5)


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
    ],
)
def test_a_state_that_cannot_be_is_refused(part: str, values: np.ndarray, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Offsets.from_tensors(seen(0.1, 3.0).tensors() | {f"offsets.{part}": values}, n_landmarks=3)
