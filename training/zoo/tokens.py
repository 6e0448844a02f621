"""Fits the cost and latency models: log-linear ridge of tokens and USD, and a line from tokens to seconds per arm."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from policies.zoo.tokens import TokenModel
from training.inputs import Inputs, Reals
from training.linear import ridge_path
from training.zoo.basis import fit_basis
from training.zoo.task import folds_of

N_DIMS = 64
PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1000.0)
_N_FOLDS = 5
_LEAST_USD = 1e-9  # log of a free request
_LEAST_TIMED = 20  # rows with a recorded time below which no line is fitted


def fit_tokens(inputs: Inputs, *, seed: int, seconds: Reals | None = None) -> TokenModel:
    """Fit on ``inputs``; the penalty of each target (tokens, USD) goes by cross-validated squared error of its logs.

    Args:
        seconds: Recorded time of each cell, NaN where none, shape (n, m); None where nothing was timed.
    """
    basis = fit_basis(inputs, n_dims=N_DIMS)
    features = basis(inputs.embeddings, inputs.lexical)
    logs = (inputs.log_tokens, np.log(np.maximum(inputs.usd, _LEAST_USD)))
    folds = folds_of(len(inputs), _N_FOLDS, seed=seed)
    weights = np.hstack([ridge_path(features, target, [_penalty(features, target, folds)])[0] for target in logs])
    targets = np.hstack(logs)
    means, centre = targets.mean(axis=0), features.mean(axis=0)
    residual = targets - means - (features - centre) @ weights
    n_arms = inputs.scores.shape[1]
    return TokenModel(
        basis=basis,
        weights=weights,
        means=means,
        centre=centre,
        smear=np.exp(residual).mean(axis=0),
        log_max=targets.max(axis=0),
        input_ratio=inputs.input_ratio,
        latency=np.full((n_arms, 2), np.nan) if seconds is None else fit_latency(inputs, seconds),
    )


def _penalty(
    features: Reals, target: Reals, folds: NDArray[np.int64], *, penalties: Sequence[float] = PENALTIES
) -> float:
    losses = np.zeros(len(penalties))
    for fold in np.unique(folds):
        fitted, held = folds != fold, folds == fold
        if not fitted.any():
            continue
        centred = features[held] - features[fitted].mean(axis=0)
        missed = target[held] - target[fitted].mean(axis=0)
        for index, weights in enumerate(ridge_path(features[fitted], target[fitted], penalties)):
            losses[index] += ((missed - centred @ weights) ** 2).sum()
    return penalties[int(losses.argmin())]


def fit_latency(inputs: Inputs, seconds: Reals) -> Reals:
    """Seconds to the first token and per output token of each arm, both ≥ 0, shape (m, 2); NaN for an untimed one."""
    from scipy.optimize import nnls

    lines = np.full((seconds.shape[1], 2), np.nan)
    tokens = np.exp(inputs.log_tokens)
    for arm in range(seconds.shape[1]):
        timed = np.isfinite(seconds[:, arm])
        if np.count_nonzero(timed) >= _LEAST_TIMED:
            design = np.column_stack([np.ones(np.count_nonzero(timed)), tokens[timed, arm]])
            lines[arm] = nnls(design, seconds[timed, arm])[0]
    return lines
