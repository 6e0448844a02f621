"""Mean quality of each arm in the query's cell: the simplest router that looks at the query, hard to beat in-domain.

Source: k-means cells with a table of scores, as in Avengers (arXiv 2505.19797) and UniRoute (arXiv 2502.08773); here a
cell's means are shrunk towards the arm's own by what the cell's few rows can tell (empirical Bayes).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.predictions import Reals
from policies.zoo.basis import Floats, Tensors, check_shapes
from policies.zoo.predictive import PredictivePolicy


@dataclass(frozen=True, slots=True)
class ClusterModel:
    """A table of quality by cell.

    Attributes:
        centres: Of the cells, in the space of embeddings, shape (k, dim).
        means: Quality of each arm in each cell, shape (k, m).
    """

    centres: Reals
    means: Reals

    @property
    def n_arms(self) -> int:
        return int(self.means.shape[1])

    @property
    def dim(self) -> int:
        return int(self.centres.shape[1])

    def cells(self, embeddings: Floats) -> NDArray[np.intp]:
        """The nearest centre of each embedding, shape (n,)."""
        squares = np.einsum("ij,ij->i", self.centres, self.centres)
        nearest: NDArray[np.intp] = (squares - 2.0 * (embeddings.astype(np.float64) @ self.centres.T)).argmin(axis=1)
        return nearest

    def quality(self, embeddings: Floats, lexical: Floats) -> Reals:
        """The means of each query's cell, shape (n, m)."""
        return self.means[self.cells(embeddings)]

    def tensors(self) -> dict[str, NDArray[Any]]:
        """As ``cluster.*``."""
        return {f"cluster.{part}": getattr(self, part).astype(np.float32) for part in ("centres", "means")}

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> "ClusterModel":
        """The inverse of ``tensors``.

        Raises:
            KeyError: A part is missing.
            ValueError: The shapes do not belong together.
        """
        centres, means = (tensors[f"cluster.{part}"].astype(np.float64) for part in ("centres", "means"))
        k, dim, m = max(len(centres), 1), centres.shape[-1], means.shape[-1]
        check_shapes({"cluster.centres": (centres.shape, (k, dim)), "cluster.means": (means.shape, (k, m))})
        return cls(centres, means)

    @classmethod
    def example(cls, *, n_arms: int, dim: int) -> "ClusterModel":
        """Five random cells."""
        rng = np.random.default_rng(3)
        return cls(rng.normal(size=(5, dim)), rng.uniform(0.2, 0.9, size=(5, n_arms)))


class ClusterPolicy(PredictivePolicy):
    """Mean quality in the query's cell."""

    name = "cluster"
    model_type = ClusterModel
