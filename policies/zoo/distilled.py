"""The default policy's prior: what its teacher expects of each arm, linear in the features of one look."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.predictions import Reals
from policies.zoo.basis import Floats, Tensors, check_shapes
from policies.zoo.landmark_basis import LandmarkBasis, Look

BASIS = "distilled.basis"


@dataclass(frozen=True, slots=True)
class DistilledModel:
    """Expected scores as the teacher gives them, linear in the landmark features.

    Attributes:
        weights: Shape (n_outputs, m).
        centre: Mean of the features over the training queries, shape (n_outputs,).
        means: Mean of the teacher's predictions, shape (m,).
        mass: Training queries nearest to each landmark, shape (n_landmarks,).
    """

    basis: LandmarkBasis
    weights: Reals
    centre: Reals
    means: Reals
    mass: Reals

    @property
    def n_arms(self) -> int:
        return int(self.weights.shape[1])

    @property
    def dim(self) -> int:
        return self.basis.dim

    def quality(self, embeddings: Floats, lexical: Floats) -> Reals:
        """Expected score in [0, 1], shape (n, m)."""
        return self.quality_of(self.basis.look(embeddings, lexical))

    def quality_of(self, look: Look) -> Reals:
        """The same of queries already looked at."""
        quality: Reals = np.clip(self.means + (look.features - self.centre) @ self.weights, 0.0, 1.0)
        return quality

    def evidence(self, look: Look) -> Reals:
        """Training queries that a prediction rests on, by the kernel's weight of them, shape (n,)."""
        evidence: Reals = look.features[:, : self.basis.n_landmarks] @ self.mass
        return evidence

    def tensors(self) -> dict[str, NDArray[Any]]:
        """As float32 arrays named ``distilled.*``."""
        parts = ("weights", "centre", "means", "mass")
        own = {f"distilled.{part}": getattr(self, part).astype(np.float32) for part in parts}
        return own | self.basis.tensors(BASIS)

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> "DistilledModel":
        """The inverse of ``tensors``.

        Raises:
            KeyError: A part is missing.
            ValueError: The shapes do not belong together.
        """
        basis = LandmarkBasis.from_tensors(tensors, BASIS)
        parts = ("weights", "centre", "means", "mass")
        weights, centre, means, mass = (tensors[f"distilled.{part}"].astype(np.float64) for part in parts)
        check_shapes(
            {
                "distilled.weights": (weights.shape, (basis.n_outputs, len(means))),
                "distilled.centre": (centre.shape, (basis.n_outputs,)),
                "distilled.mass": (mass.shape, (basis.n_landmarks,)),
            }
        )
        return cls(basis, weights, centre, means, mass)

    @classmethod
    def example(cls, *, n_arms: int, dim: int) -> "DistilledModel":
        """Small random weights."""
        basis, rng = LandmarkBasis.example(dim=dim), np.random.default_rng(7)
        weights = rng.normal(scale=0.1, size=(basis.n_outputs, n_arms))
        return cls(basis, weights, np.zeros(basis.n_outputs), np.full(n_arms, 0.6), np.full(basis.n_landmarks, 5.0))
