"""Ridge of every arm at once: what all arms share, and what tells one from another, each with a prior of its own.

y = φ·(w₀ + v_a) + noise, w₀ ~ N(0, s₀²), v_a ~ N(0, s²). A log of one answer per query says much of w₀, every round
speaks of it, and little of v_a. The two prior variances are those under which the log is likeliest.
Source: Evgeniou and Pontil, "Regularized Multi-Task Learning", KDD 2004; evidence: MacKay, "Bayesian Interpolation",
1992. Left out: a variance for each feature, and noise that differs from arm to arm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from training.logged.grams import Grams
from training.ope.rounds import Reals

# Prior variances as multiples of the noise's; features have unit variance over d, so 1 lets them explain half of y.
SHARED = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
APART = (1e-4, 3e-4, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
_FREE = 1e-6  # precision of what has no prior: the mean of all arms
_MEANS_SD = 1.0  # how much arms' means may differ, in standard deviations of the noise


@dataclass(frozen=True, slots=True)
class Prior:
    """Prior variances over the noise's: of what all arms share, and of what tells them apart."""

    shared: float
    apart: float

    def precisions(self, d: int) -> tuple[Reals, Reals]:
        """Of v_a and of w₀, each (d,); the first feature is the intercept."""
        own, common = (np.full(d, max(d - 1, 1) / variance) for variance in (self.apart, self.shared))
        own[0], common[0] = 1.0 / _MEANS_SD**2, _FREE
        return own, common


@dataclass(frozen=True, slots=True)
class SharedRidge:
    """A fitted model of k targets.

    Attributes:
        weights: w₀ + v_a of every arm, the first feature being 1, shape (m, d, k).
        priors: Of each target.
        noise: Variance of a target of weight 1 about its prediction, shape (k,).
        apart: Posterior covariance of v_a over the noise, given w₀, of the first target, shape (m, d, d).
    """

    weights: Reals
    priors: tuple[Prior, ...]
    noise: Reals
    apart: Reals

    def __call__(self, features: Reals) -> Reals:
        """Predictions of every arm, shape (n, m, k), for ``features`` (n, d) whose first column is 1."""
        n, (m, d, k) = len(features), self.weights.shape
        flat = features @ self.weights.transpose(1, 0, 2).reshape(d, m * k)
        return np.asarray(flat.reshape(n, m, k))

    def doubt(self, features: Reals) -> Reals:
        """Standard deviation of what tells each arm apart, of the first target, shape (n, m)."""
        variance = np.stack([np.einsum("nd,nd->n", features @ each, features) for each in self.apart], axis=1)
        return np.asarray(np.sqrt(self.noise[0] * np.maximum(variance, 0.0)))

    def beside(self, other: "SharedRidge") -> "SharedRidge":
        """These targets, then those of another fit on the same features and arms."""
        weights = np.concatenate([self.weights, other.weights], axis=2)
        noise = np.concatenate([self.noise, other.noise])
        return SharedRidge(weights, self.priors + other.priors, noise, self.apart)


def fit_shared_ridge(grams: Grams, *, priors: Sequence[Prior] | None = None) -> SharedRidge:
    """Fit every target by itself.

    Args:
        priors: Of every target, as ``likeliest`` finds them; None looks for them on these very sums.
    """
    chosen = likeliest(grams) if priors is None else tuple(priors)
    found = [solve(grams, target, prior) for target, prior in enumerate(chosen)]
    weights = np.stack([each.weights for each in found], axis=2)
    noise = np.array([each.noise for each in found])
    return SharedRidge(weights, chosen, noise, found[0].apart)


def likeliest(grams: Grams) -> tuple[Prior, ...]:
    """For every target the prior of greatest evidence, climbed to on a grid from its middle."""
    return tuple(_climb(grams, target) for target in range(grams.targets.shape[2]))


def _climb(grams: Grams, target: int) -> Prior:
    tried: dict[tuple[int, int], float] = {}

    def evidence(at: tuple[int, int]) -> float:
        if at not in tried:
            tried[at] = solve(grams, target, Prior(SHARED[at[0]], APART[at[1]])).evidence
        return tried[at]

    best = (len(SHARED) // 2, len(APART) // 2)
    while True:
        steps = [(best[0] + i, best[1] + j) for i, j in product((-1, 0, 1), repeat=2)]
        around = [at for at in steps if 0 <= at[0] < len(SHARED) and 0 <= at[1] < len(APART)]
        better = max(around, key=evidence)
        if evidence(better) <= evidence(best):
            return Prior(SHARED[best[0]], APART[best[1]])
        best = better


@dataclass(frozen=True, slots=True)
class Solved:
    """Weights of every arm, shape (m, d), log evidence up to a constant, the noise's variance, and (G_a + Λ)⁻¹."""

    weights: Reals
    evidence: float
    noise: float
    apart: Reals


def solve(grams: Grams, target: int, prior: Prior) -> Solved:
    """Weights under one prior.

    w₀ remains after every arm's v_a is eliminated: (Λ₀ + Σ Λ(G_a + Λ)⁻¹G_a)·w₀ = Σ Λ(G_a + Λ)⁻¹b_a.
    """
    m, d = grams.products.shape[:2]
    own, common = prior.precisions(d)
    inverses: Reals = np.asarray(np.linalg.inv(grams.products + np.diag(own)), dtype=np.float64)  # (m, d, d)
    aims = grams.targets[:, :, target]
    pull = own[:, None] * inverses
    left = np.diag(common) + np.einsum("mij,mjk->ik", pull, grams.products, optimize=True)
    w0 = np.linalg.solve(left, np.einsum("mij,mj->i", pull, aims))
    weights = w0 + np.einsum("mij,mj->mi", inverses, aims - grams.products @ w0)
    n = max(float(grams.counts.sum()), 1.0)
    fitted = float(np.einsum("md,md->", weights, aims))
    noise = max(float(grams.squares[:, target].sum()) - fitted, 1e-12 * n) / n
    # Of the posterior's precision, less the prior's.
    widths = np.linalg.slogdet(left)[1] - np.linalg.slogdet(inverses)[1].sum()
    widths -= np.log(common).sum() + m * np.log(own).sum()
    return Solved(weights, float(-0.5 * (n * np.log(noise) + widths)), noise, inverses)


def left_out(parts: Sequence[Grams]) -> list[Grams]:
    """For each part the sum of the others."""
    whole = parts[0]
    for part in parts[1:]:
        whole = whole + part
    return [whole - part for part in parts]
