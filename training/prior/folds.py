"""Inner folds by content: rows of one text never part, so that no member is judged on a row it has seen."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from training.inputs import Inputs

Integers = NDArray[np.int64]


def content_folds(inputs: Inputs, n_folds: int, *, seed: int) -> Integers:
    """A fold of each row, shape (n,), from a hash of its embedding and features."""
    salt = f"inner\0{seed}\0".encode()
    rows = zip(np.ascontiguousarray(inputs.embeddings), np.ascontiguousarray(inputs.lexical), strict=True)
    digests = (hashlib.sha256(salt + embedding.tobytes() + lexical.tobytes()).digest() for embedding, lexical in rows)
    return np.array([int.from_bytes(digest[:8], "big") % n_folds for digest in digests], dtype=np.int64)
