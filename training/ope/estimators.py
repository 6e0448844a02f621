"""The estimators of off-policy evaluation, under Open Bandit Pipeline's names, as means of one number per round.

Source: Saito et al., "Open Bandit Dataset and Pipeline", NeurIPS 2021 (names, definitions); Dudík et al., "Doubly
Robust Policy Evaluation and Optimization", 2014; Swaminathan and Joachims, "The Self-Normalized Estimator", 2015; Wang
et al., "Optimal and Adaptive Off-policy Evaluation in Contextual Bandits", 2017 (Switch-DR).
"""

from dataclasses import dataclass

import numpy as np

from training.ope.rounds import Reals

ESTIMATORS = ("dm", "ips", "snips", "dr", "switch-dr")
AS_MEANS = ("dm", "ips", "dr", "switch-dr")  # of one number per round; ``snips`` is a ratio of two
_SWITCHES = 20


@dataclass(frozen=True, slots=True)
class Terms:
    """What every estimator of one outcome of one target policy is made of, each shape (n_rounds,).

    Attributes:
        weights: π(a|x) / μ(a|x) of the drawn arm, clipped where asked for.
        outcome: What came of it.
        fitted: What a model, fitted on other rounds, expected of the drawn arm.
        direct: What it expects of the target policy: Σ π(a|x)·q̂(x, a).
    """

    weights: Reals
    outcome: Reals
    fitted: Reals
    direct: Reals

    @property
    def doubly_robust(self) -> Reals:
        """One number per round whose mean is ``dr``, shape (n_rounds,)."""
        return np.asarray(self.direct + self.weights * (self.outcome - self.fitted))

    def columns(self, *, switch: float) -> Reals:
        """Numerators of the estimators in their order, then the denominator of ``snips``, shape (n_rounds, 6)."""
        weighted = self.weights * self.outcome
        correction = self.weights * (self.outcome - self.fitted)
        switched = self.direct + np.where(self.weights <= switch, correction, 0.0)
        return np.stack([self.direct, weighted, weighted, self.direct + correction, switched, self.weights], axis=1)


def means_of(columns: Reals) -> Reals:
    """The columns of ``AS_MEANS`` among ``Terms.columns``, shape (n_rounds, 4)."""
    return np.asarray(columns[:, [ESTIMATORS.index(name) for name in AS_MEANS]])


def values_of(means: Reals) -> Reals:
    """Estimates of ``ESTIMATORS`` from means of ``Terms.columns``, shape (…, 5); NaN for ``snips`` without weight."""
    values: Reals = means[..., :5].copy()
    total = means[..., 5]
    values[..., 2] = np.divide(means[..., 2], total, out=np.full_like(total, np.nan), where=total > 0)
    return values


def switch_of(terms: Terms, *, spread: float) -> float:
    """The weight beyond which Switch-DR trusts the model alone.

    The least bound of the mean squared error over a grid: variance plus the square of the largest bias that the rounds
    left to the model can hide, their mean weight times ``spread``, the widest an outcome can be off.
    """
    grid = np.unique(np.append(np.quantile(terms.weights, np.linspace(0.5, 1.0, _SWITCHES)), np.inf))
    correction, n = terms.weights * (terms.outcome - terms.fitted), len(terms.weights)
    bounds = []
    for switch in grid:
        kept = terms.weights <= switch
        variance = float((terms.direct + np.where(kept, correction, 0.0)).var()) / n
        bounds.append(variance + (float(terms.weights[~kept].sum()) / n * spread) ** 2)
    return float(grid[int(np.argmin(bounds))])
