"""Fits the guard: landmarks of the training queries, and how far from landmarks a query of the same kind usually is."""

from dataclasses import replace

import numpy as np

from policies.zoo.guard import Guard, measured
from training.inputs import Inputs, Reals
from training.landmarks import k_means, metric_of
from training.zoo.basis import principal_directions
from training.zoo.task import folds_of

N_DIMS, MOST_LANDMARKS, ROWS_PER_LANDMARK = 64, 512, 8
NEAR, FADE, FAR = 50.0, 90.0, 99.0  # percentiles of the distances of queries that the landmarks had not seen
_N_FOLDS = 4


def fit_guard(inputs: Inputs, *, seed: int) -> Guard:
    """Landmarks are k-means centres, at most 512 and one per eight rows.

    The bounds come from a quarter of the rows and landmarks of the rest: a training query lies nearer to landmarks that
    it helped to place than any new one does, and bounds from it would call every eighth new query a stranger. A
    prediction begins to fade at the median: in-domain that costs nothing, and elsewhere it saves the more the earlier.
    """
    held = folds_of(len(inputs), _N_FOLDS, seed=seed) == 0
    judged = inputs if held.all() or not held.any() else inputs.rows(~held)
    unseen = inputs if held.all() or not held.any() else inputs.rows(held)
    others, guard = _landmarks(judged, seed=seed), _landmarks(inputs, seed=seed)
    metric, bounds = metric_and_bounds(others, unseen, n_dims=guard.projection.shape[1], percentiles=(NEAR, FADE, FAR))
    return replace(guard, metric=metric, bounds=bounds)


def metric_and_bounds(
    others: Guard, unseen: Inputs, *, n_dims: int, percentiles: tuple[float, float, float]
) -> tuple[Reals, Reals]:
    """The metric for ``n_dims`` directions, shape (n_dims + 1,), and near, fade and far, shape (3,).

    Args:
        others: Landmarks that had not seen the queries; its metric and bounds are not read.
        percentiles: Of the distances of ``unseen``: near, fade and far.
    """
    apart, dropped = others.apart(unseen.embeddings)
    n_kept = others.projection.shape[1]
    n_dropped = others.dim - n_kept
    own = metric_of(apart, dropped, n_dropped=n_dropped, n_dims=n_kept)
    near, fade, far = np.percentile(measured(apart, dropped, own), percentiles)
    bounds = np.array([near, max(fade, near + 1e-6), max(far, near + 1e-6)])
    return metric_of(apart, dropped, n_dropped=n_dropped, n_dims=n_dims), bounds


def _landmarks(inputs: Inputs, *, seed: int) -> Guard:
    centre, projection = principal_directions(inputs, N_DIMS)
    projected = (inputs.embeddings - centre) @ projection
    n_landmarks = max(1, min(MOST_LANDMARKS, len(inputs) // ROWS_PER_LANDMARK))
    return Guard(centre, projection, k_means(projected, n_landmarks, seed=seed), _no_metric(projection), np.zeros(3))


def _no_metric(projection: Reals) -> Reals:
    return np.ones(projection.shape[1] + 1)
