"""Queries that nobody asked, between ones that were: where the student listens to its teacher beyond the labelled rows.

A pair of similar training queries is mixed as *mixup* does (Zhang et al., 2018); the labels come from the teacher, so
nothing is interpolated but the inputs.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from training.inputs import Inputs

_NEAREST = 12  # a partner is one of these many nearest
_CHUNK = 1024
_LEAST, _MOST = 0.2, 0.8  # share of the first query


def between(inputs: Inputs, n_queries: int, *, seed: int) -> Inputs:
    """``n_queries`` mixtures; outcomes are NaN, embeddings of length 1."""
    rng, n = np.random.default_rng([seed, 3]), len(inputs)
    first = rng.integers(0, n, size=n_queries)
    second, share = _partners(inputs, first, rng), rng.uniform(_LEAST, _MOST, size=(n_queries, 1))
    mixed = share * inputs.embeddings[first] + (1.0 - share) * inputs.embeddings[second]
    mixed /= np.maximum(np.linalg.norm(mixed, axis=1, keepdims=True), 1e-9)
    lexical = share * inputs.lexical[first] + (1.0 - share) * inputs.lexical[second]
    tokens = share[:, 0] * inputs.prompt_tokens[first] + (1.0 - share[:, 0]) * inputs.prompt_tokens[second]
    unknown = np.full((n_queries, inputs.scores.shape[1]), np.nan)
    return replace(
        inputs,
        embeddings=mixed.astype(np.float32),
        lexical=lexical.astype(np.float32),
        prompt_tokens=tokens,
        scores=unknown,
        log_tokens=unknown,
        usd=unknown,
    )


def _partners(inputs: Inputs, first: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """A near neighbour of each, drawn among its nearest."""
    k = min(_NEAREST, len(inputs) - 1)
    if k < 1:
        return first
    drawn = rng.integers(0, k, size=len(first))
    found = np.empty_like(first)
    for at in range(0, len(first), _CHUNK):
        part = slice(at, at + _CHUNK)
        closeness = inputs.embeddings[first[part]] @ inputs.embeddings.T
        closeness[np.arange(len(closeness)), first[part]] = -np.inf
        nearest = np.argpartition(-closeness, k - 1, axis=1)[:, :k]
        found[part] = nearest[np.arange(len(closeness)), drawn[part]]
    return found
