"""Logistic regression per arm on principal directions of the embedding and lexical features: smooth, small and fast."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.predictions import Reals
from policies.zoo.basis import Basis, Floats, Tensors, check_shapes
from policies.zoo.predictive import PredictivePolicy
from policies.zoo.sigmoid import sigmoid

_PARTS = ("weights", "intercepts")


@dataclass(frozen=True, slots=True)
class LogisticModel:
    """Log-odds linear in the outputs of a basis.

    Attributes:
        weights: Shape (n_outputs, m).
        intercepts: Shape (m,).
    """

    basis: Basis
    weights: Reals
    intercepts: Reals

    @property
    def n_arms(self) -> int:
        return int(self.intercepts.shape[0])

    @property
    def dim(self) -> int:
        return self.basis.dim

    def quality(self, embeddings: Floats, lexical: Floats) -> Reals:
        """Probability of success, shape (n, m)."""
        return sigmoid(self.basis(embeddings, lexical) @ self.weights + self.intercepts)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """As ``logistic.*``."""
        parts = {f"logistic.{part}": getattr(self, part).astype(np.float32) for part in _PARTS}
        return parts | self.basis.tensors("logistic.basis")

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> "LogisticModel":
        """The inverse of ``tensors``.

        Raises:
            KeyError: A part is missing.
            ValueError: The shapes do not belong together.
        """
        basis = Basis.from_tensors(tensors, "logistic.basis")
        weights, intercepts = (tensors[f"logistic.{part}"].astype(np.float64) for part in _PARTS)
        m = intercepts.size
        check_shapes(
            {
                "logistic.weights": (weights.shape, (basis.n_outputs, m)),
                "logistic.intercepts": (intercepts.shape, (m,)),
            }
        )
        return cls(basis, weights, intercepts)

    @classmethod
    def example(cls, *, n_arms: int, dim: int) -> "LogisticModel":
        """Random weights."""
        basis = Basis.example(dim=dim)
        weights = np.random.default_rng(5).normal(size=(basis.n_outputs, n_arms))
        return cls(basis, weights, np.linspace(0.0, 1.0, n_arms))


class LogisticPolicy(PredictivePolicy):
    """Logistic regression per arm."""

    name = "logistic"
    model_type = LogisticModel
