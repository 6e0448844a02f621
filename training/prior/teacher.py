"""The teacher: members of different kinds, cross-fitted, blended by held-out likelihood, shrunk along contrasts.

What is slow to serve is free to teach. Every number that judges a member or the blend comes from folds that the member
had not seen; the same fits together predict new queries.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from policies.zoo.landmark_basis import LandmarkBasis
from training.inputs import Inputs, Reals
from training.prior.contrasts import Contrasts, fit_contrasts
from training.prior.folds import content_folds
from training.prior.heads import Heads, heads_for, served_as_they_are
from training.prior.members import Member, fit_member
from training.zoo.task import FitTask

_EQUAL_ROWS = 500.0  # rows whose worth equal weights have against the fitted ones
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Teacher:
    """A fitted blend: a committee of the fold fits of every member.

    What is calibrated on held-out rows is then what predicts. A member fitted once more on all rows would predict with
    more spread than the fits whose held-out rows set the slopes, and every contrast would be believed too much.

    Attributes:
        members: Fits of each member, one per fold, by name.
        weights: Of each member, sum 1.
        held_out: Calibrated predictions of the training rows, each by members that had not seen it, shape (n, m).
        served: Members that serve as they are.
        rest: What the others say of the training rows, along the calibrated contrasts and up to a constant, (n, m).
    """

    members: dict[str, tuple[Member, ...]]
    weights: Reals
    contrasts: Contrasts
    held_out: Reals
    served: tuple[str, ...]
    rest: Reals
    facts: dict[str, Any]

    def quality(self, inputs: Inputs) -> Reals:
        """Expected scores of new queries, shape (n, m)."""
        blend = np.zeros((len(inputs), len(self.contrasts.means)))
        for weight, fits in zip(self.weights, self.members.values(), strict=True):
            for fit in fits:
                blend += weight / len(fits) * fit.model.quality(inputs.embeddings, inputs.lexical)
        return self.contrasts(blend)

    def heads(self, basis: LandmarkBasis) -> Heads:
        """The members that serve as they are, on the inputs of ``basis``; what they say is along the contrasts."""
        weight = dict(zip(self.members, self.weights.tolist(), strict=True))
        found = heads_for(basis, [(name, weight[name], self.members[name]) for name in self.served])
        return replace(found, says=found.says @ self.contrasts.slopes)


def fit_teacher(
    task: FitTask, *, names: Sequence[str], n_folds: int = 5, progress: Progress = lambda what, done, of: None
) -> Teacher:
    """Cross-fit the members named, weigh and calibrate them on what each had not seen."""
    folds, scores = content_folds(task.inputs, n_folds, seed=task.seed), task.inputs.scores
    parts = [fold for fold in range(n_folds) if (folds == fold).any() and (folds != fold).any()]
    held_out = np.tile(scores.mean(axis=0), (len(names), len(scores), 1))
    learned: dict[str, list[Member]] = {name: [] for name in names}
    for done, fold in enumerate(parts):
        test = folds == fold
        unseen, part = task.inputs.rows(test), task.rows(~test)
        for row, name in enumerate(names):
            progress("fitting the teacher", done * len(names) + row, len(parts) * len(names))
            learned[name].append(fit_member(name, part))
            held_out[row, test] = learned[name][-1].model.quality(unseen.embeddings, unseen.lexical)
    progress("fitting the teacher", len(parts) * len(names), len(parts) * len(names))
    weights = contrast_weights(held_out, scores)
    blended = np.tensordot(weights, held_out, axes=1)
    contrasts = fit_contrasts(blended, scores)
    facts = {
        "members": {
            name: {"weight": float(weight), **learned[name][0].facts}
            for name, weight in zip(names, weights, strict=True)
        },
        "contrast_slopes": contrasts.kept.tolist(),
        "n_folds": len(parts),
    }
    members = {name: tuple(learned[name]) for name in names}
    served = served_as_they_are(names, weights)
    others = np.array([name not in served for name in names])
    rest = np.tensordot(weights * others, held_out, axes=1) @ contrasts.slopes
    return Teacher(members, weights, contrasts, contrasts(blended), served, rest, facts)


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
