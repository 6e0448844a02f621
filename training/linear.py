"""Fits the ``linear`` policy to an outcome table: landmarks, ridge per arm, and hyper-parameters by cross-validation.

Quality is split into what all arms share (how hard the query is) and what sets them apart; each part has its own
penalty, because the second is the one that decides and is much noisier. Source: kernel ridge with Nyström landmarks
(Williams and Seeger, 2001). Left out: interaction of arms beyond that split, and outcomes of models outside the pool.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.artifact import Artifact
from policies.features import FEATURES_ID
from policies.tables import OutcomeTable
from policies.zoo.feature_map import FeatureMap
from policies.zoo.ridge import LinearWeights
from training.inputs import Inputs
from training.landmarks import fit_map, whitener

Floats = NDArray[np.float32]
Reals = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LinearSettings:
    """What a fit depends on besides its data.

    Attributes:
        n_dims: Dimensions an embedding is projected to.
        n_landmarks: Most landmarks; a small table gets one per eight rows.
        lexical_share: Norm that all lexical features together have at one standard deviation each; the kernel's is 1.
        sharpness: Candidates for gamma × mean squared length of the projected embeddings.
        shared_penalties / contrast_penalties / token_penalties: Candidates for the ridge penalties.
        n_folds: Of the cross-validation that picks among candidates.
    """

    n_dims: int = 64
    n_landmarks: int = 256
    lexical_share: float = 0.25
    sharpness: tuple[float, ...] = (1.0, 2.0, 4.0)
    shared_penalties: tuple[float, ...] = (0.5, 1.5, 5.0, 15.0)
    contrast_penalties: tuple[float, ...] = (1.5, 5.0, 15.0, 50.0, 150.0)
    token_penalties: tuple[float, ...] = (0.15, 0.5, 1.5, 5.0, 15.0)
    n_folds: int = 5
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Chosen:
    """Hyper-parameters, with the cross-validated loss of each target as a share of the variance left unexplained."""

    sharpness: float
    shared_penalty: float
    contrast_penalty: float
    token_penalty: float
    unexplained: dict[str, float] = field(default_factory=dict)


def fit_linear(inputs: Inputs, settings: LinearSettings) -> tuple[FeatureMap, LinearWeights, Chosen]:
    """Choose hyper-parameters by cross-validation within ``inputs`` and fit on all of it."""
    chosen = choose(inputs, settings)
    return (*fit_chosen(inputs, settings, chosen), chosen)


def fit_chosen(inputs: Inputs, settings: LinearSettings, chosen: Chosen) -> tuple[FeatureMap, LinearWeights]:
    """Fit with given hyper-parameters."""
    feature_map = _map_of(inputs, settings, sharpness=chosen.sharpness)
    phi, _ = feature_map(inputs.embeddings, inputs.lexical)
    return feature_map, _fit_weights(inputs, phi.astype(np.float64), feature_map, chosen)


def _map_of(inputs: Inputs, settings: LinearSettings, *, sharpness: float) -> FeatureMap:
    return fit_map(
        inputs.embeddings,
        inputs.lexical,
        n_dims=settings.n_dims,
        n_landmarks=settings.n_landmarks,
        lexical_share=settings.lexical_share,
        sharpness=sharpness,
        seed=settings.seed,
    )


def ridge_path(features: Reals, targets: Reals, penalties: Sequence[float]) -> list[Reals]:
    """Weights of ridge with a free intercept for each penalty, each (d, k): argmin ‖Y − ȳ − (X − x̄)W‖² + λ‖W‖²."""
    centred = features - features.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    rotated = vectors.T @ (centred.T @ (targets - targets.mean(axis=0)))
    return [vectors @ (rotated / (np.maximum(values, 0.0) + penalty)[:, None]) for penalty in penalties]


def _fit_weights(inputs: Inputs, phi: Reals, feature_map: FeatureMap, chosen: Chosen) -> LinearWeights:
    whitening = whitener(feature_map)
    features = phi @ whitening
    shared, contrast = split_quality(inputs.scores)
    quality = (
        ridge_path(features, contrast, [chosen.contrast_penalty])[0]
        + ridge_path(features, shared, [chosen.shared_penalty])[0]
    )
    tokens = ridge_path(features, inputs.log_tokens, [chosen.token_penalty])[0]
    centred = features - features.mean(axis=0)
    gram = centred.T @ centred
    # The milder penalty gives the wider posterior.
    mildest = min(chosen.shared_penalty, chosen.contrast_penalty)
    covariance = np.linalg.inv(gram + mildest * np.eye(len(gram)))
    residual = inputs.log_tokens - inputs.log_tokens.mean(axis=0) - centred @ tokens
    missed = inputs.scores - inputs.scores.mean(axis=0) - centred @ quality
    means = np.concatenate([inputs.scores.mean(axis=0), inputs.log_tokens.mean(axis=0)])
    arrays: dict[str, Reals] = {
        "weights": whitening @ np.hstack([quality, tokens]),
        "means": means,
        "phi_mean": phi.mean(axis=0),
        "covariance": whitening @ covariance @ whitening.T,
        "noise_sd": np.sqrt((missed**2).mean(axis=0)),
        "spread_sd": inputs.scores.std(axis=0),
        "smear": np.exp(residual).mean(axis=0),
        "log_tokens_max": inputs.log_tokens.max(axis=0),
        "input_ratio": inputs.input_ratio,
    }
    single = {name: np.ascontiguousarray(values, dtype=np.float32) for name, values in arrays.items()}
    return LinearWeights(**single, n_rows=float(len(phi)))


def split_quality(scores: Reals) -> tuple[Reals, Reals]:
    """Mean over arms, shape (n, 1), and each arm's difference from it, shape (n, m)."""
    shared = scores.mean(axis=1, keepdims=True)
    return shared, scores - shared


