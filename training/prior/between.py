"""Queries that nobody asked, between ones that were: where the student listens to its teacher beyond the labelled rows.

A pair of similar training queries is mixed as *mixup* does (Zhang et al., 2018); the labels come from the teacher, so
nothing is interpolated but the inputs. Both of a pair come from one fold, so that members who saw neither can judge the
mixture: whoever saw them would tell what it remembers of the two.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from training.inputs import Inputs, Reals
from training.prior.folds import Integers

_NEAREST = 12  # a partner is one of these many nearest
_CHUNK = 1024
_LEAST, _MOST = 0.2, 0.8  # share of the first query


@dataclass(frozen=True, slots=True)
class Mixtures:
    """k mixtures of pairs of training queries.

    Attributes:
        inputs: Outcomes are NaN, embeddings of length 1.
        first / second: Which queries, shape (k,).
        share: Of the first, shape (k, 1).
    """

    inputs: Inputs
    first: NDArray[np.intp]
    second: NDArray[np.intp]
    share: Reals

    def mixed(self, values: Reals) -> Reals:
        """Values of the training queries, shape (n, m), mixed as the queries are, shape (k, m)."""
        return np.asarray(self.share * values[self.first] + (1.0 - self.share) * values[self.second])


def between(inputs: Inputs, folds: Integers, n_queries: int, *, seed: int) -> Mixtures:
    """``n_queries`` mixtures, the two of each from the same fold of ``folds``, shape (n,)."""
    rng, n = np.random.default_rng([seed, 3]), len(inputs)
    first = rng.integers(0, n, size=n_queries)
    second = _partners(inputs, folds, first, rng)
    share = rng.uniform(_LEAST, _MOST, size=(n_queries, 1))
    mixed = share * inputs.embeddings[first] + (1.0 - share) * inputs.embeddings[second]
    mixed /= np.maximum(np.linalg.norm(mixed, axis=1, keepdims=True), 1e-9)
    lexical = share * inputs.lexical[first] + (1.0 - share) * inputs.lexical[second]
    tokens = share[:, 0] * inputs.prompt_tokens[first] + (1.0 - share[:, 0]) * inputs.prompt_tokens[second]
    unknown = np.full((n_queries, inputs.scores.shape[1]), np.nan)
    made = replace(
        inputs,
        embeddings=mixed.astype(np.float32),
        lexical=lexical.astype(np.float32),
        prompt_tokens=tokens,
        scores=unknown,
        log_tokens=unknown,
        usd=unknown,
    )
    return Mixtures(made, first, second, share)


def _partners(inputs: Inputs, folds: Integers, first: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """A near neighbour of each in its own fold, drawn among its nearest; itself where it is alone there."""
    found = first.copy()
    for fold in np.unique(folds):
        rows, mine = np.flatnonzero(folds == fold), np.flatnonzero(folds[first] == fold)
        k = min(_NEAREST, len(rows) - 1)
        for at in range(0, len(mine) if k > 0 else 0, _CHUNK):
            part = mine[at : at + _CHUNK]
            closeness = inputs.embeddings[first[part]] @ inputs.embeddings[rows].T
            closeness[np.arange(len(part)), np.searchsorted(rows, first[part])] = -np.inf
            nearest = np.argpartition(-closeness, k - 1, axis=1)[:, :k]
            found[part] = rows[nearest[np.arange(len(part)), rng.integers(0, k, size=len(part))]]
    return found
