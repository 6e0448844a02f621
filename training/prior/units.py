"""Fits the hidden units of what serves: small nets that reproduce the teachers, of which only the layers are kept.

Several narrow nets rather than a wide one: what each gets wrong by its start and its held-out rows averages out.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.inputs import Reals
from training.zoo.adam import AdamSettings, Rows, Weights, kept_units, walk

_HELD_OUT = 0.1  # share of the rows that says when to stop
_CONSTANT = 1e-9


@dataclass(frozen=True, slots=True)
class UnitSettings:
    """What the fit depends on besides its data.

    Attributes:
        width: Units of each net.
        n_nets: Nets, each with its own start and its own held-out rows.
        dropout: Share of units left out in a step.
    """

    width: int = 96
    n_nets: int = 2
    dropout: float = 0.2
    adam: AdamSettings = field(default_factory=lambda: AdamSettings(rate=3e-3, decay=0.01, n_epochs=30))
    seed: int = 0


def fit_units(inputs: Reals, targets: Reals, settings: UnitSettings) -> tuple[Reals, Reals]:
    """Weights (d, u) and offsets (u,) of u = n_nets · width units that a line reads ``targets`` (n, k) from.

    The units are scaled so that together they vary as one feature of variance 1: a ridge beside other features then
    treats them alike.

    Args:
        inputs: Shape (n, d), of variance near 1.
        targets: As ``standardised`` gives them.
    """
    narrow, goals = inputs.astype(np.float32), targets.astype(np.float32)  # as the steps are
    seeds = [settings.seed * 1009 + net for net in range(settings.n_nets)]
    nets = [_fit_one(narrow, goals, replace(settings, seed=seed)) for seed in seeds]
    share = settings.n_nets**-0.5
    return np.hstack([hidden for hidden, _ in nets]) * share, np.concatenate([offset for _, offset in nets]) * share


def _fit_one(inputs: NDArray[Any], targets: NDArray[Any], settings: UnitSettings) -> tuple[Reals, Reals]:
    """One net's weights and offsets, scaled so that together its units vary as one feature of variance 1."""
    rng, drops = np.random.default_rng(settings.seed), np.random.default_rng([settings.seed, 1])
    out = rng.random(len(inputs)) < _HELD_OUT
    start = _start(inputs.shape[1], targets.shape[1], settings, rng)

    def gradient(at: Weights, rows: Rows) -> Weights:
        kept = kept_units(drops, len(rows), settings.width, dropout=settings.dropout)
        return unit_gradient(at, inputs[rows], targets[rows], kept=kept)

    def judge(at: Weights) -> float:
        return float(((_read(at, inputs[out]) - targets[out]) ** 2).mean()) if out.any() else 0.0

    rows = np.flatnonzero(~out)
    found, _, _ = walk(start, rows, gradient=gradient, judge=judge, settings=settings.adam, seed=settings.seed)
    spread = _active(found, inputs).std(axis=0).mean()
    scale = 1.0 / (max(float(spread), 1e-6) * settings.width**0.5)
    return found["hidden"] * scale, found["hidden_offset"] * scale


def standardised(quality: Reals, logs: Reals) -> Reals:
    """What the units are to reproduce: contrasts between arms, their level, logs of spending; each block of scale 1.

    The contrasts decide, so they weigh as much as all the rest of the quality.
    """
    level = quality.mean(axis=1, keepdims=True)
    blocks = (quality - level, level, logs)
    centred = [block - block.mean(axis=0) for block in blocks]
    return np.hstack([block / max(float(np.sqrt((block**2).mean())), _CONSTANT) for block in centred if block.any()])


def unit_gradient(at: Weights, inputs: NDArray[Any], targets: NDArray[Any], *, kept: NDArray[Any]) -> Weights:
    """Of the squared error per row, summed over targets; ``kept`` scales each unit, 0 drops it."""
    active = _active(at, inputs) * kept
    pull = 2.0 * (active @ at["out"] + at["out_offset"] - targets) / len(inputs)
    back = (pull @ at["out"].T) * kept * (active > 0.0)
    return {
        "hidden": inputs.T @ back,
        "hidden_offset": back.sum(axis=0),
        "out": active.T @ pull,
        "out_offset": pull.sum(axis=0),
    }


def _active(at: Weights, inputs: NDArray[Any]) -> Reals:
    return np.asarray(np.maximum(inputs @ at["hidden"] + at["hidden_offset"], 0.0))


def _read(at: Weights, inputs: NDArray[Any]) -> Reals:
    return np.asarray(_active(at, inputs) @ at["out"] + at["out_offset"])


def _start(n_inputs: int, n_targets: int, settings: UnitSettings, rng: np.random.Generator) -> Weights:
    return {
        "hidden": rng.normal(scale=n_inputs**-0.5, size=(n_inputs, settings.width)),
        "hidden_offset": rng.normal(scale=0.3, size=settings.width),
        "out": rng.normal(scale=0.1 / settings.width**0.5, size=(settings.width, n_targets)),
        "out_offset": np.zeros(n_targets),
    }
