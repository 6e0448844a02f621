"""What a model fitted on a log sees of a query: principal directions of the embedding, and its lexical features."""

from dataclasses import dataclass

import numpy as np

from training.ope.rounds import Floats, Reals

N_DIRECTIONS = 64
_CLIP = 3.0
_SAMPLE = 20_000  # rows the directions come from


@dataclass(frozen=True, slots=True)
class FeatureScale:
    """Embeddings and lexical features → [1, directions, lexical], each of about unit variance.

    Attributes:
        centre / directions: Of the embeddings, shapes (dim,) and (dim, k); a direction is divided by its own spread.
        mean / sd: Of the lexical features, shape (n_features,).
    """

    centre: Reals
    directions: Reals
    mean: Reals
    sd: Reals

    @property
    def n_outputs(self) -> int:
        return 1 + int(self.directions.shape[1]) + len(self.mean)

    def __call__(self, embeddings: Floats, lexical: Floats) -> Reals:
        """Shape (n, n_outputs); the first column is 1."""
        seen = (embeddings - self.centre) @ self.directions
        plain = np.clip((lexical - self.mean) / self.sd, -_CLIP, _CLIP)
        return np.hstack([np.ones((len(seen), 1)), seen, plain])


def fit_scale(embeddings: Floats, lexical: Floats, *, n_directions: int = N_DIRECTIONS) -> FeatureScale:
    """Directions of largest spread of (n, dim) ``embeddings``; outcomes play no part.

    Directions share one scale, that of the widest: noise in the narrow ones must not grow.
    """
    sample = embeddings[:_SAMPLE].astype(np.float64)
    centre = sample.mean(axis=0) if sample.size else np.zeros(embeddings.shape[1])
    values, vectors = (
        np.linalg.eigh(np.cov(sample, rowvar=False)) if len(sample) > 1 and sample.size else _nothing(len(centre))
    )
    kept = [i for i in np.argsort(-values)[:n_directions] if values[i] > 1e-9]
    widest = float(np.sqrt(values[kept].mean())) if kept else 1.0
    directions = vectors[:, kept] / widest
    words = lexical[:_SAMPLE].astype(np.float64)
    mean, sd = words.mean(axis=0), words.std(axis=0)
    return FeatureScale(centre, directions, mean, np.where(sd > 1e-9, sd, 1.0))


def _nothing(dim: int) -> tuple[Reals, Reals]:
    return np.zeros(dim), np.eye(dim)
