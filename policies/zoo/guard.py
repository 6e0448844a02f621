"""Tells how far a query is from everything a policy was fitted on, so that it claims no knowledge it does not have.

Learned routers do harm on unseen domains: they extrapolate confidently. Far from every landmark a prediction shrinks to
the arm's training mean, and the choice becomes the one that uses no query information. Distance is measured in how far
queries of the same kind usually lie apart, direction by direction: what strangers have of the directions in which those
hardly vary tells them apart best. Source: Mahalanobis distance to the nearest class (Lee et al., NeurIPS 2018,
arXiv 1807.03888), here with a diagonal and landmarks in place of classes, and to the landmark that is nearest by plain
distance.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.predictions import Reals
from policies.zoo.basis import Floats, Tensors, check_shapes

_PARTS = ("centre", "projection", "landmarks", "metric", "bounds")


@dataclass(frozen=True, slots=True)
class Guard:
    """Landmarks of the training queries and the distances at which trust fades.

    Attributes:
        centre: Mean training embedding, shape (dim,).
        projection: Orthonormal columns, shape (dim, k), k ≤ 128.
        landmarks: k-means centres of the projected training embeddings, shape (n_landmarks, k).
        metric: Weight of a squared difference along each direction, and of what the projection drops, shape (k + 1,).
        bounds: ``near``, ``fade`` and ``far``, shape (3,): distances to the nearest landmark up to which a prediction
            is kept whole, at which 1/e of it is kept, and from which a query is called far.
    """

    centre: Reals
    projection: Reals
    landmarks: Reals
    metric: Reals
    bounds: Reals

    @property
    def dim(self) -> int:
        """Length of the embeddings it reads."""
        return int(self.centre.shape[0])

    def distance(self, embeddings: Floats) -> Reals:
        """Distance of each embedding, shape (n, dim), to the nearest landmark, shape (n,)."""
        return measured(*self.apart(embeddings), self.metric)

    def apart(self, embeddings: Floats) -> tuple[Reals, Reals]:
        """Differences from the nearest landmark, shape (n, k), and squared lengths that the projection drops, (n,)."""
        centred = embeddings - self.centre
        projected = centred @ self.projection
        length = np.einsum("ij,ij->i", projected, projected)
        squared = np.einsum("ij,ij->i", self.landmarks, self.landmarks) - 2.0 * (projected @ self.landmarks.T)
        # What the projection drops also tells strangers apart; landmarks are means, which have little of it.
        dropped = np.einsum("ij,ij->i", centred, centred) - length
        return projected - self.landmarks[squared.argmin(axis=1)], dropped

    def familiarity(self, distance: Reals) -> Reals:
        """How much of a prediction to keep, shape (n,): 1 up to ``near``, 1/e at ``fade``, then on to 0."""
        near, fade, _ = self.bounds
        kept: Reals = np.exp(-((np.maximum(distance - near, 0.0) / max(fade - near, 1e-9)) ** 2))
        return kept

    def is_far(self, distance: Reals) -> NDArray[np.bool_]:
        """Whether each query is unlike everything seen, shape (n,)."""
        beyond: NDArray[np.bool_] = distance > self.bounds[2]
        return beyond

    def tensors(self) -> dict[str, NDArray[Any]]:
        """As float32 arrays named ``guard.*``, for an artifact."""
        return {f"guard.{part}": getattr(self, part).astype(np.float32) for part in _PARTS}

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> "Guard":
        """The inverse of ``tensors``.

        Raises:
            KeyError: A part is missing.
            ValueError: The shapes do not belong together.
        """
        guard = cls(*(tensors[f"guard.{part}"].astype(np.float64) for part in _PARTS))
        dim, k = guard.centre.shape[0], guard.landmarks.shape[-1]
        if not (guard.metric >= 0).all():
            raise ValueError("guard.metric must hold no negative weight")
        check_shapes(
            {
                "guard.centre": (guard.centre.shape, (dim,)),
                "guard.projection": (guard.projection.shape, (dim, k)),
                "guard.landmarks": (guard.landmarks.shape, (max(len(guard.landmarks), 1), k)),
                "guard.metric": (guard.metric.shape, (k + 1,)),
                "guard.bounds": (guard.bounds.shape, (3,)),
            }
        )
        return guard

    @classmethod
    def example(cls, *, dim: int) -> "Guard":
        """Four landmarks within the unit ball; the whole unit sphere is between near and fade."""
        landmarks = np.random.default_rng(2).normal(scale=0.3, size=(4, 2))
        return cls(np.zeros(dim), np.eye(dim, 2), landmarks, np.ones(3), np.array([0.5, 2.0, 2.0]))


def measured(apart: Reals, dropped: Reals, metric: Reals) -> Reals:
    """Distances, shape (n,), of differences ``apart`` (n, k) and of squared lengths that are dropped, (n,)."""
    distance: Reals = np.sqrt(np.square(apart) @ metric[:-1] + metric[-1] * np.maximum(dropped, 0.0))
    return distance
