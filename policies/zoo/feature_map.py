"""The features a linear policy is linear in: similarity to landmark queries, and clipped lexical features.

An embedding is projected to at most 64 dimensions and compared with landmarks by an RBF kernel, so ridge on these
features is kernel ridge regression with Nyström landmarks (Williams and Seeger, 2001): it fits local averages as
k-nearest-neighbours does, far from every landmark it falls back to the mean, and it costs two small products.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

CLIP = 3.0  # standard deviations; lexical features have long tails and a line follows them anywhere


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """Embedding and lexical features -> φ, and how far a query is from the training queries.

    Attributes:
        centre: Mean training embedding, shape (dim,).
        projection: Orthonormal columns, shape (dim, k), k ≤ 64.
        landmarks: In the projected space, shape (m, k).
        gamma: Of the kernel exp(−γ·distance²).
        lexical_mean / lexical_scale: Shape (n_features,); the scale holds the weight of lexical features in the ridge.
        near / far: Distances to the nearest landmark up to which a query counts as familiar, and from which as far.
    """

    centre: Floats
    projection: Floats
    landmarks: Floats
    gamma: float
    lexical_mean: Floats
    lexical_scale: Floats
    near: float
    far: float

    @property
    def n_outputs(self) -> int:
        return self.landmarks.shape[0] + self.lexical_mean.shape[0]

    def __call__(self, embeddings: Floats, lexical: Floats) -> tuple[Floats, Floats]:
        """φ of shape (n, n_outputs) and the distance of each row to the nearest landmark, shape (n,)."""
        centred = embeddings - self.centre
        projected = centred @ self.projection
        squared = (
            (projected * projected).sum(axis=1)[:, None]
            + (self.landmarks * self.landmarks).sum(axis=1)
            - 2.0 * (projected @ self.landmarks.T)
        )
        squared = np.maximum(squared, 0.0)
        # What the projection drops also tells strangers apart; landmarks are means, which have little of it.
        dropped = (centred * centred).sum(axis=1) - (projected * projected).sum(axis=1)
        distance = np.sqrt(np.maximum(squared.min(axis=1) + dropped, 0.0))
        scaled = (lexical - self.lexical_mean) / self.lexical_scale
        limit = CLIP * self.weight
        phi = np.concatenate([np.exp(-self.gamma * squared), np.clip(scaled, -limit, limit)], axis=1)
        return phi.astype(np.float32), distance.astype(np.float32)

    weight: float = 1.0  # of one standard deviation of a lexical feature

    def familiarity(self, distance: Floats) -> Floats:
        """1 for queries like the training ones, falling to 1/e at ``far`` and on to 0: how much of a prediction to keep."""
        beyond = np.maximum(distance - self.near, 0.0) / max(self.far - self.near, 1e-9)
        return np.exp(-(beyond**2)).astype(np.float32)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """As named arrays, for an artifact."""
        numbers = np.array([self.gamma, self.near, self.far, self.weight], dtype=np.float64)
        return {
            "map.centre": self.centre,
            "map.projection": self.projection,
            "map.landmarks": self.landmarks,
            "map.lexical_mean": self.lexical_mean,
            "map.lexical_scale": self.lexical_scale,
            "map.numbers": numbers,
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> "FeatureMap":
        """The inverse of ``tensors``."""
        gamma, near, far, weight = (float(value) for value in tensors["map.numbers"])
        return cls(
            centre=tensors["map.centre"],
            projection=tensors["map.projection"],
            landmarks=tensors["map.landmarks"],
            gamma=gamma,
            lexical_mean=tensors["map.lexical_mean"],
            lexical_scale=tensors["map.lexical_scale"],
            near=near,
            far=far,
            weight=weight,
        )
