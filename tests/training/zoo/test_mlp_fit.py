"""The net's gradient is right, three nets are one, and it learns what a line cannot."""

from dataclasses import replace

import numpy as np
import pytest

from policies.zoo.sigmoid import log_odds, sigmoid
from training.zoo.adam import AdamSettings, walk
from training.zoo.likelihood import log_loss
from training.zoo.mlp import NetSettings, fit_nets, net_gradient, quality

SMALL = NetSettings(width=24, n_nets=2, dropout=0.1, adam=AdamSettings(rate=1e-2, n_epochs=40))


def made(n: int = 1200) -> tuple[np.ndarray, np.ndarray]:
    """Each arm is right where the signs of two numbers agree, or differ: no line tells."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(n, 3))
    agree = z[:, 0] * z[:, 1] > 0
    chance = np.column_stack([np.where(agree, 0.95, 0.05), np.where(agree, 0.05, 0.95)])
    return z, (rng.random(chance.shape) < chance).astype(np.float64)


def test_it_learns_what_no_line_can() -> None:
    z, scores = made()
    weights, _ = fit_nets(z[:900], scores[:900], SMALL)
    assert log_loss(quality(weights, z[900:]), scores[900:]) < 0.5  # a coin has 0.69


def test_the_wide_net_is_the_mean_of_the_logits() -> None:
    z, scores = made(300)
    folded, _ = fit_nets(z, scores, replace(SMALL, seed=0))
    one = {"hidden": folded["hidden"][:, :24], "hidden_offset": folded["hidden_offset"][:24]}
    two = {"hidden": folded["hidden"][:, 24:], "hidden_offset": folded["hidden_offset"][24:]}
    one |= {"out": folded["out"][:24] * 2, "out_offset": folded["out_offset"]}
    two |= {"out": folded["out"][24:] * 2, "out_offset": folded["out_offset"]}
    mean = 0.5 * (log_odds(quality(one, z)) + log_odds(quality(two, z)))
    assert log_odds(quality(folded, z)) == pytest.approx(mean, abs=1e-6)


def test_the_gradient_is_the_slope_of_the_loss() -> None:
    rng = np.random.default_rng(0)
    z, values, known = rng.normal(size=(5, 3)), rng.random((5, 2)), np.array([[1.0, 0.0], *[[1.0, 1.0]] * 4])
    at = {"hidden": rng.normal(size=(3, 4)), "hidden_offset": rng.normal(size=4)}
    at |= {"out": rng.normal(size=(4, 2)), "out_offset": rng.normal(size=2)}
    kept = np.full((5, 4), 1.0)

    def loss(weights: dict[str, np.ndarray]) -> float:
        p = quality(weights, z)
        return float(-(known * (values * np.log(p) + (1 - values) * np.log(1 - p))).sum() / 5)

    slope = net_gradient(at, z, values, known, kept=kept)
    for name, array in at.items():
        for index in np.ndindex(array.shape):
            step = np.zeros_like(array)
            step[index] = 1e-6
            numeric = (loss(at | {name: array + step}) - loss(at | {name: array - step})) / 2e-6
            assert slope[name][index] == pytest.approx(numeric, rel=1e-4, abs=1e-6)


def test_the_walk_keeps_the_best_weights_and_stops_when_nothing_gets_better() -> None:
    seen: list[float] = []

    def judge(at: dict[str, np.ndarray]) -> float:
        seen.append(float(at["x"][0]))
        return abs(seen[-1] - 0.5)

    start, rows = {"x": np.zeros(1)}, np.arange(10)
    settings = AdamSettings(rate=0.1, n_epochs=100, patience=3)
    best, least, _ = walk(
        start, rows, gradient=lambda at, batch: {"x": -np.ones(1)}, judge=judge, settings=settings, seed=0
    )
    assert least == min(abs(x - 0.5) for x in seen)
    assert abs(best["x"][0] - 0.5) == least
    assert len(seen) < 20


def test_the_same_seed_gives_the_same_bytes() -> None:
    z, scores = made(200)
    one, two = (fit_nets(z, scores, SMALL)[0] for _ in range(2))
    assert all(one[name].tobytes() == two[name].tobytes() for name in one)
    assert sigmoid(np.zeros(1))[0] == 0.5