def folds_of(n_rows: int, n_folds: int, *, seed: int) -> Integers:
    """A fold number for each row, of equal sizes up to one, shape (n_rows,)."""
    return np.random.default_rng(seed).permutation(n_rows) % n_folds


def choose(inputs: Inputs, settings: LinearSettings) -> Chosen:
    """Hyper-parameters by cross-validation on ``inputs`` alone.

    Sharpness goes by the contrasts' loss. Among penalties the strongest wins whose loss is not above the best one's by
    more than its paired standard error (Breiman et al., 1984): on unseen queries a milder one has nothing to show.
    """
    best: tuple[float, Chosen] | None = None
    for sharpness in settings.sharpness:
        losses = _cross_validated(inputs, settings, sharpness=sharpness)
        shared, _ = _strongest(losses["shared"], settings.shared_penalties)
        contrast, contrast_loss = _strongest(losses["contrast"], settings.contrast_penalties)
        tokens, _ = _strongest(losses["tokens"], settings.token_penalties)
        unexplained = {name: float(loss.mean(axis=1).min()) for name, loss in losses.items()}
        if best is None or contrast_loss < best[0]:
            best = contrast_loss, Chosen(sharpness, shared, contrast, tokens, unexplained)
    if best is None:
        raise ValueError("settings.sharpness is empty; give at least one candidate")
    return best[1]


def _strongest(losses: Reals, penalties: Sequence[float]) -> tuple[float, float]:
    means = losses.mean(axis=1)
    least = int(means.argmin())
    excess = losses - losses[least]
    error = excess.std(axis=1) / losses.shape[1] ** 0.5
    allowed = [i for i in range(len(penalties)) if excess[i].mean() <= error[i]]
    strongest = max(allowed, key=lambda i: penalties[i])
    return penalties[strongest], float(means[least])


def _cross_validated(inputs: Inputs, settings: LinearSettings, *, sharpness: float) -> dict[str, Reals]:
    """Squared error of each row under each penalty, over the target's variance, (n_penalties, n), by target."""
    n_rows = len(inputs.scores)
    shared, contrast = split_quality(inputs.scores)
    targets = {"shared": shared, "contrast": contrast, "tokens": inputs.log_tokens}
    candidates = {
        "shared": settings.shared_penalties,
        "contrast": settings.contrast_penalties,
        "tokens": settings.token_penalties,
    }
    losses = {name: np.empty((len(candidates[name]), n_rows)) for name in targets}
    for train, test in _splits(n_rows, settings):
        feature_map = _map_of(inputs.rows(train), settings, sharpness=sharpness)
        whitening = whitener(feature_map)
        fitted, unseen = (_phi(feature_map, inputs.rows(index)) @ whitening for index in (train, test))
        for name, target in targets.items():
            for index, weights in enumerate(ridge_path(fitted, target[train], candidates[name])):
                predicted = (unseen - fitted.mean(axis=0)) @ weights + target[train].mean(axis=0)
                losses[name][index, test] = ((target[test] - predicted) ** 2).sum(axis=1)
    variances = {name: max(float(target.var(axis=0).sum()), 1e-12) for name, target in targets.items()}
    return {name: loss / variances[name] for name, loss in losses.items()}


def _phi(feature_map: FeatureMap, inputs: Inputs) -> Reals:
    return feature_map(inputs.embeddings, inputs.lexical)[0].astype(np.float64)


def _splits(n_rows: int, settings: LinearSettings) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    folds = folds_of(n_rows, settings.n_folds, seed=settings.seed)
    for fold in range(settings.n_folds):
        yield folds != fold, folds == fold


def make_artifact(
    table: OutcomeTable,
    fitted: tuple[FeatureMap, LinearWeights, Chosen],
    *,
    encoder_id: str,
    settings: LinearSettings,
    data: dict[str, Any],
    evaluation: dict[str, Any],
) -> Artifact:
    """The fitted policy as an artifact."""
    feature_map, ridge, chosen = fitted
    arms = tuple(
        {**asdict(arm), "price": None if price is None else asdict(price), "revision": ""}
        for arm, price in zip(table.arms, table.prices, strict=True)
    )
    return Artifact(
        policy="linear",
        arms=arms,
        encoder_id=encoder_id,
        features_id=FEATURES_ID,
        tensors=feature_map.tensors() | ridge.tensors(),
        data=data,
        training={"settings": asdict(settings), "chosen": asdict(chosen)},
        evaluation=evaluation,
    )
