"""The weights of a static encoder while it is fitted: where they start, what they give, how they become a folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.encoders.bounds import Bounds
from policies.encoders.static import BOUNDS, TABLE, TOKENIZER, build, save_static
from training.encoder.bags import Bags, Floats, unit


class EncoderFitError(ValueError):
    """An encoder cannot be fitted as asked; the message says to what and what to change."""


@dataclass(frozen=True, slots=True)
class StaticWeights:
    """Token vectors and the map applied to their sum.

    Attributes:
        vectors: Shape (vocabulary, width).
        map_to_dim: Shape (width, dim).
        tokenizer_json: A Hugging Face tokenizer whose ids are the rows.
    """

    vectors: Floats
    map_to_dim: Floats
    tokenizer_json: bytes
    bounds: Bounds = BOUNDS

    def embed(self, bags: Bags) -> Floats:
        """What the served encoder gives for these texts, shape (n, dim)."""
        return unit(bags.sums(self.vectors.astype(np.float16)) @ self.map_to_dim)

    def save(self, folder: Path, *, recipe: dict[str, Any]) -> str:
        """Write the folder that ``load_encoder("static", source=folder)`` opens; returns the encoder's id."""
        return save_static(
            folder,
            self.vectors.astype(np.float16),
            tokenizer_json=self.tokenizer_json,
            map_to_dim=self.map_to_dim,
            recipe=recipe,
            bounds=self.bounds,
        )


def distilled(source: str | None = None, *, cache_dir: Path | None = None) -> StaticWeights:
    """The static encoder distilled from MiniLM, built if need be, or that of the folder ``source``, as a start.

    Raises:
        EncoderUnavailable: The teacher's weights are not installed.
        EncoderCorrupt: A file of the folder differs from its manifest.
    """
    from safetensors.numpy import load_file

    folder = build(source=source, cache_dir=cache_dir)
    tensors: dict[str, NDArray[Any]] = load_file(folder / TABLE)
    vectors = tensors["vectors"].astype(np.float32)
    there = tensors.get("map", np.eye(vectors.shape[1], dtype=np.float32))
    return StaticWeights(vectors, there, (folder / TOKENIZER).read_bytes())
