"""What linear bandits read of a request: principal directions of the warm-up embeddings, and a 1."""

from dataclasses import dataclass

import numpy as np

from policies.predictions import Reals
from training.inputs import Inputs


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """Directions fitted on warm-up rows.

    Attributes:
        centre: Mean embedding, shape (dim,).
        directions: Shape (dim, k).
    """

    centre: Reals
    directions: Reals

    def __call__(self, inputs: Inputs) -> Reals:
        """Features, shape (n, k + 1)."""
        projected = (inputs.embeddings - self.centre) @ self.directions
        return np.hstack([projected, np.ones((len(projected), 1))])


def fit_principal(inputs: Inputs, *, n_directions: int = 32) -> FeatureMap:
    """As long as the embeddings are along them: the penalty of a ridge then weighs most where queries hardly differ."""
    centre = inputs.embeddings.mean(axis=0).astype(np.float64)
    _, _, found = np.linalg.svd(inputs.embeddings - centre, full_matrices=False)
    return FeatureMap(centre, found[: min(n_directions, len(found))].T.astype(np.float64))


def fit_whitened(inputs: Inputs, *, n_directions: int = 25) -> FeatureMap:
    """Each of variance 1, as ParetoBandit's own features are."""
    plain = fit_principal(inputs, n_directions=n_directions)
    spread = np.maximum(((inputs.embeddings - plain.centre) @ plain.directions).std(axis=0), 1e-9)
    return FeatureMap(plain.centre, plain.directions / spread)
