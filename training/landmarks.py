"""Fits what embeddings are compared with: principal directions, landmarks in them, and the kernel's own metric."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.zoo.feature_map import FeatureMap

Floats = NDArray[np.float32]
Reals = NDArray[np.float64]

_AS_MANY = 50


def fit_map(
    embeddings: Floats,
    lexical: Floats,
    *,
    n_dims: int,
    n_landmarks: int,
    lexical_share: float,
    sharpness: float,
    seed: int,
    rows_per_landmark: int = 8,
) -> FeatureMap:
    """Principal directions, landmarks (k-means centres in them), and distances of the training queries to those.

    Args:
        embeddings / lexical: Shape (n, dim) and (n, n_features).
        n_landmarks: Most landmarks; a small table gets one per ``rows_per_landmark`` rows.
        lexical_share: Norm that all lexical features together have at one standard deviation each; the kernel's is 1.
        sharpness: gamma × mean squared length of the projected embeddings.
    """
    points = embeddings.astype(np.float64)
    centre = points.mean(axis=0)
    _, vectors = np.linalg.eigh(np.cov(points - centre, rowvar=False))
    projection = vectors[:, ::-1][:, :n_dims]  # eigh sorts upwards
    projected = (points - centre) @ projection
    landmarks = k_means(projected, max(1, min(n_landmarks, len(projected) // rows_per_landmark)), seed=seed)
    spread = lexical.std(axis=0)
    draft = FeatureMap(
        centre=centre.astype(np.float32),
        projection=np.ascontiguousarray(projection, dtype=np.float32),
        landmarks=landmarks.astype(np.float32),
        gamma=sharpness / max(float((projected**2).sum(axis=1).mean()), 1e-9),
        lexical_mean=lexical.mean(axis=0),
        # A feature that never varied teaches nothing: its weight is zero whatever its scale.
        lexical_sd=np.where(spread > 1e-6, spread, 1.0).astype(np.float32),
        lexical_weight=lexical_share / lexical.shape[1] ** 0.5,
        near=0.0,
        far=1.0,
    )
    near, far = np.percentile(draft(embeddings, lexical)[1], [50.0, 99.0])
    return FeatureMap.from_tensors(draft.tensors() | {"map.numbers": _numbers(draft, near=near, far=far)})


def _numbers(draft: FeatureMap, *, near: float, far: float) -> Reals:
    return np.array([draft.gamma, near, max(far, near + 1e-6), draft.lexical_weight], dtype=np.float64)


def k_means(points: Reals, n_centres: int, *, seed: int, n_steps: int = 20) -> Reals:
    """Lloyd's algorithm from random points; an emptied centre stays where it was. Shape (n_centres, k)."""
    rng = np.random.default_rng(seed)
    centres = points[rng.choice(len(points), n_centres, replace=False)].copy()
    columns, before = np.ascontiguousarray(points.T), np.full(len(points), -1)
    narrow = points.astype(np.float32)  # who is nearest needs no more, in half the time
    for _ in range(n_steps):
        nearest = half_distances(narrow, centres.astype(np.float32)).argmin(axis=1)
        if np.array_equal(nearest, before):
            break
        before = nearest
        # Adds in the order of the points, as np.add.at does, in a third of its time.
        sums = np.stack([np.bincount(nearest, weights=each, minlength=n_centres) for each in columns], axis=1)
        sizes = np.bincount(nearest, minlength=n_centres)
        filled = sizes > 0
        centres[filled] = sums[filled] / sizes[filled, None]
    return centres


def half_distances(points: NDArray[Any], centres: NDArray[Any]) -> NDArray[Any]:
    """Half the squared distances, less what is the same for all centres, shape (n, n_centres)."""
    apart = points @ -centres.T
    apart += 0.5 * np.einsum("ij,ij->i", centres, centres)
    return np.asarray(apart)


def metric_of(apart: Reals, dropped: Reals, *, n_dropped: int, n_dims: int) -> Reals:
    """Weights of squared differences from the nearest landmark, by how much queries new to the landmarks differ.

    A direction's weight is 1.5 v̄ / (v + v̄/2) with v its mean square and v̄ the mean over all directions kept: between
    a plain distance and one in standard deviations, which would listen to the noise of the last directions.

    Args:
        apart: Differences of new queries, shape (n, k), directions by falling variance of the training queries.
        dropped: Squared lengths outside the k directions, shape (n,).
        n_dropped: Dimensions outside them.
        n_dims: Directions wanted; the last weight stands for those beyond k.

    Returns:
        Shape (n_dims + 1,): the last is that of what is dropped.
    """
    along = np.square(apart).mean(axis=0)
    typical = max(float(along.mean()), 1e-12)
    # Few queries tell little of single directions: each mean square is shrunk to the typical one, as by 50 more of it.
    trusted = len(apart) / (len(apart) + _AS_MANY)
    along = trusted * along + (1.0 - trusted) * typical
    along = np.concatenate([along[:n_dims], np.full(max(n_dims - len(along), 0), along[-1])])
    beyond = trusted * max(float(dropped.mean()), 0.0) / max(n_dropped, 1) + (1.0 - trusted) * typical
    return np.asarray(1.5 * typical / (np.append(along, beyond) + 0.5 * typical))


def whitener(feature_map: FeatureMap) -> Reals:
    """Matrix B, shape (d, d), after which a plain ridge on φB is kernel ridge: the kernel part becomes K⁻½."""
    landmarks = feature_map.landmarks.astype(np.float64)
    squares = (landmarks**2).sum(axis=1)
    kernel = np.exp(-feature_map.gamma * np.maximum(squares[:, None] + squares - 2.0 * landmarks @ landmarks.T, 0.0))
    values, vectors = np.linalg.eigh(kernel)
    whitening = np.eye(feature_map.n_outputs)
    m = len(landmarks)
    # Directions below 1e-4 are noise of near-equal landmarks; in float32 their weights would cancel badly.
    whitening[:m, :m] = vectors / np.sqrt(np.maximum(values, 1e-4))
    return whitening
