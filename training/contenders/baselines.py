"""What every router must beat, and two yardsticks that look at what a gateway never sees."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.policy import Policy
from training.contender import Forecast, Sample
from training.linear import folds_of
from training.metrics.curve import best_single

Reals = NDArray[np.float64]
Predict = Callable[[Sample, Sample], Forecast]  # (fitted on, asked for)

_N_FOLDS = 5


@dataclass(frozen=True, slots=True)
class Baseline:
    """A contender that is one function of the training rows and the rows asked for.

    Attributes:
        predict: Forecast of the second sample from the first one.
    """

    name: str
    predict: Predict
    needs_labels: bool = False

    def fit(self, train: Sample, *, seed: int) -> "FittedBaseline":
        """Remember the rows; ``held_out`` comes from folds of them."""
        return FittedBaseline(train, self.predict, held_out=_held_out(train, self.predict, seed=seed))


@dataclass(frozen=True, slots=True)
class FittedBaseline:
    """A baseline with the rows it was fitted on; none of these serves, so ``policy`` is None."""

    train: Sample
    predict: Predict
    held_out: Forecast | None
    policy: Policy | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def forecast(self, queries: Sample) -> Forecast:
        """Forecast the queries."""
        return self.predict(self.train, queries)


def fixed() -> Baseline:
    """Always the most accurate arm of the training rows."""
    return Baseline("fixed", _fixed)


def cheapest() -> Baseline:
    """Always the arm of least mean cost on the training rows."""
    return Baseline("cheapest", _cheapest)


def random() -> Baseline:
    """Every arm with equal probability, whatever the query."""
    return Baseline("random", _random)


def global_means() -> Baseline:
    """Mean quality and cost of each arm: what can be done without looking at the query."""
    return Baseline("global_means", _means)


def domain_table() -> Baseline:
    """Means of each arm per domain label, which a gateway never sees; an unseen domain gets the means of all."""
    return Baseline("domain_table", _domain_means, needs_labels=True)


def oracle() -> Baseline:
    """The true score and cost of every arm on the very query."""
    return Baseline("oracle", _truth, needs_labels=True)


def _means(train: Sample, queries: Sample) -> Forecast:
    n = len(queries)
    quality, usd = train.table.scores.mean(axis=0), train.table.usd.mean(axis=0)
    return Forecast(np.tile(quality, (n, 1)), np.tile(usd, (n, 1)), far=np.zeros(n, dtype=np.bool_))


def _drawn(train: Sample, queries: Sample, dist: Reals) -> Forecast:
    means = _means(train, queries)
    return Forecast(means.quality, means.usd, far=means.far, dist=np.tile(dist, (len(queries), 1)))


def _only(n_arms: int, action: int) -> Reals:
    dist = np.zeros(n_arms)
    dist[action] = 1.0
    return dist


def _fixed(train: Sample, queries: Sample) -> Forecast:
    action = best_single(train.table.scores, train.table.usd)
    return _drawn(train, queries, _only(len(train.table.arms), action))


def _cheapest(train: Sample, queries: Sample) -> Forecast:
    return _drawn(train, queries, _only(len(train.table.arms), int(train.table.usd.mean(axis=0).argmin())))


def _random(train: Sample, queries: Sample) -> Forecast:
    n_arms = len(train.table.arms)
    return _drawn(train, queries, np.full(n_arms, 1.0 / n_arms))


def _domain_means(train: Sample, queries: Sample) -> Forecast:
    forecast = _means(train, queries)
    known, asked = np.array(train.table.domains), np.array(queries.table.domains)
    for domain in sorted(set(queries.table.domains) & set(train.table.domains)):
        rows, seen = asked == domain, known == domain
        forecast.quality[rows] = train.table.scores[seen].mean(axis=0)
        forecast.usd[rows] = train.table.usd[seen].mean(axis=0)
    return forecast


def _truth(train: Sample, queries: Sample) -> Forecast:
    return Forecast(queries.table.scores, queries.table.usd, far=np.zeros(len(queries), dtype=np.bool_))


def _held_out(train: Sample, predict: Predict, *, seed: int) -> Forecast:
    """Forecast of every training row from the folds it is not in."""
    n_folds = min(_N_FOLDS, len(train))
    if n_folds < 2:
        return predict(train, train)
    folds = folds_of(len(train), n_folds, seed=seed)
    shape = train.table.scores.shape
    quality, usd, dist = np.empty(shape), np.empty(shape), np.zeros(shape)
    drawn = False
    for fold in range(n_folds):
        part = predict(train.rows(folds != fold), train.rows(folds == fold))
        quality[folds == fold], usd[folds == fold] = part.quality, part.usd
        if part.dist is not None:
            dist[folds == fold], drawn = part.dist, True
    return Forecast(quality, usd, far=np.zeros(len(train), dtype=np.bool_), dist=dist if drawn else None)
