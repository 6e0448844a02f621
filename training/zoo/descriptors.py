"""How strong an arm is by its descriptor: a ridge over the known arms, and how far off it is for one left out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.descriptors import ArmDescriptor
from policies.zoo.arm_features import ArmFeatures, facts_of

Reals = NDArray[np.float64]

PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0, np.inf)  # infinite: the mean of the known arms, whatever the descriptor
MOST_TEXT_DIRECTIONS = 4
FEWEST_ARMS = 3  # below this nothing can be left out


@dataclass(frozen=True, slots=True)
class StrengthPrior:
    """What to expect of an arm's log odds of a right answer, before any.

    Attributes:
        weights / intercept: Of the descriptor's numbers, shape (F,).
        sd: Root mean square error for known arms left out in turn, in logits.
    """

    weights: Reals
    intercept: float
    sd: float

    def mean(self, features: Reals) -> Reals:
        """Expected log odds, shape (a,), of ``features`` (a, F)."""
        return features @ self.weights + self.intercept


def fit_arm_features(descriptors: Sequence[ArmDescriptor], texts: Reals | None = None) -> ArmFeatures:
    """Means and scales over known arms; a benchmark counts where two of them have a score in it."""
    named = sorted({name for each in descriptors for name in each.scores})
    benchmarks = tuple(name for name in named if sum(name in each.scores for each in descriptors) > 1)
    facts = np.array([facts_of(each, benchmarks) for each in descriptors], dtype=np.float64)
    known = np.isfinite(facts)
    counts = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, facts, 0.0).sum(axis=0) / counts
    sd = np.sqrt(np.where(known, (facts - mean) ** 2, 0.0).sum(axis=0) / counts)
    centre, projection = _text_directions(texts)
    return ArmFeatures(benchmarks, mean, np.where(sd > 1e-6, sd, 1.0), centre, projection)


def fit_strength_prior(features: Reals, strength: Reals) -> StrengthPrior:
    """Ridge of ``strength`` (m,) on ``features`` (m, F) with a free intercept; the penalty by leaving each arm out.

    Closed form: the error of a left-out arm is its residual over one minus its leverage (Allen, 1974). With fewer than
    three arms the descriptor teaches nothing and the doubt is one logit at least.
    """
    m, mean = len(strength), float(strength.mean())
    if m < FEWEST_ARMS:
        return StrengthPrior(np.zeros(features.shape[1]), mean, max(float(strength.std()), 1.0))
    centred, missed = features - features.mean(axis=0), strength - mean
    gram, best = centred @ centred.T, None
    for penalty in PENALTIES:
        smoother = np.zeros((m, m)) if np.isinf(penalty) else np.linalg.solve(gram + penalty * np.eye(m), gram)
        left_out = (missed - smoother @ missed) / (1.0 - np.diag(smoother) - 1.0 / m)
        error = float(np.sqrt((left_out**2).mean()))
        if best is None or error < best[0]:
            best = error, penalty
    assert best is not None  # there are penalties
    error, penalty = best
    dual = missed * 0.0 if np.isinf(penalty) else np.linalg.solve(gram + penalty * np.eye(m), missed)
    weights = centred.T @ dual
    return StrengthPrior(weights, mean - float(features.mean(axis=0) @ weights), max(error, 1e-3))


def _text_directions(texts: Reals | None) -> tuple[Reals, Reals]:
    """Centre and the leading directions of the texts' embeddings, each scaled to variance 1."""
    if texts is None or len(known := texts[np.isfinite(texts).all(axis=1)]) < FEWEST_ARMS:
        return np.zeros(0 if texts is None else texts.shape[1]), np.zeros((0 if texts is None else texts.shape[1], 0))
    centre = known.mean(axis=0)
    _, sizes, rows = np.linalg.svd(known - centre, full_matrices=False)
    kept = min(MOST_TEXT_DIRECTIONS, int((sizes > 1e-6 * max(float(sizes[0]), 1e-12)).sum()))
    return centre, rows[:kept].T / (sizes[:kept] / len(known) ** 0.5)
