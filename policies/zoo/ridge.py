"""Ridge for all arms at once: the weights a trainer gives, and what they predict before prices and eligibility."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.errors import ArtifactError
from policies.features import FEATURE_NAMES
from policies.zoo.feature_map import FeatureMap, Floats


@dataclass(frozen=True, slots=True)
class LinearWeights:
    """What ridge gives for m arms on features φ of length d.

    Attributes:
        weights: Quality weights, then log-token weights, shape (d, 2m).
        means: Mean quality, then mean log tokens, over the training queries, shape (2m,).
        phi_mean: Shape (d,).
        covariance: (ΦᵀΦ + λI)⁻¹ of the quality ridge, shape (d, d).
        noise_sd: Residual standard deviation of each arm's quality, shape (m,).
        spread_sd: Standard deviation of each arm's training scores: the uncertainty where nothing is known, shape (m,).
        n_rows: Training queries.
        smear: mean(exp(residual)) of log tokens, so that the mean is predicted and not the median (Duan, 1983), (m,).
        log_tokens_max: Largest log tokens seen, shape (m,).
        input_ratio: Billed prompt tokens per estimated prompt token, shape (m,).
    """

    weights: Floats
    means: Floats
    phi_mean: Floats
    covariance: Floats
    noise_sd: Floats
    spread_sd: Floats
    n_rows: float
    smear: Floats
    log_tokens_max: Floats
    input_ratio: Floats
    noise_variance: Floats = field(init=False)  # computed once: they are read for every query
    spread_variance: Floats = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "noise_variance", self.noise_sd**2)
        object.__setattr__(self, "spread_variance", self.spread_sd**2)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """As named arrays, for an artifact."""
        arrays = ("weights", "means", "phi_mean", "covariance", "noise_sd", "spread_sd", "smear", "log_tokens_max")
        named = {f"ridge.{name}": getattr(self, name) for name in (*arrays, "input_ratio")}
        return named | {"ridge.n_rows": np.array([self.n_rows], dtype=np.float64)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> "LinearWeights":
        """The inverse of ``tensors``."""
        named: dict[str, Any] = {name[6:]: values for name, values in tensors.items() if name.startswith("ridge.")}
        return cls(**named | {"n_rows": float(named["n_rows"][0])})


@dataclass(frozen=True, slots=True)
class Expected:
    """Predictions for n queries and every trained arm, each (n, m): before prices and eligibility."""

    quality: Floats
    quality_sd: Floats
    output_tokens: Floats
    familiarity: Floats  # (n,)
    far: NDArray[np.bool_]  # (n,)


@dataclass(frozen=True, slots=True)
class ExpectedOfOne:
    """The same for a single query, each (m,)."""

    quality: Floats
    quality_sd: Floats
    output_tokens: Floats
    far: bool


def expect(feature_map: FeatureMap, ridge: LinearWeights, embeddings: Floats, lexical: Floats) -> Expected:
    """Predict for many queries: ``embeddings`` (n, dim), ``lexical`` (n, n_features)."""
    m = len(ridge.noise_sd)
    phi, distance = feature_map(embeddings, lexical)
    centred = phi - ridge.phi_mean
    kept = feature_map.familiarity(distance)[:, None]
    shifts = (centred @ ridge.weights) * kept  # (n, 2m)
    values = ridge.means + shifts
    leverage = np.maximum(((centred @ ridge.covariance) * centred).sum(axis=1), 0.0) + 1.0 / ridge.n_rows
    variance = kept * leverage[:, None] * ridge.noise_variance + (1.0 - kept) * ridge.spread_variance
    return Expected(
        quality=np.clip(values[:, :m], 0.0, 1.0),
        quality_sd=np.sqrt(variance),
        output_tokens=np.exp(np.minimum(values[:, m:], ridge.log_tokens_max)) * ridge.smear,
        familiarity=kept[:, 0],
        far=distance > feature_map.far,
    )


def expect_one(feature_map: FeatureMap, ridge: LinearWeights, embedding: Floats, lexical: Floats) -> ExpectedOfOne:
    """``expect`` for a single query, as the gateway asks: equal up to rounding, with numbers where arrays are dear."""
    m = len(ridge.noise_sd)
    centred, distance = feature_map.one(embedding, lexical)
    centred -= ridge.phi_mean
    kept = feature_map.familiarity_of_one(distance)
    values = centred @ ridge.weights  # (2m,)
    values *= kept
    values += ridge.means
    quality, log_tokens = values[:m], values[m:]
    np.minimum(quality, 1.0, out=quality)
    np.maximum(quality, 0.0, out=quality)
    np.minimum(log_tokens, ridge.log_tokens_max, out=log_tokens)
    leverage = max(float((centred @ ridge.covariance) @ centred), 0.0) + 1.0 / ridge.n_rows
    variance = ridge.noise_variance * (kept * leverage)
    if kept < 1.0:
        variance += ridge.spread_variance * (1.0 - kept)
    return ExpectedOfOne(quality, np.sqrt(variance), np.exp(log_tokens) * ridge.smear, distance > feature_map.far)


def nothing_known(ridge: LinearWeights) -> ExpectedOfOne:
    """Every arm's training mean: what to expect of a query without an embedding."""
    m = len(ridge.noise_sd)
    return ExpectedOfOne(
        quality=np.clip(ridge.means[:m], 0.0, 1.0),
        quality_sd=ridge.spread_sd,
        output_tokens=np.exp(ridge.means[m:]) * ridge.smear,
        far=True,
    )


def check_shapes(feature_map: FeatureMap, ridge: LinearWeights, *, n_arms: int) -> None:
    """Raises:
    ArtifactError: The shapes do not belong together or a number is not finite.
    """
    d = feature_map.n_outputs
    wanted: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
        "weights": (ridge.weights.shape, (d, 2 * n_arms)),
        "means": (ridge.means.shape, (2 * n_arms,)),
        "phi_mean": (ridge.phi_mean.shape, (d,)),
        "covariance": (ridge.covariance.shape, (d, d)),
        "noise_sd": (ridge.noise_sd.shape, (n_arms,)),
        "input_ratio": (ridge.input_ratio.shape, (n_arms,)),
        "lexical_mean": (feature_map.lexical_mean.shape, (len(FEATURE_NAMES),)),
        "centre": (feature_map.centre.shape, (feature_map.projection.shape[0],)),
        "landmarks": (feature_map.landmarks.shape[1:], feature_map.projection.shape[1:]),
    }
    for name, (found, expected) in wanted.items():
        if found != expected:
            raise ArtifactError(f"weights of {name} have shape {found}, expected {expected}; train it again")
    for name, values in (ridge.tensors() | feature_map.tensors()).items():
        if not np.isfinite(values).all():
            raise ArtifactError(f"weights {name} hold a number that is not finite; train it again")
