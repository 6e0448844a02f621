"""Weighted scores of the most similar training queries: the baseline that learned routers seldom beat.

Source: tuned kNN as in "Rethinking Predictive LLM Routing" (arXiv 2505.12601). The kernel's bandwidth is the distance
to the k-th neighbour, and a prior of fixed weight at the arm's mean shrinks what few or distant neighbours say.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.predictions import Reals
from policies.zoo.basis import Floats, Tensors, check_shapes
from policies.zoo.predictive import PredictivePolicy

_CHUNK = 512  # queries compared at a time, to bound memory
_SPARE = 8  # neighbours beyond k whose order the float32 pass may have wrong


@dataclass(frozen=True, slots=True)
class KnnModel:
    """Training queries with their scores.

    Attributes:
        points: Embeddings, at most 50,000, float16, shape (n_points, dim).
        scores: Shape (n_points, m), float16.
        means: Mean score of each arm over all training queries, shape (m,).
        numbers: k; the prior's weight; and the bandwidth beyond which similarity itself counts: a neighbour at this
            distance weighs 1/e of one at none; shape (3,).
    """

    points: NDArray[np.float16]
    scores: NDArray[np.float16]
    means: Reals
    numbers: Reals
    wide: Floats = field(init=False)  # float32 of the points, and half their squares: read for every query
    half_squares: Floats = field(init=False)

    def __post_init__(self) -> None:
        wide = self.points.astype(np.float32)
        object.__setattr__(self, "wide", wide)
        object.__setattr__(self, "half_squares", 0.5 * np.einsum("ij,ij->i", wide, wide))

    @property
    def n_arms(self) -> int:
        return int(self.scores.shape[1])

    @property
    def dim(self) -> int:
        return int(self.points.shape[1])

    def quality(self, embeddings: Floats, lexical: Floats) -> Reals:
        """Kernel mean of the k nearest with the prior, shape (n, m)."""
        parts = [self._some(embeddings[at : at + _CHUNK]) for at in range(0, len(embeddings), _CHUNK)]
        return np.concatenate(parts) if parts else np.zeros((0, self.n_arms))

    def _some(self, embeddings: Floats) -> Reals:
        k, prior, width = self.numbers
        near, squared = self.neighbours(embeddings, int(k))
        weights = kernel(squared, width=width)
        sums = np.matmul(weights[:, None, :], self.scores[near].astype(np.float64))[:, 0, :]
        blended: Reals = (sums + prior * self.means) / (weights.sum(axis=1, keepdims=True) + prior)
        return blended

    def neighbours(self, embeddings: Floats, k: int) -> tuple[NDArray[np.intp], Reals]:
        """Indices and squared distances of the k nearest points, nearest first, each (n, k)."""
        k = min(k, len(self.points))
        closeness = embeddings.astype(np.float32) @ self.wide.T
        closeness -= self.half_squares
        spare = min(k + _SPARE, len(self.points))
        near = np.argpartition(-closeness, spare - 1, axis=1)[:, :spare]
        # Once more, row by row: a batch and a single query must agree on who is k-th.
        squared = np.empty(near.shape)
        for row, embedding in enumerate(embeddings.astype(np.float32)):
            apart = self.wide[near[row]] - embedding
            squared[row] = np.einsum("ij,ij->i", apart, apart)
        order = np.lexsort((near, squared), axis=1)[:, :k]
        return np.take_along_axis(near, order, axis=1), np.take_along_axis(squared, order, axis=1)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """As ``knn.*``."""
        rest = {f"knn.{part}": getattr(self, part).astype(np.float32) for part in ("means", "numbers")}
        return rest | {"knn.points": self.points, "knn.scores": self.scores}

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> "KnnModel":
        """The inverse of ``tensors``.

        Raises:
            KeyError: A part is missing.
            ValueError: The shapes do not belong together, or k is less than 1.
        """
        points, scores = tensors["knn.points"], tensors["knn.scores"]
        means, numbers = (tensors[f"knn.{part}"].astype(np.float64) for part in ("means", "numbers"))
        n, dim, m = max(len(points), 1), points.shape[-1], scores.shape[-1]
        check_shapes(
            {
                "knn.points": (points.shape, (n, dim)),
                "knn.scores": (scores.shape, (n, m)),
                "knn.means": (means.shape, (m,)),
                "knn.numbers": (numbers.shape, (3,)),
            }
        )
        if not (numbers[0] >= 1 and numbers[1] >= 0 and numbers[2] > 0):
            raise ValueError(f"knn.numbers must hold k ≥ 1, a prior ≥ 0 and a width > 0, got {numbers.tolist()}")
        return cls(points.astype(np.float16), scores.astype(np.float16), means, numbers)

    @classmethod
    def example(cls, *, n_arms: int, dim: int) -> "KnnModel":
        """Twenty random points."""
        rng = np.random.default_rng(4)
        points, scores = rng.normal(scale=0.3, size=(20, dim)), rng.uniform(size=(20, n_arms))
        numbers = np.array([5.0, 1.0, 1.0])
        return cls(points.astype(np.float16), scores.astype(np.float16), scores.mean(axis=0), numbers)


def kernel(squared: Reals, *, width: float) -> Reals:
    """Weights of neighbours from their squared distances, nearest first, shape (n, k).

    Epanechnikov's kernel with the k-th distance as bandwidth, which is 0 at the k-th so that no neighbour enters with a
    jump, times a Gaussian of fixed ``width``, so that a crowd of strangers weighs less than the prior.
    """
    bandwidth = np.maximum(squared[:, -1:], 1e-12)
    weights: Reals = np.maximum(1.0 - squared / bandwidth, 0.0) * np.exp(-squared / width**2)
    # All k at one distance: the kernel is 0 everywhere, yet they are all the query has.
    level = weights.sum(axis=1) <= 1e-12
    weights[level] = np.exp(-squared[level] / width**2)
    return weights


class KnnPolicy(PredictivePolicy):
    """Weighted scores of the most similar training queries."""

    name = "knn"
    model_type = KnnModel
