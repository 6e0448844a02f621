"""Fits ``knn``: keeps the training queries, and chooses k, prior and width by leaving each of a sample of them out."""

from itertools import product

import numpy as np

from policies.zoo.knn import KnnModel, kernel
from training.inputs import Reals
from training.zoo.task import FitTask, Learned

MOST_POINTS = 50_000
NEIGHBOURS = (50, 100, 200)
PRIORS = (1.0, 3.0, 10.0, 30.0, 100.0, 1000.0)
WIDTHS = (0.7, 1.0, 100.0)  # of unit vectors, whose distances are 0 to 2; the last lets distance count for nothing
_MOST_JUDGED = 2_000  # rows whose left-out error chooses


def fit(task: FitTask) -> Learned:
    """Leave-one-out squared error of up to 2,000 rows chooses k, the prior's weight and the kernel's width together."""
    inputs, rng = task.inputs, np.random.default_rng(task.seed)
    kept = np.sort(rng.permutation(len(inputs))[:MOST_POINTS])
    points, scores = inputs.embeddings[kept].astype(np.float16), inputs.scores[kept].astype(np.float16)
    means = inputs.scores.mean(axis=0)
    draft = KnnModel(points, scores, means, np.array([1.0, 1.0, 1.0]))
    judged = np.sort(rng.permutation(len(kept))[:_MOST_JUDGED])
    most = min(max(NEIGHBOURS), len(kept) - 1)
    near, squared = draft.neighbours(draft.wide[judged], most + 1)
    # Without itself; of exact duplicates one is left out, which of them does not matter.
    near, squared = near[:, 1:], squared[:, 1:]
    found, truth = scores[near].astype(np.float64), inputs.scores[kept[judged]]
    losses = {}
    for k, width in product(sorted({min(k, most) for k in NEIGHBOURS}), WIDTHS):
        weights = kernel(squared[:, :k], width=width)
        sums, total = np.matmul(weights[:, None, :], found[:, :k])[:, 0], weights.sum(axis=1, keepdims=True)
        for prior in PRIORS:
            losses[k, prior, width] = _error(truth, (sums + prior * means) / (total + prior))
    k, prior, width = min(losses, key=lambda key: losses[key])
    model = KnnModel(points, scores, means, np.array([float(k), prior, width]))
    facts = {"k": k, "prior": prior, "width": width, "n_points": len(kept), "squared_error": losses[k, prior, width]}
    return Learned(model, facts)


def _error(truth: Reals, predicted: Reals) -> float:
    """Squared error of the differences between arms, which decide, and of the arms' common level, a tenth as much."""
    missed = truth - predicted
    level = missed.mean(axis=1, keepdims=True)
    return float(((missed - level) ** 2).mean() + 0.1 * (level**2).mean())
