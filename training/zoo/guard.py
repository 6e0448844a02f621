"""Fits the guard: landmarks of the training queries, and how far from them a training query usually is."""

import numpy as np

from policies.zoo.guard import Guard
from training.inputs import Inputs
from training.landmarks import k_means
from training.zoo.basis import principal_directions

N_DIMS, MOST_LANDMARKS, ROWS_PER_LANDMARK = 64, 512, 8
NEAR, FAR = 50.0, 99.0  # percentiles of the training queries' own distances


def fit_guard(inputs: Inputs, *, seed: int) -> Guard:
    """Landmarks are k-means centres, at most 512 and one per eight rows."""
    centre, projection = principal_directions(inputs, N_DIMS)
    projected = (inputs.embeddings - centre) @ projection
    n_landmarks = max(1, min(MOST_LANDMARKS, len(inputs) // ROWS_PER_LANDMARK))
    landmarks = k_means(projected, n_landmarks, seed=seed)
    draft = Guard(centre, projection, landmarks, np.array([0.0, 1.0]))
    near, far = np.percentile(draft.distance(inputs.embeddings), [NEAR, FAR])
    return Guard(centre, projection, landmarks, np.array([near, max(far, near + 1e-6)]))
