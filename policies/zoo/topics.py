"""A table of labels without the labels: mean quality of each arm over topics, by how likely the query is of each.

Topics are the labels that the training queries came with (a subject, a benchmark, a product area); the gateway sees
none and reads them off the query by multinomial logistic regression. A query between two topics gets of both.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.predictions import Reals
from policies.zoo.basis import Basis, Floats, Tensors, check_shapes
from policies.zoo.predictive import PredictivePolicy

_PARTS = ("weights", "intercepts", "means")


@dataclass(frozen=True, slots=True)
class TopicModel:
    """softmax(basis · W + b) · means.

    Attributes:
        weights / intercepts: Log-odds of the topics, shapes (n_outputs, k) and (k,).
        means: Quality of each arm in each topic, shape (k, m).
    """

    basis: Basis
    weights: Reals
    intercepts: Reals
    means: Reals

    @property
    def n_arms(self) -> int:
        return int(self.means.shape[1])

    @property
    def dim(self) -> int:
        return self.basis.dim

    def topics(self, embeddings: Floats, lexical: Floats) -> Reals:
        """Probability of each topic, shape (n, k)."""
        return softmax(self.basis(embeddings, lexical) @ self.weights + self.intercepts)

    def quality(self, embeddings: Floats, lexical: Floats) -> Reals:
        """Expected scores, shape (n, m)."""
        return np.asarray(self.topics(embeddings, lexical) @ self.means)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """As ``topics.*``."""
        parts = {f"topics.{part}": getattr(self, part).astype(np.float32) for part in _PARTS}
        return parts | self.basis.tensors("topics.basis")

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> "TopicModel":
        """The inverse of ``tensors``.

        Raises:
            KeyError: A part is missing.
            ValueError: The shapes do not belong together.
        """
        basis = Basis.from_tensors(tensors, "topics.basis")
        weights, intercepts, means = (tensors[f"topics.{part}"].astype(np.float64) for part in _PARTS)
        k = max(intercepts.size, 1)
        check_shapes(
            {
                "topics.weights": (weights.shape, (basis.n_outputs, k)),
                "topics.intercepts": (intercepts.shape, (k,)),
                "topics.means": (means.shape, (k, means.shape[-1])),
            }
        )
        return cls(basis, weights, intercepts, means)

    @classmethod
    def example(cls, *, n_arms: int, dim: int) -> "TopicModel":
        """Four topics with random weights."""
        basis, rng = Basis.example(dim=dim), np.random.default_rng(8)
        return cls(basis, rng.normal(size=(basis.n_outputs, 4)), np.zeros(4), rng.uniform(0.2, 0.9, size=(4, n_arms)))


class TopicsPolicy(PredictivePolicy):
    """Mean quality over the query's likely topics."""

    name = "topics"
    model_type = TopicModel


def softmax(log_odds: Reals) -> Reals:
    """Rows of probabilities."""
    raised = np.exp(log_odds - log_odds.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))
