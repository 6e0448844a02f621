"""The features a linear policy is linear in: similarity to landmark queries, and clipped lexical features.

An embedding is projected to at most 64 dimensions and compared with landmarks by an RBF kernel, so ridge on these
features is kernel ridge regression with Nyström landmarks (Williams and Seeger, 2001): it fits local averages as
k-nearest-neighbours does, far from every landmark it falls back to the mean, and it costs two small products.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp, sqrt
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
        lexical_mean / lexical_sd: Of the training queries, shape (n_features,).
        lexical_weight: φ of a lexical feature one standard deviation off; what it weighs against the kernel's 1.
        near / far: Distances to the nearest landmark up to which a query counts as familiar, and from which as far.
    """

    centre: Floats
    projection: Floats
    landmarks: Floats
    gamma: float
    lexical_mean: Floats
    lexical_sd: Floats
    lexical_weight: float
    near: float
    far: float
    landmark_squares: Floats = field(init=False)  # computed once: they are read for every query

    def __post_init__(self) -> None:
        object.__setattr__(self, "landmark_squares", np.einsum("ij,ij->i", self.landmarks, self.landmarks))

    @property
    def n_outputs(self) -> int:
        return int(self.landmarks.shape[0] + self.lexical_mean.shape[0])

    def __call__(self, embeddings: Floats, lexical: Floats) -> tuple[Floats, Floats]:
        """φ of shape (n, n_outputs) and the distance of each row to the nearest landmark, shape (n,)."""
        centred = embeddings - self.centre
        projected = centred @ self.projection
        length = np.einsum("ij,ij->i", projected, projected)
        squared = projected @ self.landmarks.T
        squared *= -2.0
        squared += self.landmark_squares
        squared += length[:, None]
        np.maximum(squared, 0.0, out=squared)
        # What the projection drops also tells strangers apart; landmarks are means, which have little of it.
        dropped = np.einsum("ij,ij->i", centred, centred) - length
        distance = np.sqrt(np.maximum(squared.min(axis=1) + dropped, 0.0))
        phi = np.empty((len(embeddings), self.n_outputs), np.float32)
        m = len(self.landmarks)
        np.exp(np.multiply(squared, -self.gamma, out=squared), out=phi[:, :m])
        standard = (lexical - self.lexical_mean) / self.lexical_sd
        np.multiply(np.minimum(np.maximum(standard, -CLIP), CLIP), self.lexical_weight, out=phi[:, m:])
        return phi, distance

    def one(self, embedding: Floats, lexical: Floats) -> tuple[Floats, float]:
        """The same for a single query, shapes (dim,) and (n_features,), at a third of the calls."""
        centred = embedding - self.centre
        projected = centred @ self.projection
        length = float(projected @ projected)
        phi: Floats = np.empty(self.n_outputs, np.float32)
        m = len(self.landmarks)
        squared, rest = phi[:m], phi[m:]
        np.matmul(self.landmarks, projected, out=squared)
        squared *= -2.0
        squared += self.landmark_squares
        squared += length
        np.maximum(squared, 0.0, out=squared)
        distance = sqrt(max(float(squared.min()) + float(centred @ centred) - length, 0.0))
        squared *= -self.gamma
        np.exp(squared, out=squared)
        np.subtract(lexical, self.lexical_mean, out=rest)
        rest /= self.lexical_sd
        np.minimum(rest, CLIP, out=rest)
        np.maximum(rest, -CLIP, out=rest)
        rest *= self.lexical_weight
        return phi, distance

    def familiarity_of_one(self, distance: float) -> float:
        """``familiarity`` of a single distance."""
        beyond = max(distance - self.near, 0.0) / max(self.far - self.near, 1e-9)
        return exp(-(beyond * beyond))

    def familiarity(self, distance: Floats) -> Floats:
        """How much of a prediction to keep: 1 up to ``near``, 1/e at ``far``, then on to 0."""
        beyond = np.maximum(distance - self.near, 0.0) / max(self.far - self.near, 1e-9)
        kept: Floats = np.exp(-(beyond * beyond), dtype=np.float32)
        return kept

    def tensors(self) -> dict[str, NDArray[Any]]:
        """As named arrays, for an artifact."""
        numbers = np.array([self.gamma, self.near, self.far, self.lexical_weight], dtype=np.float64)
        return {
            "map.centre": self.centre,
            "map.projection": self.projection,
            "map.landmarks": self.landmarks,
            "map.lexical_mean": self.lexical_mean,
            "map.lexical_sd": self.lexical_sd,
            "map.numbers": numbers,
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> "FeatureMap":
        """The inverse of ``tensors``."""
        gamma, near, far, lexical_weight = (float(value) for value in tensors["map.numbers"])
        return cls(
            centre=tensors["map.centre"],
            projection=tensors["map.projection"],
            landmarks=tensors["map.landmarks"],
            gamma=gamma,
            lexical_mean=tensors["map.lexical_mean"],
            lexical_sd=tensors["map.lexical_sd"],
            near=near,
            far=far,
            lexical_weight=lexical_weight,
        )
