"""Fits the guard: landmarks of the training queries, and how far from landmarks a query of the same kind usually is."""

import numpy as np

from policies.zoo.guard import Guard
from training.inputs import Inputs
from training.landmarks import k_means
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
    distance = _landmarks(judged, seed=seed).distance(unseen.embeddings)
    near, fade, far = np.percentile(distance, [NEAR, FADE, FAR])
    guard = _landmarks(inputs, seed=seed)
    return Guard(
        guard.centre, guard.projection, guard.landmarks, np.array([near, max(fade, near + 1e-6), max(far, near + 1e-6)])
    )


def _landmarks(inputs: Inputs, *, seed: int) -> Guard:
    centre, projection = principal_directions(inputs, N_DIMS)
    projected = (inputs.embeddings - centre) @ projection
    n_landmarks = max(1, min(MOST_LANDMARKS, len(inputs) // ROWS_PER_LANDMARK))
    return Guard(centre, projection, k_means(projected, n_landmarks, seed=seed), np.array([0.0, 1.0, 1.0]))
