"""Fits ``cluster``: k-means on the embeddings, and per cell the arms' means, shrunk by empirical Bayes."""

import numpy as np
from numpy.typing import NDArray

from policies.zoo.cluster import ClusterModel
from training.inputs import Reals
from training.landmarks import half_distances, k_means
from training.zoo.basis import principal_directions
from training.zoo.task import FitTask, Learned, folds_of

SIZES = (16, 32, 64, 128)  # candidates for the number of cells
_N_DIMS, _N_FOLDS, _ROWS_PER_CELL = 64, 4, 8


def fit(task: FitTask) -> Learned:
    """Choose the number of cells by cross-validated squared error; one standard error does not earn more cells."""
    centre, vectors = principal_directions(task.inputs, _N_DIMS)
    points = (task.inputs.embeddings - centre) @ vectors
    scores = task.inputs.scores
    sizes = [size for size in SIZES if size * _ROWS_PER_CELL <= len(points)] or [1]
    folds = folds_of(len(points), _N_FOLDS, seed=task.seed)
    losses = np.array([_held_out_losses(points, scores, size, folds=folds, seed=task.seed) for size in sizes])
    least = int(losses.mean(axis=1).argmin())
    excess = losses - losses[least]
    allowed = excess.mean(axis=1) <= excess.std(axis=1) / len(points) ** 0.5
    size = sizes[int(np.flatnonzero(allowed)[0])]
    centres = k_means(points, size, seed=task.seed)
    means = shrunk_means(scores, _nearest(points, centres), size)
    judged = {str(candidate): float(loss.mean()) for candidate, loss in zip(sizes, losses, strict=True)}
    facts = {"n_cells": size, "held_out_squared_error": judged}
    # A centre within the span of the directions has the same nearest neighbours in the whole space.
    return Learned(ClusterModel(centre + centres @ vectors.T, means), facts)


def shrunk_means(scores: Reals, cells: NDArray[np.intp], n_cells: int) -> Reals:
    """Mean score per cell and arm, pulled to the arm's mean by within-cell over between-cell variance, (n_cells, m).

    Source: the method of moments of a one-way random-effects model (Efron and Morris, 1973).
    """
    sizes = np.bincount(cells, minlength=n_cells).astype(np.float64)
    sums = np.zeros((n_cells, scores.shape[1]))
    np.add.at(sums, cells, scores)
    overall = scores.mean(axis=0)
    raw = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1.0)[:, None], overall)
    if (sizes < 2.0).all():
        return np.tile(overall, (n_cells, 1))  # how far rows of one cell differ is not to be seen
    within = ((scores - raw[cells]) ** 2).sum(axis=0) / max(len(scores) - np.count_nonzero(sizes), 1)
    scatter = (sizes[:, None] * (raw - overall) ** 2).sum(axis=0) - (np.count_nonzero(sizes) - 1) * within
    between = np.maximum(scatter / max(sizes.sum() - (sizes**2).sum() / sizes.sum(), 1e-9), 1e-9)
    kept = sizes[:, None] / (sizes[:, None] + within / between)
    return np.asarray(overall + kept * (raw - overall))


def _held_out_losses(points: Reals, scores: Reals, size: int, *, folds: NDArray[np.int64], seed: int) -> Reals:
    losses = np.zeros(len(points))
    for fold in np.unique(folds):
        fitted, held = folds != fold, folds == fold
        centres = k_means(points[fitted], min(size, int(fitted.sum())), seed=seed)
        means = shrunk_means(scores[fitted], _nearest(points[fitted], centres), len(centres))
        losses[held] = ((scores[held] - means[_nearest(points[held], centres)]) ** 2).mean(axis=1)
    return losses


def _nearest(points: Reals, centres: Reals) -> NDArray[np.intp]:
    nearest: NDArray[np.intp] = half_distances(points, centres).argmin(axis=1)
    return nearest
