"""Fits ``topics``: which label a training query came with, and per label the arms' means, shrunk by empirical Bayes.

Labels that few queries share are no topics: they, and queries without any, are one rest. So identifiers in the place of
labels cost nothing and teach nothing.
"""

import numpy as np
from numpy.typing import NDArray

from policies.zoo.topics import TopicModel, softmax
from training.inputs import Reals
from training.zoo.cluster import shrunk_means
from training.zoo.likelihood import choose_strongest, held_out_mask, minimise, unit_basis
from training.zoo.task import FitTask, Learned

N_DIMS = 128
PENALTIES = (10.0, 30.0, 100.0, 300.0, 1000.0)
MOST_TOPICS, LEAST_ROWS = 200, 10
_HELD_OUT, _N_STEPS = 0.2, 60
# Where float32 products end: below it a line search follows their rounding, for up to three times as many steps.
_TOLERANCE = 2e-6
_REST = ""


def fit(task: FitTask) -> Learned:
    """The penalty goes by cross-entropy on a fifth of the rows; a table without labels has one topic."""
    names, labels = np.unique(topics_of(task), return_inverse=True)
    basis = unit_basis(task.inputs, n_dims=N_DIMS)
    features = basis(task.inputs.embeddings, task.inputs.lexical)
    out = held_out_mask(len(labels), share=_HELD_OUT, seed=task.seed)
    losses, hits, start = [], [], None
    penalties = sorted(PENALTIES, reverse=True)
    for penalty in penalties:
        start = _fit(features[~out], labels[~out], len(names), penalty, start)
        losses.append(cross_entropy(features[out], labels[out], start))
        hits.append(float((_log_odds(features[out], start).argmax(axis=1) == labels[out]).mean()))
        if losses[-1] > min(losses):
            break  # milder ones are worse still, and take the longest
    penalty = choose_strongest(losses, penalties[: len(losses)])
    found = _fit(features, labels, len(names), penalty, start)
    means = shrunk_means(task.inputs.scores, labels, len(names))
    hit = hits[penalties.index(penalty)]
    facts = {"n_topics": len(names), "penalty": penalty, "cross_entropy": min(losses), "hit_share": hit}
    return Learned(TopicModel(basis, found[:-1], found[-1], means), facts)


def topics_of(task: FitTask) -> NDArray[np.str_]:
    """The topic of each query, shape (n,): its label if that is one of the 200 that most share, and 10 at least."""
    if task.domains is None:
        return np.full(len(task.inputs), _REST)
    names, places, counts = np.unique(task.domains, return_inverse=True, return_counts=True)
    most = np.argsort(-counts, kind="stable")[:MOST_TOPICS]
    kept = np.zeros(len(names), dtype=np.bool_)
    kept[most] = counts[most] >= LEAST_ROWS
    return np.where(kept[places], task.domains, _REST)


def cross_entropy(features: Reals, labels: NDArray[np.intp], weights: Reals) -> float:
    """Mean −log p of the labels, nats; ``weights`` (d + 1, k), the last row the intercepts."""
    chances = softmax(_log_odds(features, weights))[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(chances, 1e-12)).mean())


def _log_odds(features: Reals, weights: Reals) -> Reals:
    return np.asarray(features @ weights[:-1] + weights[-1])


def _fit(features: Reals, labels: NDArray[np.intp], k: int, penalty: float, start: Reals | None) -> Reals:
    """The minimum of the sum of −log p + ½·penalty·‖W‖², intercepts free; shape (d + 1, k)."""
    n, d = features.shape
    own, narrow = (np.arange(n), labels), features.astype(np.float32)

    def objective(at: Reals) -> tuple[float, Reals]:
        # Products and exponentials in float32: where there are many labels they are all the time that a fit takes.
        weights = at.reshape(d + 1, k)
        log_odds = narrow @ weights[:-1].astype(np.float32) + weights[-1].astype(np.float32)
        log_odds -= log_odds.max(axis=1, keepdims=True)
        right = log_odds[own].astype(np.float64)
        missed = np.exp(log_odds, out=log_odds)
        sums = missed.sum(axis=1, keepdims=True)
        loss = (np.log(sums[:, 0].astype(np.float64)) - right).sum()
        missed /= sums
        missed[own] -= 1.0
        slope = np.vstack([narrow.T @ missed + penalty * weights[:-1], missed.sum(axis=0)])
        return float(loss + 0.5 * penalty * (weights[:-1] ** 2).sum()), slope.ravel()

    begin = np.zeros((d + 1, k)) if start is None else start
    return minimise(objective, begin.ravel(), n_steps=_N_STEPS, tolerance=_TOLERANCE).reshape(d + 1, k)
