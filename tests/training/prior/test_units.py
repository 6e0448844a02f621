"""The hidden units of what serves: several small nets, of which only the layers are kept."""

import numpy as np
import pytest

from training.prior.units import UnitSettings, fit_units
from training.zoo.adam import AdamSettings

SETTINGS = UnitSettings(width=24, n_nets=3, dropout=0.0, adam=AdamSettings(rate=1e-2, n_epochs=20))


def made(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (n, 4) and a target (n, 1) that no line in them reads: a bend in the first."""
    inputs = np.random.default_rng(3).normal(size=(n, 4))
    return inputs, np.abs(inputs[:, :1]) - np.abs(inputs[:, :1]).mean()


def active(inputs: np.ndarray, hidden: np.ndarray, offset: np.ndarray) -> np.ndarray:
    return np.maximum(inputs @ hidden + offset, 0.0)


def unexplained(features: np.ndarray, targets: np.ndarray) -> float:
    """Share of the targets' variance that a line in the features of the first half misses in the second."""
    wide, half = np.column_stack([features, np.ones(len(features))]), len(features) // 2
    weights = np.linalg.lstsq(wide[:half], targets[:half], rcond=None)[0]
    return float(((wide[half:] @ weights - targets[half:]) ** 2).mean() / targets[half:].var())


def test_a_line_in_the_units_reads_what_a_line_in_the_inputs_cannot() -> None:
    inputs, targets = made(2_000)
    assert unexplained(inputs, targets) > 0.95
    assert unexplained(active(inputs, *fit_units(inputs, targets, SETTINGS)), targets) < 0.1


def test_all_nets_together_vary_as_one_feature() -> None:
    inputs, targets = made(1_000)
    hidden, offset = fit_units(inputs, targets, SETTINGS)
    assert (hidden.shape, offset.shape) == ((4, 72), (72,))
    assert hidden.dtype == offset.dtype == np.float64
    assert active(inputs, hidden, offset).std(axis=0).mean() * 72**0.5 == pytest.approx(1.0, abs=0.01)


def test_nets_differ_from_one_another_and_the_same_seed_gives_the_same_bytes() -> None:
    inputs, targets = made(500)
    one, two = (fit_units(inputs, targets, SETTINGS)[0] for _ in range(2))
    assert one.tobytes() == two.tobytes()
    assert not np.allclose(one[:, :24], one[:, 24:48])
