"""Fits ``topics``: which label a training query came with, and per label the arms' means, shrunk by empirical Bayes."""

import numpy as np
from numpy.typing import NDArray

from policies.zoo.topics import TopicModel, softmax
from training.inputs import Reals
from training.zoo.cluster import shrunk_means
from training.zoo.likelihood import choose_strongest, held_out_mask, minimise, unit_basis
from training.zoo.task import FitTask, Learned

N_DIMS = 128
PENALTIES = (10.0, 30.0, 100.0)
_HELD_OUT, _N_STEPS = 0.2, 60


def fit(task: FitTask) -> Learned:
    """The penalty goes by cross-entropy on a fifth of the rows; a table without labels has one topic."""
    names, labels = np.unique(labels_of(task), return_inverse=True)
    basis = unit_basis(task.inputs, n_dims=N_DIMS)
    features = basis(task.inputs.embeddings, task.inputs.lexical)
    out = held_out_mask(len(labels), share=_HELD_OUT, seed=task.seed)
    losses, start = [], None
    for penalty in sorted(PENALTIES, reverse=True):
        start = _fit(features[~out], labels[~out], len(names), penalty, start)
        losses.append(cross_entropy(features[out], labels[out], start))
    penalty = choose_strongest(losses, sorted(PENALTIES, reverse=True))
    found = _fit(features, labels, len(names), penalty, start)
    hit = float((_log_odds(features[out], found).argmax(axis=1) == labels[out]).mean())
    means = shrunk_means(task.inputs.scores, labels, len(names))
    facts = {"n_topics": len(names), "penalty": penalty, "cross_entropy": min(losses), "hit_share": hit}
    return Learned(TopicModel(basis, found[:-1], found[-1], means), facts)


def labels_of(task: FitTask) -> NDArray[np.str_]:
    """The label of each query, shape (n,); one and the same where there are none."""
    return np.zeros(len(task.inputs), np.str_) if task.domains is None else task.domains


def cross_entropy(features: Reals, labels: NDArray[np.intp], weights: Reals) -> float:
    """Mean −log p of the labels, nats; ``weights`` (d + 1, k), the last row the intercepts."""
    chances = softmax(_log_odds(features, weights))[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(chances, 1e-12)).mean())


def _log_odds(features: Reals, weights: Reals) -> Reals:
    return np.asarray(features @ weights[:-1] + weights[-1])


def _fit(features: Reals, labels: NDArray[np.intp], k: int, penalty: float, start: Reals | None) -> Reals:
    """The minimum of the sum of −log p + ½·penalty·‖W‖², intercepts free; shape (d + 1, k)."""
    n, d = features.shape
    truth = np.eye(k)[labels]

    def objective(at: Reals) -> tuple[float, Reals]:
        weights = at.reshape(d + 1, k)
        chances = softmax(_log_odds(features, weights))
        missed = chances - truth
        loss = -np.log(np.maximum(chances[np.arange(n), labels], 1e-300)).sum()
        slope = np.vstack([features.T @ missed + penalty * weights[:-1], missed.sum(axis=0)])
        return float(loss + 0.5 * penalty * (weights[:-1] ** 2).sum()), slope.ravel()

    begin = np.zeros((d + 1, k)) if start is None else start
    return minimise(objective, begin.ravel(), n_steps=_N_STEPS).reshape(d + 1, k)
