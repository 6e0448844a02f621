"""The teacher of cost: how many output tokens each arm will take, cross-fitted and believed as far as it proved right.

Tokens are regressed as a share of the arm's mean and not on their logarithm: what is paid is the mean, and a mean of
logarithms with a smearing factor explains a fifth less of the dollars. Where a table holds recorded costs and no
prices, dollars are learned the same way.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.inputs import Inputs, Reals
from training.landmarks import fit_map, whitener
from training.linear import ridge_path
from training.prior.contrasts import shrunk_slope
from training.prior.folds import content_folds
from training.threads import one_thread
from training.zoo.basis import fit_basis

N_TREES = 90
LEAST_SHARE, MOST_SHARE = 0.02, 20.0  # of the arm's mean; an answer is never free
_PENALTY = 5.0
_CONSTANT = 1e-6  # relative standard deviation below which an arm's counts are a constant of the table
_PARAMETERS: dict[str, Any] = {
    "objective": "regression",
    "learning_rate": 0.09,
    "num_leaves": 15,
    "min_data_in_leaf": 30,
    "lambda_l2": 5.0,
    "feature_fraction": 0.3,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "max_bin": 63,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}


@dataclass(frozen=True, slots=True)
class SpendingTeacher:
    """Cross-fitted expectations of a positive amount per arm.

    Attributes:
        held_out: Of the training rows, each by a fit that had not seen it, shape (n, m), same unit as the amounts.
        kept: How much of each arm's prediction its held-out rows bear out, 0..1, shape (m,).
    """

    fitted: "_Fit"
    means: Reals
    kept: Reals
    held_out: Reals

    def amounts(self, inputs: Inputs) -> Reals:
        """Expected amounts of new queries, shape (n, m)."""
        return _believed(self.fitted.shares(inputs), self.means, self.kept)


@one_thread("lightgbm")
def fit_spending(inputs: Inputs, amounts: Reals, *, n_folds: int = 3, seed: int = 0) -> SpendingTeacher:
    """Cross-fit on ``amounts`` (n, m), all positive: output tokens, or recorded USD."""
    means = amounts.mean(axis=0)
    shares, folds = amounts / means, content_folds(inputs, n_folds, seed=seed)
    varied = np.flatnonzero(shares.std(axis=0) > _CONSTANT)
    held_out = np.ones_like(shares)
    for fold in range(n_folds):
        train, test = folds != fold, folds == fold
        if varied.size and train.any() and test.any():
            part = _Fit.of(inputs.rows(train), shares[train], varied, seed=seed)
            held_out[test] = part.shares(inputs.rows(test))
    kept = np.array([shrunk_slope(held_out[:, arm], shares[:, arm]) for arm in range(shares.shape[1])])
    fitted = _Fit.of(inputs, shares, varied, seed=seed)
    return SpendingTeacher(fitted, means, kept, _believed(held_out, means, kept))


def _believed(shares: Reals, means: Reals, kept: Reals) -> Reals:
    return means * np.clip(1.0 + kept * (shares - 1.0), LEAST_SHARE, MOST_SHARE)


@dataclass(frozen=True, slots=True)
class _Fit:
    """Trees and a ridge on landmarks, half each, for the arms that vary."""

    basis: Any
    feature_map: Any
    weights: Reals
    centre: Reals
    means: Reals
    boosters: tuple[Any, ...]
    varied: NDArray[np.intp]

    @classmethod
    def of(cls, inputs: Inputs, shares: Reals, varied: NDArray[np.intp], *, seed: int) -> "_Fit":
        basis = fit_basis(inputs, n_dims=32)
        feature_map = fit_map(
            inputs.embeddings, inputs.lexical, n_dims=64, n_landmarks=256, lexical_share=1.0, sharpness=2.0, seed=seed
        )
        phi = feature_map(inputs.embeddings, inputs.lexical)[0].astype(np.float64)
        whitening = whitener(feature_map)
        weights = whitening @ ridge_path(phi @ whitening, shares, [_PENALTY])[0]
        features = basis(inputs.embeddings, inputs.lexical)
        boosters = tuple(_boost(features, shares[:, arm], seed=seed) for arm in varied)
        return cls(basis, feature_map, weights, phi.mean(axis=0), shares.mean(axis=0), boosters, varied)

    def shares(self, inputs: Inputs) -> Reals:
        """Amount as a share of the arm's mean, shape (n, m)."""
        phi = self.feature_map(inputs.embeddings, inputs.lexical)[0]
        smooth: Reals = self.means + (phi - self.centre) @ self.weights
        features = self.basis(inputs.embeddings, inputs.lexical)
        for column, booster in zip(self.varied, self.boosters, strict=True):
            smooth[:, column] = 0.5 * (smooth[:, column] + booster.predict(features, num_threads=1))
        return smooth


def _boost(features: Reals, shares: Reals, *, seed: int) -> Any:
    import lightgbm

    parameters = _PARAMETERS | {"seed": seed}
    data = lightgbm.Dataset(features, label=np.minimum(shares, MOST_SHARE), params=parameters)
    return lightgbm.train(parameters, data, num_boost_round=N_TREES)
