"""The teacher: members of different kinds, cross-fitted, blended by held-out likelihood, shrunk along contrasts.

What is slow to serve is free to teach. Every number that judges a member or the blend comes from folds that the member
had not seen; the members that predict new queries are fitted on all rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from policies.zoo.quality import QualityModel
from training.inputs import Inputs, Reals
from training.prior.contrasts import Contrasts, fit_contrasts
from training.prior.folds import content_folds
from training.zoo.fit import fit_model
from training.zoo.task import FitTask

MEMBERS = ("knn", "cluster", "logistic", "gbdt", "irt", "mlp")
_EQUAL_ROWS = 500.0  # rows whose worth equal weights have against the fitted ones
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Teacher:
    """A fitted blend.

    Attributes:
        weights: Of each member, sum 1.
        held_out: Calibrated predictions of the training rows, each by members that had not seen it, shape (n, m).
    """

    members: tuple[QualityModel, ...]
    weights: Reals
    contrasts: Contrasts
    held_out: Reals
    facts: dict[str, Any]

    def quality(self, inputs: Inputs) -> Reals:
        """Expected scores of new queries, shape (n, m)."""
        stacked = np.stack([member.quality(inputs.embeddings, inputs.lexical) for member in self.members])
        return self.contrasts(np.tensordot(self.weights, stacked, axes=1))


def fit_teacher(
    task: FitTask, *, names: Sequence[str] = MEMBERS, n_folds: int = 4, progress: Progress = lambda what, done, of: None
) -> Teacher:
    """Cross-fit the members named, weigh, calibrate, and fit them on everything."""
    folds, scores = content_folds(task.inputs, n_folds, seed=task.seed), task.inputs.scores
    held_out = np.tile(scores.mean(axis=0), (len(names), len(scores), 1))
    n_fits, done = len(names) * (n_folds + 1), 0
    for fold in range(n_folds):
        train, test = folds != fold, folds == fold
        for row, name in enumerate(names):
            if test.any() and train.any():
                unseen = task.inputs.rows(test)
                learned = fit_model(name, replace(task, inputs=task.inputs.rows(train)))
                held_out[row, test] = learned.model.quality(unseen.embeddings, unseen.lexical)
            done += 1
            progress("fitting the teacher", done, n_fits)
    weights = contrast_weights(held_out, scores)
    kept = [row for row in range(len(names)) if weights[row] > 0]
    blended = np.tensordot(weights, held_out, axes=1)
    contrasts = fit_contrasts(blended, scores)
    learned_all = []
    for row in kept:
        learned_all.append(fit_model(names[row], task))
        done += 1
        progress("fitting the teacher", done, n_fits)
    progress("fitting the teacher", n_fits, n_fits)
    facts = {
        "members": {names[row]: {"weight": float(weights[row]), **learned_all[i].facts} for i, row in enumerate(kept)},
        "contrast_slopes": contrasts.kept.tolist(),
        "n_folds": n_folds,
    }
    return Teacher(tuple(learned.model for learned in learned_all), weights[kept], contrasts, contrasts(blended), facts)


def contrast_weights(held_out: Reals, scores: Reals) -> Reals:
    """Weights of K held-out predictions, shape (K, n, m), on the simplex, shape (K,).

    Non-negative least squares of the contrasts between arms, which is their held-out likelihood under equal noise,
    mixed with equal weights that count as 500 rows. What all arms share decides nothing, and a likelihood of the scores
    themselves would spend the weights on it.
    """
    from scipy.optimize import nnls

    apart = [_contrasts(each).ravel() for each in held_out]
    found, _ = nnls(np.stack(apart, axis=1), _contrasts(scores).ravel())
    equal = np.full(len(held_out), 1.0 / len(held_out))
    if found.sum() <= 0:
        return equal
    share = _EQUAL_ROWS / (_EQUAL_ROWS + len(scores))
    return np.asarray(share * equal + (1.0 - share) * found / found.sum())


def _contrasts(values: Reals) -> Reals:
    centred = np.asarray(values - values.mean(axis=0))
    return np.asarray(centred - centred.mean(axis=1, keepdims=True))
