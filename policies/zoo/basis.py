"""The inputs that smooth models share: principal directions of the embedding beside clipped lexical features."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.features import FEATURE_NAMES
from policies.predictions import Reals

Floats = NDArray[np.float32]
Tensors = Mapping[str, NDArray[Any]]

CLIP = 3.0  # standard deviations; lexical features have long tails and a line follows them anywhere
_PARTS = ("centre", "projection", "lexical_mean", "lexical_sd", "lexical_weight")


@dataclass(frozen=True, slots=True)
class Basis:
    """Embedding (dim,) and lexical features (n_lexical,) -> k + n_lexical numbers.

    All arithmetic is in float64: a batch and a single query then agree to 1e-12, so no tree's threshold parts them.

    Attributes:
        centre: Mean training embedding, shape (dim,).
        projection: Shape (dim, k); scaled by the trainer, so columns need not be of length 1.
        lexical_mean / lexical_sd: Of the training queries, shape (n_lexical,).
        lexical_weight: Output of a lexical feature one standard deviation off, shape (1,).
    """

    centre: Reals
    projection: Reals
    lexical_mean: Reals
    lexical_sd: Reals
    lexical_weight: Reals

    @property
    def dim(self) -> int:
        """Length of the embeddings it reads."""
        return int(self.centre.shape[0])

    @property
    def n_outputs(self) -> int:
        return int(self.projection.shape[1] + self.lexical_mean.shape[0])

    def __call__(self, embeddings: Floats, lexical: Floats) -> Reals:
        """Outputs of n queries, shape (n, n_outputs): the directions first, then the lexical features."""
        k = self.projection.shape[1]
        outputs = np.empty((len(embeddings), self.n_outputs))
        np.matmul(embeddings - self.centre, self.projection, out=outputs[:, :k])
        standard = (lexical - self.lexical_mean) / self.lexical_sd
        np.minimum(np.maximum(standard, -CLIP), CLIP, out=outputs[:, k:])
        outputs[:, k:] *= self.lexical_weight
        return outputs

    def tensors(self, prefix: str) -> dict[str, NDArray[Any]]:
        """As float32 arrays named ``<prefix>.<part>``, for an artifact."""
        return {f"{prefix}.{part}": getattr(self, part).astype(np.float32) for part in _PARTS}

    @classmethod
    def from_tensors(cls, tensors: Tensors, prefix: str) -> "Basis":
        """The inverse of ``tensors``.

        Raises:
            KeyError: A part is missing.
            ValueError: The shapes do not belong together.
        """
        basis = cls(*(tensors[f"{prefix}.{part}"].astype(np.float64) for part in _PARTS))
        n_lexical = len(FEATURE_NAMES)
        wanted = {
            "centre": (basis.projection.shape[0],),
            "projection": (basis.centre.shape[0], basis.projection.shape[-1]),
            "lexical_mean": (n_lexical,),
            "lexical_sd": (n_lexical,),
            "lexical_weight": (1,),
        }
        check_shapes({f"{prefix}.{part}": (getattr(basis, part).shape, wanted[part]) for part in _PARTS})
        return basis

    @classmethod
    def example(cls, *, dim: int, k: int = 4) -> "Basis":
        """The first ``k`` numbers of an embedding, and lexical features that count little."""
        n_lexical = len(FEATURE_NAMES)
        zeros, ones = np.zeros(n_lexical), np.ones(n_lexical)
        return cls(np.zeros(dim), np.eye(dim, k), zeros, ones, np.array([0.05]))


def check_shapes(found_and_wanted: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]) -> None:
    """Compare shapes by tensor name.

    Raises:
        ValueError: Two differ; the message names the tensor.
    """
    for name, (found, wanted) in found_and_wanted.items():
        if found != wanted:
            raise ValueError(f"{name} has shape {found}, expected {wanted}")
