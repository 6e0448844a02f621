"""What a model fitted on other rounds expects of every arm in each round: the direct method's part, cross-fitted."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from training.logged.features import FeatureScale, fit_scale
from training.logged.grams import Grams
from training.logged.shared_ridge import SharedRidge, fit_shared_ridge, left_out, likeliest
from training.ope.rounds import OUTCOMES, EvaluationError, Integers, Reals, Rounds

N_FOLDS = 5


@dataclass(frozen=True, slots=True)
class CrossFit:
    """Models of quality, USD and seconds, one per fold, each fitted without the rounds of that fold.

    Attributes:
        ranges: Least and largest outcome seen, shape (2, 3): no expectation lies outside.
        judged: Share of each arm's rounds that somebody judged, 1 where it has none, shape (m,).
    """

    scale: FeatureScale
    models: tuple[SharedRidge, ...]
    ranges: Reals
    judged: Reals

    def __call__(self, rounds: Rounds, *, first: int) -> Reals:
        """Expected outcomes of every arm, shape (n, m, 3); ``first`` is the rounds' place in the log."""
        return self.expect(self.scale(rounds.embeddings, rounds.features), first=first)

    def expect(self, features: Reals, *, first: int) -> Reals:
        """Likewise, from features as ``scale`` gives them."""
        expected = np.empty((len(features), len(self.models[0].weights), len(OUTCOMES)))
        fold = folds_from(first, len(features))
        for part, model in enumerate(self.models):
            rows = fold == part
            expected[rows] = model(features[rows])
        return np.clip(expected, self.ranges[0], self.ranges[1])


def folds_from(first: int, n: int) -> Integers:
    """Fold of each of ``n`` rounds from place ``first`` of the log on."""
    return np.arange(first, first + n) % N_FOLDS


def cross_fit(chunks: Iterable[Rounds]) -> CrossFit:
    """One pass over the log; memory does not grow with it.

    Rounds without a judgement take part in nothing but the count of places; USD or seconds that are unknown count as
    the mean of the known ones of their chunk.

    Raises:
        EvaluationError: There is no round.
    """
    scale: FeatureScale | None = None
    parts: list[Grams] = []
    first, low, high = 0, np.full(3, np.inf), np.full(3, -np.inf)
    drawn, heard = np.zeros(0), np.zeros(0)
    for rounds in chunks:
        if scale is None:
            scale = fit_scale(rounds.embeddings, rounds.features)
            parts = [
                Grams.empty(n_arms=len(rounds.arms), n_features=scale.n_outputs, n_targets=3) for _ in range(N_FOLDS)
            ]
            drawn, heard = np.zeros(len(rounds.arms)), np.zeros(len(rounds.arms))
        features, fold = scale(rounds.embeddings, rounds.features), folds_from(first, len(rounds))
        first += len(rounds)
        judged = ~np.isnan(rounds.quality)
        drawn += np.bincount(rounds.action, minlength=len(drawn))
        heard += np.bincount(rounds.action[judged], minlength=len(heard))
        if not judged.any():
            continue
        outcomes = rounds.outcomes()[judged]
        low = np.fmin(low, np.where(np.isnan(outcomes), np.inf, outcomes).min(axis=0))
        high = np.fmax(high, np.where(np.isnan(outcomes), -np.inf, outcomes).max(axis=0))
        known = np.where(np.isnan(outcomes), _mean_of_known(outcomes), outcomes)
        features, fold, action = features[judged], fold[judged], rounds.action[judged]
        for part in range(N_FOLDS):
            rows = fold == part
            parts[part].add(features[rows], action[rows], known[rows])
    if scale is None:
        raise EvaluationError("the log holds no round to evaluate on")
    priors = likeliest(sum(parts[1:], parts[0]))  # two numbers per outcome: nothing of a round is left in them
    models = tuple(fit_shared_ridge(grams, priors=priors) for grams in left_out(parts))
    seen = low <= high  # an outcome that no round has is 0 to the model, and never reported
    shares = np.where(heard > 0, heard / np.maximum(drawn, 1.0), 1.0)
    return CrossFit(scale, models, np.where(seen, np.stack([low, high]), 0.0), shares)


def _mean_of_known(outcomes: Reals) -> Reals:
    n_known = np.maximum((~np.isnan(outcomes)).sum(axis=0), 1)
    return np.asarray(np.nansum(outcomes, axis=0) / n_known)
