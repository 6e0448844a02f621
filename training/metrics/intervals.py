"""Paired intervals: the bootstrap over queries, with the same draws for every policy.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993: percentile intervals. A replicate is a vector of
multinomial counts over the queries; every metric here is a function of means over queries, so a replicate of all of a
policy's means is one product of that vector with an (n × columns) matrix. Differences between policies use the same
replicates, so what the queries have in common cancels.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from training.metrics.curve import Reals

Floats = NDArray[np.float32]

N_REPLICATES = 1_000
_CHUNK = 100  # replicates drawn at a time, to bound memory


def weights(n: int, *, n_replicates: int = N_REPLICATES, seed: int = 0) -> Iterator[Floats]:
    """Chunks of weights, each row a replicate that sums to 1, shape (≤ 100, n) float32."""
    rng = np.random.default_rng(seed)
    for start in range(0, n_replicates, _CHUNK):
        counts = rng.multinomial(n, np.full(n, 1.0 / n), size=min(_CHUNK, n_replicates - start))
        yield counts.astype(np.float32) / np.float32(n)


def replicate_means(
    columns: Sequence[Floats],
    *,
    n_replicates: int = N_REPLICATES,
    seed: int = 0,
    progress: Callable[[int], None] = lambda n_done: None,
) -> list[Reals]:
    """Means of every column in every replicate, one array of shape (n_replicates, n_columns) per matrix.

    Args:
        columns: Matrices over the same n queries, float32, shape (n, n_columns).
    """
    parts: list[list[Floats]] = [[] for _ in columns]
    done = 0
    for chunk in weights(len(columns[0]), n_replicates=n_replicates, seed=seed):
        for part, matrix in zip(parts, columns, strict=True):
            part.append(chunk @ matrix)
        done += len(chunk)
        progress(done)
    return [np.concatenate(part).astype(np.float64) for part in parts]


def percentile_interval(replicates: Reals) -> tuple[float, float] | None:
    """The 95 % percentile interval; None where every replicate is undefined."""
    known = replicates[~np.isnan(replicates)]
    if not len(known):
        return None
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)
