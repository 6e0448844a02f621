"""``mlp``: one hidden layer for all arms at once."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.predictions import Reals
from policies.zoo.basis import Basis, Floats, Tensors, check_shapes
from policies.zoo.predictive import PredictivePolicy
from policies.zoo.sigmoid import sigmoid

_PARTS = ("hidden", "hidden_offset", "out", "out_offset")


@dataclass(frozen=True, slots=True)
class NetModel:
    """σ(max(0, zH + h)·O + o).

    Attributes:
        hidden / hidden_offset: H, shape (n_outputs of the basis, width), and h, shape (width,).
        out / out_offset: O, shape (width, m), and o, shape (m,).
    """

    basis: Basis
    hidden: Reals
    hidden_offset: Reals
    out: Reals
    out_offset: Reals

    @property
    def n_arms(self) -> int:
        return int(self.out_offset.shape[0])

    @property
    def dim(self) -> int:
        return self.basis.dim

    def quality(self, embeddings: Floats, lexical: Floats) -> Reals:
        """Expected score, shape (n, m)."""
        active = self.basis(embeddings, lexical) @ self.hidden + self.hidden_offset
        np.maximum(active, 0.0, out=active)
        return sigmoid(active @ self.out + self.out_offset)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """As float32 arrays named ``mlp.*``."""
        parts = {f"mlp.{part}": getattr(self, part).astype(np.float32) for part in _PARTS}
        return self.basis.tensors("mlp.basis") | parts

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> "NetModel":
        """The inverse of ``tensors``.

        Raises:
            KeyError: A part is missing.
            ValueError: The shapes do not belong together.
        """
        basis = Basis.from_tensors(tensors, "mlp.basis")
        model = cls(basis, *(tensors[f"mlp.{part}"].astype(np.float64) for part in _PARTS))
        width, m = model.hidden_offset.size, model.out_offset.size
        wanted = ((basis.n_outputs, width), (width,), (width, m), (m,))
        pairs = zip(_PARTS, wanted, strict=True)
        check_shapes({f"mlp.{part}": (getattr(model, part).shape, shape) for part, shape in pairs})
        return model

    @classmethod
    def example(cls, *, n_arms: int, dim: int) -> "NetModel":
        """Eight hidden units with random weights."""
        rng, basis = np.random.default_rng(0), Basis.example(dim=dim)
        hidden = rng.normal(scale=0.5, size=(basis.n_outputs, 8))
        return cls(basis, hidden, np.zeros(8), rng.normal(scale=0.5, size=(8, n_arms)), np.zeros(n_arms))


class NetPolicy(PredictivePolicy):
    """Quality by a small neural network."""

    name = "mlp"
    model_type = NetModel
