"""What a policy expects of each trained arm, and the protocol of whatever expects its quality."""

from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from policies.predictions import Reals
from policies.zoo.basis import Floats, Tensors, check_shapes

_LEVELS = ("means", "spread_sd", "residual_sd")


class QualityModel(Protocol):
    """Expects the score of each trained arm on a query; numpy only.

    A model rounds to the precision of its tensors when it is fitted, so that what was fitted is what serves.

    Attributes:
        n_arms: m, the trained arms in the order of the artifact.
        dim: Length of the embeddings it reads.
    """

    @property
    def n_arms(self) -> int: ...

    @property
    def dim(self) -> int: ...

    def quality(self, embeddings: Floats, lexical: Floats) -> Reals:
        """Expected score in [0, 1], shape (n, m), of ``embeddings`` (n, dim) and ``lexical`` (n, n_features)."""
        ...

    def tensors(self) -> dict[str, NDArray[Any]]:
        """As arrays named ``<kind>.<part>``, for an artifact."""
        ...

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> Self:
        """The inverse of ``tensors``; ignores names of other kinds.

        Raises:
            KeyError: A part is missing.
            ValueError: The shapes do not belong together.
        """
        ...

    @classmethod
    def example(cls, *, n_arms: int, dim: int) -> Self:
        """A small instance whose qualities depend on the query, for the conformance test."""
        ...


@dataclass(frozen=True, slots=True)
class Levels:
    """What is known of each arm apart from any query, each (m,).

    Attributes:
        means: Mean training score: the prediction where nothing is known.
        spread_sd: Standard deviation of the training scores: the doubt where nothing is known.
        residual_sd: Root mean square of score − prediction where the model is at home.
    """

    means: Reals
    spread_sd: Reals
    residual_sd: Reals

    def tensors(self) -> dict[str, NDArray[Any]]:
        """As float32 arrays named ``levels.*``, for an artifact."""
        return {f"levels.{part}": getattr(self, part).astype(np.float32) for part in _LEVELS}

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> "Levels":
        """The inverse of ``tensors``.

        Raises:
            KeyError: A part is missing.
        """
        return cls(*(tensors[f"levels.{part}"].astype(np.float64) for part in _LEVELS))

    def check(self, *, n_arms: int) -> None:
        """Raises:
        ValueError: They are not of ``n_arms`` arms.
        """
        check_shapes({f"levels.{part}": (getattr(self, part).shape, (n_arms,)) for part in _LEVELS})


@dataclass(frozen=True, slots=True)
class Expectations:
    """Of n queries and every trained arm: before configured prices, client bounds and eligibility.

    Attributes:
        quality / quality_sd / output_tokens: Shape (n, m).
        usd: As billed in training, shape (n, m); a configured price × tokens goes before it.
        seconds: Shape (n, m), NaN for an arm whose times were never recorded.
        familiarity: How much of each prediction was kept, 0..1, shape (n,).
        far: Queries unlike the training ones, shape (n,).
        cells: Cell of each query by which offsets are kept, shape (n,); None from a policy that keeps none.
    """

    quality: Reals
    quality_sd: Reals
    output_tokens: Reals
    usd: Reals
    seconds: Reals
    familiarity: Reals
    far: NDArray[np.bool_]
    cells: NDArray[np.integer[Any]] | None = None
