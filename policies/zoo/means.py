"""Every arm's training mean whatever the query: what a learned policy must beat, and where it falls back to."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.predictions import Reals
from policies.zoo.basis import Floats, Tensors, check_shapes
from policies.zoo.predictive import PredictivePolicy


@dataclass(frozen=True, slots=True)
class MeansModel:
    """Quality without looking at the query.

    Attributes:
        means: Mean training score of each arm, shape (m,).
        width: Length of the embeddings that the cost model beside it reads, shape (1,).
    """

    means: Reals
    width: NDArray[np.int64]

    @property
    def n_arms(self) -> int:
        return int(self.means.shape[0])

    @property
    def dim(self) -> int:
        return int(self.width[0])

    def quality(self, embeddings: Floats, lexical: Floats) -> Reals:
        """The means, once per query, shape (n, m)."""
        return np.tile(self.means, (len(embeddings), 1))

    def tensors(self) -> dict[str, NDArray[Any]]:
        """As ``means.*``."""
        return {"means.means": self.means.astype(np.float32), "means.width": self.width}

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> "MeansModel":
        """The inverse of ``tensors``.

        Raises:
            KeyError: A part is missing.
            ValueError: The shapes do not belong together.
        """
        means, width = tensors["means.means"].astype(np.float64), tensors["means.width"]
        check_shapes({"means.means": (means.shape, (means.size,)), "means.width": (width.shape, (1,))})
        return cls(means, width)

    @classmethod
    def example(cls, *, n_arms: int, dim: int) -> "MeansModel":
        """Later arms are better."""
        return cls(np.linspace(0.4, 0.8, n_arms), np.array([dim]))


class GlobalMeansPolicy(PredictivePolicy):
    """Global mean quality of each arm, with the cost that is predicted for the query."""

    name = "global_means"
    model_type = MeansModel
