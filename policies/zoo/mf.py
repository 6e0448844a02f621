"""``mf``: RouteLLM's matrix factorisation, an arm's vector against the projected query (arXiv 2406.18665)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.predictions import Reals
from policies.zoo.basis import Basis, Floats, Tensors, check_shapes
from policies.zoo.predictive import PredictivePolicy
from policies.zoo.sigmoid import sigmoid

_PARTS = ("query", "arm", "offset")


@dataclass(frozen=True, slots=True)
class FactorModel:
    """σ(v_m · Ux + c_m) for m arms.

    Attributes:
        query: U, shape (n_outputs of the basis, r).
        arm: v of each arm, shape (m, r).
        offset: c, shape (m,).
    """

    basis: Basis
    query: Reals
    arm: Reals
    offset: Reals

    @property
    def n_arms(self) -> int:
        return int(self.offset.shape[0])

    @property
    def dim(self) -> int:
        return self.basis.dim

    def quality(self, embeddings: Floats, lexical: Floats) -> Reals:
        """Expected score, shape (n, m)."""
        return sigmoid((self.basis(embeddings, lexical) @ self.query) @ self.arm.T + self.offset)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """As float32 arrays named ``mf.*``."""
        return self.basis.tensors("mf.basis") | {
            f"mf.{part}": getattr(self, part).astype(np.float32) for part in _PARTS
        }

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> "FactorModel":
        """The inverse of ``tensors``.

        Raises:
            KeyError: A part is missing.
            ValueError: The shapes do not belong together.
        """
        basis = Basis.from_tensors(tensors, "mf.basis")
        model = cls(basis, *(tensors[f"mf.{part}"].astype(np.float64) for part in _PARTS))
        rank = model.query.shape[-1]
        wanted = ((basis.n_outputs, rank), (model.offset.size, rank), (model.offset.size,))
        pairs = zip(_PARTS, wanted, strict=True)
        check_shapes({f"mf.{part}": (getattr(model, part).shape, shape) for part, shape in pairs})
        return model

    @classmethod
    def example(cls, *, n_arms: int, dim: int) -> "FactorModel":
        """Random vectors of length 2."""
        rng, basis = np.random.default_rng(0), Basis.example(dim=dim)
        query = rng.normal(scale=0.3, size=(basis.n_outputs, 2))
        return cls(basis, query, rng.normal(size=(n_arms, 2)), np.linspace(-0.5, 0.5, n_arms))


class FactorPolicy(PredictivePolicy):
    """Quality by matrix factorisation."""

    name = "mf"
    model_type = FactorModel
