"""Prompts as bags of token ids, cut and tokenised exactly as the static encoder does when it serves."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.encoders.bounds import Bounds

Integers = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Bags:
    """Token ids of n texts, one after another.

    Attributes:
        ids: Shape (n_tokens,).
        starts: Where each text begins and, last, where the last one ends, shape (n + 1,).
    """

    ids: Integers
    starts: Integers

    def __len__(self) -> int:
        return len(self.starts) - 1

    def pick(self, rows: Integers) -> "Bags":
        """The texts of an index, in its order."""
        sizes = np.diff(self.starts)[rows]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        # Position within the picked text plus where that text began.
        shift = np.repeat(self.starts[:-1][rows] - starts[:-1], sizes)
        return Bags(self.ids[np.arange(starts[-1]) + shift], starts)

    def without(self, dropped: NDArray[np.bool_]) -> "Bags":
        """The tokens where ``dropped``, shape (n_tokens,), is false; a text may become empty."""
        kept_before = np.concatenate([[0], np.cumsum(~dropped)])
        return Bags(self.ids[~dropped], kept_before[self.starts].astype(np.int64))

    def sums(self, vectors: NDArray[np.float16] | Floats) -> Floats:
        """Sum of each text's rows of ``vectors``, shape (n, width), float32; zero for an empty text."""
        totals = np.zeros((len(self), vectors.shape[1]), np.float32)
        for row, (begin, end) in enumerate(zip(self.starts[:-1], self.starts[1:], strict=True)):
            totals[row] = vectors[self.ids[begin:end]].sum(axis=0, dtype=np.float32)
        return totals


def make_bags(texts: Sequence[str], tokenizer_json: bytes, bounds: Bounds) -> Bags:
    """Tokenise texts, without special tokens."""
    from tokenizers import Tokenizer

    from policies.encoders.words import WordMemory

    tokenizer = Tokenizer.from_str(tokenizer_json.decode())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    words = WordMemory(tokenizer)
    parts = [bounds.clip_tokens(words.ids(bounds.clip_text(text))) for text in texts]
    ids = np.fromiter((each for part in parts for each in part), np.int64)
    return Bags(ids, np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64))


def unit(vectors: Floats) -> Floats:
    """Rows of length 1; a zero row becomes the first unit vector, as the static encoder has it."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled = vectors / np.maximum(norms, 1e-12)
    scaled[norms[:, 0] == 0.0] = np.eye(1, vectors.shape[1], dtype=np.float32)
    made: Floats = scaled.astype(np.float32)
    return made
