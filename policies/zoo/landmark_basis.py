"""Features on which a line can be as curved as the teacher: closeness to landmarks, lexical ones, units and heads.

An embedding is projected to at most 128 directions and compared with landmarks by an RBF kernel, so that ridge on these
features is kernel ridge regression with Nyström landmarks (Williams and Seeger, 2001); far from all of them it says
nothing. A layer of rectified units on the same directions and the lexical features carries what is no matter of
neighbourhood. Heads are probabilities read off the units and their inputs: those of topics, which sum to 1, then single
ones; through them members of the teacher serve as they are. The landmarks also tell how far a query is from everything
known, and in which cell of queries it lies.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.features import FEATURE_NAMES
from policies.predictions import Reals
from policies.zoo.basis import CLIP, Floats, Tensors, check_shapes
from policies.zoo.guard import measured

_SURE = 80.0
_PARTS = (
    "centre", "projection", "landmarks", "lexical_mean", "lexical_sd", "hidden", "hidden_offset", "head", "head_offset",
    "numbers", "metric",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Look:
    """n queries seen from the landmarks.

    Attributes:
        features: Kernel values, then lexical features, then hidden units, then heads, shape (n, n_outputs).
        distance: To the nearest landmark, by the basis' metric, shape (n,).
        nearest: Index of that landmark, shape (n,).
    """

    features: Reals
    distance: Reals
    nearest: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class LandmarkBasis:
    """Embedding (dim,) and lexical features (n_lexical,) -> n_landmarks + n_lexical + width + g numbers, in float64.

    Attributes:
        centre: Mean training embedding, shape (dim,).
        projection: Orthonormal columns, shape (dim, k), k ≤ 128.
        landmarks: k-means centres of the projected training embeddings, shape (n_landmarks, k).
        lexical_mean / lexical_sd: Of the training queries, shape (n_lexical,).
        hidden / hidden_offset: Of max(0, zH + h) with z the directions × their scale beside the lexical features in
            standard deviations, shapes (k + n_lexical, width) and (width,).
        head / head_offset: Log-odds of g heads, linear in z and then the units, shapes (k + n_lexical + width, g) and
            (g,).
        numbers: γ of the kernel exp(−γ·distance²); output of a lexical feature one standard deviation off; scale of the
            directions in z; how many heads, the first ones, are chances of topics, which sum to 1; shape (4,).
        metric: As a ``Guard`` has it, shape (k + 1,).
    """

    centre: Reals
    projection: Reals
    landmarks: Reals
    lexical_mean: Reals
    lexical_sd: Reals
    hidden: Reals
    hidden_offset: Reals
    head: Reals
    head_offset: Reals
    numbers: Reals
    metric: Reals
    squares: Reals = field(init=False)  # of the landmarks; read for every query

    def __post_init__(self) -> None:
        object.__setattr__(self, "squares", np.einsum("ij,ij->i", self.landmarks, self.landmarks))

    @property
    def dim(self) -> int:
        """Length of the embeddings it reads."""
        return int(self.centre.shape[0])

    @property
    def n_landmarks(self) -> int:
        return int(self.landmarks.shape[0])

    @property
    def n_inputs(self) -> int:
        """Length of z."""
        return int(self.projection.shape[1] + self.lexical_mean.shape[0])

    @property
    def n_outputs(self) -> int:
        return int(
            self.landmarks.shape[0]
            + self.lexical_mean.shape[0]
            + self.hidden_offset.shape[0]
            + self.head_offset.shape[0]
        )

    @property
    def n_topics(self) -> int:
        """Heads that are chances of topics."""
        return int(self.numbers[3])

    def __call__(self, embeddings: Floats, lexical: Floats) -> Reals:
        """Outputs of n queries, shape (n, n_outputs)."""
        return self.look(embeddings, lexical).features

    def look(self, embeddings: Floats, lexical: Floats) -> Look:
        """Outputs with the distances they came from."""
        centred = embeddings - self.centre
        projected = centred @ self.projection
        length = np.einsum("ij,ij->i", projected, projected)
        squared = projected @ self.landmarks.T
        squared *= -2.0
        squared += self.squares
        squared += length[:, None]
        np.maximum(squared, 0.0, out=squared)
        nearest = squared.argmin(axis=1)
        dropped = np.einsum("ij,ij->i", centred, centred) - length
        distance = measured(projected - self.landmarks[nearest], dropped, self.metric)
        features = np.empty((len(squared), self.n_outputs))
        m, k = self.n_landmarks, projected.shape[1]
        lexical_end = m + self.lexical_mean.shape[0]
        gamma, weight, scale, _ = self.numbers
        squared *= -gamma
        np.exp(squared, out=features[:, :m])
        inputs = self.net_inputs(projected, lexical, scale=scale)
        np.multiply(inputs[:, k:], weight, out=features[:, m:lexical_end])
        units_end = lexical_end + self.hidden_offset.shape[0]
        units, heads = features[:, lexical_end:units_end], features[:, units_end:]
        np.matmul(inputs, self.hidden, out=units)
        units += self.hidden_offset
        np.maximum(units, 0.0, out=units)
        np.matmul(inputs, self.head[: inputs.shape[1]], out=heads)
        heads += units @ self.head[inputs.shape[1] :]
        heads += self.head_offset
        to_chances(heads, n_topics=self.n_topics)
        return Look(features, distance, nearest)

    def net_inputs(self, projected: Reals, lexical: Floats, *, scale: float) -> Reals:
        """z of hidden units and heads, shape (n, k + n_lexical), of projected embeddings (n, k)."""
        k = projected.shape[1]
        inputs = np.empty((len(projected), k + self.lexical_mean.shape[0]))
        np.multiply(projected, scale, out=inputs[:, :k])
        standard = (lexical - self.lexical_mean) / self.lexical_sd
        np.minimum(np.maximum(standard, -CLIP), CLIP, out=inputs[:, k:])
        return inputs

    def tensors(self, prefix: str) -> dict[str, NDArray[Any]]:
        """As float32 arrays named ``<prefix>.<part>``, for an artifact."""
        return {f"{prefix}.{part}": getattr(self, part).astype(np.float32) for part in _PARTS}

    @classmethod
    def from_tensors(cls, tensors: Tensors, prefix: str) -> "LandmarkBasis":
        """The inverse of ``tensors``.

        Raises:
            KeyError: A part is missing.
            ValueError: The shapes do not belong together, or a scale is not positive.
        """
        basis = cls(*(tensors[f"{prefix}.{part}"].astype(np.float64) for part in _PARTS))
        n_lexical, k = len(FEATURE_NAMES), basis.projection.shape[-1]
        wanted = {
            "centre": (basis.projection.shape[0],),
            "projection": (basis.centre.shape[0], k),
            "landmarks": (max(len(basis.landmarks), 1), k),
            "lexical_mean": (n_lexical,),
            "lexical_sd": (n_lexical,),
            "hidden": (k + n_lexical, basis.hidden_offset.size),
            "hidden_offset": (basis.hidden_offset.size,),
            "head": (k + n_lexical + basis.hidden_offset.size, basis.head_offset.size),
            "head_offset": (basis.head_offset.size,),
            "numbers": (4,),
            "metric": (k + 1,),
        }
        check_shapes({f"{prefix}.{part}": (getattr(basis, part).shape, wanted[part]) for part in _PARTS})
        if not (basis.numbers[0] > 0 and (basis.lexical_sd > 0).all()):
            raise ValueError(f"{prefix}.numbers and {prefix}.lexical_sd must hold positive scales")
        if basis.numbers[3] not in range(basis.head_offset.size + 1):
            raise ValueError(f"{prefix}.numbers must not name more topics than {prefix}.head has columns")
        if not (basis.metric >= 0).all():
            raise ValueError(f"{prefix}.metric must hold no negative weight")
        return basis

    @classmethod
    def example(cls, *, dim: int) -> "LandmarkBasis":
        """Six random landmarks in two directions, three hidden units, two topics and one more head."""
        rng, n_lexical = np.random.default_rng(6), len(FEATURE_NAMES)
        landmarks = rng.normal(scale=0.3, size=(6, 2))
        zeros, ones = np.zeros(n_lexical), np.ones(n_lexical)
        hidden = rng.normal(scale=0.1, size=(2 + n_lexical, 3))
        head = rng.normal(scale=0.1, size=(2 + n_lexical + 3, 3))
        numbers, none = np.array([2.0, 0.05, 1.0, 2.0]), np.zeros(3)
        return cls(np.zeros(dim), np.eye(dim, 2), landmarks, zeros, ones, hidden, none, head, none, numbers, np.ones(3))


def to_chances(log_odds: Reals | Floats, *, n_topics: int) -> None:
    """Heads from their log-odds in place, shape (..., g): softmax over the first ``n_topics``, logistic of the rest.

    Cut at ±80, which no fit comes near and where not even float32 overflows.
    """
    np.minimum(log_odds, _SURE, out=log_odds)
    np.maximum(log_odds, -_SURE, out=log_odds)
    odds = np.exp(log_odds, out=log_odds)
    whole = odds + 1.0
    if n_topics:
        whole[..., :n_topics] = np.add.reduce(odds[..., :n_topics], axis=-1, keepdims=True)
    odds /= whole
