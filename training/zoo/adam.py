"""Adam with decoupled weight decay and early stopping, written out: small networks need no framework.

Source: Kingma and Ba, 2015; Loshchilov and Hutter, 2019. Left out: AMSGrad, gradient clipping. Steps are in float32, in
half the time: the noise of small batches is far larger than the rounding.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import cos, pi
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Weights = dict[str, NDArray[Any]]  # float32 within a walk, float64 outside
Gradient = Callable[[Weights, Rows], Weights]  # of the mean loss over some rows
Judge = Callable[[Weights], float]  # the loss on held-out rows

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True, slots=True)
class AdamSettings:
    """How to walk.

    Attributes:
        rate: Learning rate of the first epoch; it falls to a tenth along half a cosine.
        decay: Weight decay per step, times the rate; for matrices only, never for offsets.
        patience: Epochs without a better held-out loss after which to stop.
    """

    rate: float = 2e-3
    decay: float = 0.05
    batch: int = 256
    n_epochs: int = 30
    patience: int = 4


def kept_units(drops: np.random.Generator, n_rows: int, width: int, *, dropout: float) -> NDArray[Any]:
    """What each unit of each row is multiplied by in a step, shape (n_rows, width): 0, or what makes the mean 1."""
    return np.asarray((drops.random((n_rows, width), dtype=np.float32) >= dropout) * np.float32(1.0 / (1.0 - dropout)))


def walk(
    start: Weights, rows: Rows, *, gradient: Gradient, judge: Judge, settings: AdamSettings, seed: int
) -> tuple[Weights, float, int]:
    """Descend from ``start``; the weights with the least held-out loss, that loss, and the epochs taken to them."""
    rng, at = np.random.default_rng(seed), {name: values.astype(np.float32) for name, values in start.items()}
    first, second = ({name: np.zeros_like(values) for name, values in at.items()} for _ in range(2))
    best, least, best_epoch, step = dict(start), judge(start), 0, 0
    for epoch in range(1, settings.n_epochs + 1):
        rate = settings.rate * (0.55 + 0.45 * cos(pi * (epoch - 1) / settings.n_epochs))
        for batch in _batches(rows, settings.batch, rng):
            step += 1
            _step(at, gradient(at, batch), first, second, rate=rate, decay=settings.decay, step=step)
        loss = judge(at)
        if loss < least:
            best, least, best_epoch = {name: values.copy() for name, values in at.items()}, loss, epoch
        elif epoch - best_epoch >= settings.patience:
            break
    return {name: values.astype(np.float64) for name, values in best.items()}, least, best_epoch


def _batches(rows: Rows, size: int, rng: np.random.Generator) -> Iterator[Rows]:
    shuffled = rng.permutation(rows)
    for begin in range(0, len(shuffled), size):
        yield shuffled[begin : begin + size]


def _step(
    at: Weights,
    gradient: Mapping[str, NDArray[Any]],
    first: Weights,
    second: Weights,
    *,
    rate: float,
    decay: float,
    step: int,
) -> None:
    """One step in place."""
    for name, slope in gradient.items():
        first[name] += (1.0 - _BETA_1) * (slope - first[name])
        second[name] += (1.0 - _BETA_2) * (slope**2 - second[name])
        size = np.sqrt(second[name] / (1.0 - _BETA_2**step)) + _EPSILON
        shrink = rate * decay if at[name].ndim > 1 else 0.0
        at[name] -= shrink * at[name] + rate * (first[name] / (1.0 - _BETA_1**step)) / size
