"""``irt``: multidimensional item response theory, an arm's abilities against what a query asks and how hard it is."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.predictions import Reals
from policies.zoo.basis import Basis, Floats, Tensors, check_shapes
from policies.zoo.predictive import PredictivePolicy
from policies.zoo.sigmoid import sigmoid

_PARTS = ("demand", "difficulty", "ability", "floor")


@dataclass(frozen=True, slots=True)
class ResponseModel:
    """p_m(x) = c_m + (1 − c_m) σ(θ_m · a(x) − b(x)) with a(x) = (1, Az) and b(x) = β·z (Reckase, 2009).

    Attributes:
        demand: A, shape (n_outputs of the basis, k).
        difficulty: β, shape (n_outputs of the basis,).
        ability: θ of each arm, its general strength first, shape (m, 1 + k).
        floor: c, what guessing gets, shape (m,).
    """

    basis: Basis
    demand: Reals
    difficulty: Reals
    ability: Reals
    floor: Reals

    @property
    def n_arms(self) -> int:
        return int(self.floor.shape[0])

    @property
    def dim(self) -> int:
        return self.basis.dim

    def quality(self, embeddings: Floats, lexical: Floats) -> Reals:
        """Expected score, shape (n, m)."""
        z = self.basis(embeddings, lexical)
        logits = (z @ self.demand) @ self.ability[:, 1:].T + self.ability[:, 0] - (z @ self.difficulty)[:, None]
        return self.floor + (1.0 - self.floor) * sigmoid(logits)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """As float32 arrays named ``irt.*``."""
        parts = {f"irt.{part}": getattr(self, part).astype(np.float32) for part in _PARTS}
        return self.basis.tensors("irt.basis") | parts

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> "ResponseModel":
        """The inverse of ``tensors``.

        Raises:
            KeyError: A part is missing.
            ValueError: The shapes do not belong together.
        """
        basis = Basis.from_tensors(tensors, "irt.basis")
        model = cls(basis, *(tensors[f"irt.{part}"].astype(np.float64) for part in _PARTS))
        d, m, k = basis.n_outputs, model.floor.size, model.demand.shape[-1]
        wanted = ((d, k), (d,), (m, 1 + k), (m,))
        pairs = zip(_PARTS, wanted, strict=True)
        check_shapes({f"irt.{part}": (getattr(model, part).shape, shape) for part, shape in pairs})
        return model

    @classmethod
    def example(cls, *, n_arms: int, dim: int) -> "ResponseModel":
        """Random abilities in two dimensions and a guessing floor."""
        rng, basis = np.random.default_rng(0), Basis.example(dim=dim)
        demand = rng.normal(scale=0.3, size=(basis.n_outputs, 2))
        difficulty = rng.normal(scale=0.1, size=basis.n_outputs)
        return cls(basis, demand, difficulty, rng.normal(size=(n_arms, 3)), np.full(n_arms, 0.1))


class ResponsePolicy(PredictivePolicy):
    """Quality by item response theory."""

    name = "irt"
    model_type = ResponseModel
