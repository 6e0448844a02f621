"""Fits ``logistic``: all arms at once, with one penalty on what they share and another on what sets them apart.

Minimises cross-entropy (scores in 0..1 are soft labels) + ½λ_s‖W̄‖²m + ½λ_c Σ‖w_a − W̄‖², intercepts free. The steps are
those of a fixed bound on the Hessian, XᵀX/4 (Böhning and Lindsay, 1988), which is diagonal in the right singular basis,
so that a step costs two products and needs no line search; Nesterov's momentum with restarts (O'Donoghue and Candès,
2015) makes tens of steps enough.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.zoo.logistic import LogisticModel
from policies.zoo.sigmoid import log_odds, sigmoid
from training.inputs import Reals
from training.zoo.basis import fit_basis
from training.zoo.task import FitTask, Learned, folds_of

N_DIMS = 96
SHARED = (0.3, 1.0, 3.0, 10.0, 30.0, 300.0)
CONTRAST = (1.0, 3.0, 10.0, 30.0, 100.0, 1000.0)
_N_FOLDS, _MOST_STEPS, _SMALL_STEP = 3, 200, 1e-4
_EDGE = 1e-6


@dataclass(frozen=True, slots=True)
class Penalties:
    shared: float
    contrast: float


@dataclass(frozen=True, slots=True)
class Weights:
    """Log-odds = x @ weights + intercepts."""

    weights: Reals  # (d, m)
    intercepts: Reals  # (m,)

    def __call__(self, features: Reals) -> Reals:
        return sigmoid(features @ self.weights + self.intercepts)


class Rotated:
    """Features in their singular basis, computed once for every penalty."""

    def __init__(self, features: Reals, scores: Reals) -> None:
        self.mean = features.mean(axis=0)
        centred = features - self.mean
        curvature, self.vectors = np.linalg.eigh(centred.T @ centred)
        self.features, self.scores = centred @ self.vectors, scores
        self.curvature = np.maximum(curvature, 0.0)[:, None] / 4.0

    def fit(self, penalties: Penalties, *, start: Weights | None = None) -> tuple[Weights, Weights]:
        """The minimum, in the features' own coordinates and in the rotated ones (to start another fit from)."""
        m = self.scores.shape[1]
        at = start or Weights(np.zeros((self.features.shape[1], m)), log_odds(self.scores.mean(axis=0)))
        ahead, momentum = at, 1.0
        for _ in range(_MOST_STEPS):
            missed = ahead(self.features) - self.scores
            step = self._step(ahead, missed, penalties)
            moved = Weights(ahead.weights - step, ahead.intercepts - 4.0 * missed.mean(axis=0))
            gone = moved.weights - at.weights, moved.intercepts - at.intercepts
            uphill = (step * gone[0]).sum() > 0.0  # momentum that points against the gradient has outlived its use
            grown = 1.0 if uphill else 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * momentum**2))
            carried = 0.0 if uphill else (momentum - 1.0) / grown
            at, momentum = moved, grown
            ahead = Weights(at.weights + carried * gone[0], at.intercepts + carried * gone[1])
            if max(np.abs(step).max(), np.abs(gone[1]).max()) < _SMALL_STEP * (1.0 + np.abs(at.weights).max()):
                break
        weights = self.vectors @ at.weights
        return Weights(weights, at.intercepts - self.mean @ weights), at

    def _step(self, at: Weights, missed: Reals, penalties: Penalties) -> Reals:
        gradient = self.features.T @ missed
        shared, contrast = _split(gradient)
        shared_at, contrast_at = _split(at.weights)
        return np.asarray(
            (shared + penalties.shared * shared_at) / (self.curvature + penalties.shared)
            + (contrast + penalties.contrast * contrast_at) / (self.curvature + penalties.contrast)
        )


def fit(task: FitTask) -> Learned:
    """Both penalties go by cross-validated cross-entropy, the contrast's first."""
    basis = fit_basis(task.inputs, n_dims=N_DIMS)
    features, scores = basis(task.inputs.embeddings, task.inputs.lexical), task.inputs.scores
    folds = folds_of(len(scores), _N_FOLDS, seed=task.seed)
    penalties, loss = choose_penalties(features, scores, folds)
    found, _ = Rotated(features, scores).fit(penalties)
    facts = {"shared_penalty": penalties.shared, "contrast_penalty": penalties.contrast, "cross_entropy": loss}
    return Learned(LogisticModel(basis, found.weights, found.intercepts), facts)


def choose_penalties(features: Reals, scores: Reals, folds: NDArray[np.int64]) -> tuple[Penalties, float]:
    """The pair of least held-out cross-entropy along two lines, and that loss."""
    parts = [
        (Rotated(features[folds != f], scores[folds != f]), features[folds == f], scores[folds == f])
        for f in np.unique(folds)
        if (folds != f).any()
    ]
    middle = SHARED[len(SHARED) // 2]
    losses = _path(parts, [Penalties(middle, contrast) for contrast in CONTRAST])
    contrast = CONTRAST[int(losses.argmin())]
    losses = _path(parts, [Penalties(shared, contrast) for shared in SHARED])
    return Penalties(SHARED[int(losses.argmin())], contrast), float(losses.min())


def _path(parts: Sequence[tuple[Rotated, Reals, Reals]], candidates: Sequence[Penalties]) -> Reals:
    """Mean held-out loss of each candidate, strongest first, each fit from the one before; after a worse one infinite.

    Milder ones than that are worse still, and take the longest.
    """
    losses = np.full(len(candidates), np.inf)
    starts: list[Weights | None] = [None] * len(parts)
    for column in reversed(range(len(candidates))):
        each = []
        for row, (rotated, features, scores) in enumerate(parts):
            found, starts[row] = rotated.fit(candidates[column], start=starts[row])
            each.append(cross_entropy(scores, found(features)))
        losses[column] = np.mean(each)
        if losses[column] > losses.min():
            break
    return losses


def cross_entropy(scores: Reals, quality: Reals) -> float:
    """Mean −[s·log q + (1 − s)·log(1 − q)], nats; scores may be soft."""
    return float(row_entropy(scores, quality).mean())


def row_entropy(scores: Reals, quality: Reals) -> Reals:
    """The same for each row, shape (n,)."""
    q = np.clip(quality, _EDGE, 1.0 - _EDGE)
    return np.asarray(-(scores * np.log(q) + (1.0 - scores) * np.log1p(-q)).mean(axis=1))


def _split(values: Reals) -> tuple[Reals, Reals]:
    """What the arms (columns) share, shape (d, 1), and each one's difference from it, shape (d, m)."""
    shared = values.mean(axis=1, keepdims=True)
    return shared, values - shared
