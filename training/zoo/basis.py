"""Fits the inputs that smooth models share: scaled principal directions, and scales of lexical features."""

import numpy as np

from policies.zoo.basis import Basis
from training.inputs import Inputs, Reals

LEXICAL_SHARE = 0.5  # norm of all lexical features together at one standard deviation each; the embedding's is 1


def fit_basis(inputs: Inputs, *, n_dims: int, lexical_share: float = LEXICAL_SHARE) -> Basis:
    """Directions and scales of ``inputs``; at most ``n_dims`` directions."""
    centre, vectors = principal_directions(inputs, n_dims)
    projected = (inputs.embeddings - centre) @ vectors
    length = float(np.sqrt((projected**2).sum(axis=1).mean()))
    spread = inputs.lexical.std(axis=0, dtype=np.float64)
    exact = Basis(
        centre=centre,
        projection=vectors / max(length, 1e-9),
        lexical_mean=inputs.lexical.mean(axis=0, dtype=np.float64),
        # A feature that never varied teaches nothing: divided by 1 it stays at 0.
        lexical_sd=np.where(spread > 1e-6, spread, 1.0),
        lexical_weight=np.array([lexical_share / inputs.lexical.shape[1] ** 0.5]),
    )
    # Rounded as an artifact rounds: a threshold learned on other numbers than those served would part them.
    return Basis.from_tensors(exact.tensors("basis"), "basis")


def principal_directions(inputs: Inputs, n_dims: int) -> tuple[Reals, Reals]:
    """Mean embedding (dim,) and orthonormal directions of largest variance, shape (dim, k), k ≤ ``n_dims``."""
    points = inputs.embeddings.astype(np.float64)
    centre = points.mean(axis=0)
    centred = points - centre
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return centre, np.ascontiguousarray(vectors[:, ::-1][:, :n_dims])  # eigh sorts upwards
