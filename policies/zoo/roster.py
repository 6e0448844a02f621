"""Arms that joined or left after a fit: what was learned of the rest is not touched, so it stays the same to the bit.

A newcomer shares the difficulty that the trained arms have in common and has an offset of its own. Embeddings hold
hardly more than that of a particular model, so an offset is what there is to learn of it.
"""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from policies.predictions import Reals
from policies.zoo.basis import Floats, Tensors, check_shapes
from policies.zoo.quality import QualityModel
from policies.zoo.sigmoid import log_odds, sigmoid

NEWCOMER = -1
_EDGE = 0.01  # a prediction of a certain answer must not outvote every other arm


@dataclass(frozen=True, slots=True)
class Roster:
    """A model of quality with another set of arms than it was fitted on.

    Attributes:
        base: As fitted; all its columns, those of retired arms too, make up the shared difficulty.
        columns: Column of ``base`` of each arm, ``NEWCOMER`` for one that joined, shape (m,).
        offset / offset_sd: Of a newcomer against the shared log odds, with its doubt; 0 for the others, shape (m,).
    """

    base: QualityModel
    columns: NDArray[np.int64]
    offset: Reals
    offset_sd: Reals

    @property
    def n_arms(self) -> int:
        return int(self.columns.shape[0])

    @property
    def dim(self) -> int:
        return self.base.dim

    def quality(self, embeddings: Floats, lexical: Floats) -> Reals:
        """Expected score, shape (n, m)."""
        return self.enrol(self.base.quality(embeddings, lexical))

    def enrol(self, trained: Reals) -> Reals:
        """The base's expected scores, shape (n, m of the base), as those of the present arms, shape (n, m)."""
        quality = trained[:, np.maximum(self.columns, 0)]
        joined = self.columns == NEWCOMER
        if joined.any():
            quality[:, joined] = sigmoid(shared_log_odds(trained)[:, None] + self.offset[joined])
        return quality

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Those of ``base``, and ``roster.*``."""
        own = {"roster.columns": self.columns, "roster.offset": self.offset, "roster.offset_sd": self.offset_sd}
        return self.base.tensors() | own


def shared_log_odds(quality: Reals) -> Reals:
    """What all arms have in common: their mean log odds, shape (n,), of predictions (n, m)."""
    shared: Reals = log_odds(np.clip(quality, _EDGE, 1.0 - _EDGE)).mean(axis=1)
    return shared


def enrolled(model: QualityModel, tensors: Tensors) -> QualityModel:
    """``model`` with the arms that joined and left since its fit; itself if none did.

    Raises:
        KeyError: A part of the roster is missing.
        ValueError: The roster names a column that the model lacks, or its shapes differ.
    """
    if "roster.columns" not in tensors:
        return model
    columns = tensors["roster.columns"].astype(np.int64)
    offset, offset_sd = (tensors[f"roster.{part}"].astype(np.float64) for part in ("offset", "offset_sd"))
    check_shapes({"roster.offset": (offset.shape, columns.shape), "roster.offset_sd": (offset_sd.shape, columns.shape)})
    if columns.size and not (columns.min() >= NEWCOMER and columns.max() < model.n_arms):
        raise ValueError(f"roster.columns names a column outside the model's {model.n_arms}")
    # A roster is no model that can be loaded by itself, which alone it lacks of the protocol.
    return cast(QualityModel, Roster(model, columns, offset, offset_sd))
