"""Fits ``blend``: members on four fifths of the rows to weigh them on the last fifth, then on everything to serve.

The weights maximise the held-out likelihood of the mixture on the simplex, by expectation-maximisation: each step gives
a member the share of the outcomes it explains (stacking; Smyth and Wolpert, 1999). Left out: weights per arm or region.
"""

from collections.abc import Sequence

import numpy as np

from policies.zoo.blend import MEMBERS, BlendModel
from training.inputs import Reals
from training.zoo.fit import fit_model
from training.zoo.logistic import cross_entropy
from training.zoo.task import FitTask, Learned, folds_of

LEAST_WEIGHT = 0.02  # below it a member costs more time than it is worth
_N_FOLDS, _N_STEPS = 5, 300
_EDGE = 1e-3
_PRIOR = 20.0  # pseudo-outcomes per member: on little data the weights stay near equal


def fit(task: FitTask) -> Learned:
    """Weigh every member of ``MEMBERS``, drop the useless, and fit the rest on all rows."""
    return fit_members(task, tuple(MEMBERS))


def fit_members(task: FitTask, names: Sequence[str]) -> Learned:
    """A blend of the members named, all keys of ``MEMBERS``."""
    inputs, held = task.inputs, folds_of(len(task.inputs), _N_FOLDS, seed=task.seed) == 0
    weights = np.full(len(names), 1.0 / len(names))
    losses: list[float] = []
    if held.any() and not held.all():
        part, unseen = task.rows(~held), inputs.rows(held)
        judged = [fit_model(name, part).model.quality(unseen.embeddings, unseen.lexical) for name in names]
        weights = mixture_weights(np.stack(judged), unseen.scores)
        losses = [cross_entropy(unseen.scores, quality) for quality in judged]
    kept = [name for name, weight in zip(names, weights, strict=True) if weight > 0]
    members = {name: fit_model(name, task).model for name in MEMBERS if name in kept}
    share = dict(zip(names, weights, strict=True))
    model = BlendModel(members, np.array([share.get(name, 0.0) for name in MEMBERS]))
    facts = {"weights": {name: float(share[name]) for name in kept}}
    return Learned(model, facts | {"held_out_cross_entropy": dict(zip(names, losses, strict=False))})


def mixture_weights(quality: Reals, scores: Reals) -> Reals:
    """Weights of K predictions, shape (K, n, m), that make the outcomes (n, m) most likely; they sum to 1, (K,).

    A weight below ``LEAST_WEIGHT`` becomes 0.
    """
    p = np.clip(quality, _EDGE, 1.0 - _EDGE)
    k = len(p)
    weights = np.full(k, 1.0 / k)
    for _ in range(_N_STEPS):
        mixed = np.tensordot(weights, p, axes=1)
        explained = (p * (scores / mixed)).mean(axis=(1, 2)) + ((1.0 - p) * ((1.0 - scores) / (1.0 - mixed))).mean(
            axis=(1, 2)
        )
        counts = weights * explained * scores.size + _PRIOR
        weights = counts / counts.sum()
    weights = np.where(weights < LEAST_WEIGHT, 0.0, weights)
    return np.asarray(weights / weights.sum())
