"""Distils the teachers into what serves: one ridge on landmark features for quality, tokens and USD.

The targets are the teachers' held-out predictions of the training rows, so that the student learns what the teacher
knows of queries it has not seen, and not what it remembers; what heads say is not learned but taken over. Left out:
mixtures of training queries, and unlabelled ones of a deployment.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from policies.zoo.default import DefaultPolicy
from policies.zoo.distilled import DistilledModel
from policies.zoo.guard import Guard
from policies.zoo.landmark_basis import LandmarkBasis
from policies.zoo.offsets import PRIOR_ANSWERS, SHARED, Offsets
from policies.zoo.quality import Levels
from policies.zoo.tokens import TokenModel
from training.inputs import Inputs, Reals
from training.landmarks import half_distances, k_means
from training.linear import ridge_path
from training.prior.lessons import Lessons
from training.prior.student_basis import DistilSettings, MakeHeads, basis_of, fit_student_basis, map_of
from training.zoo.guard import metric_and_bounds
from training.zoo.task import FitTask, folds_of
from training.zoo.tokens import fit_latency

# Percentiles of the distances of queries new to the landmarks, where trust begins to fade and where 1/e of it is left;
# beyond the last a query is called far. Strangers lie hardly further off than one's own queries do: fading from 97 % on
# lets most of them through, from the median on it costs points in-domain.
NEAR, FADE, FAR = 70.0, 97.0, 99.0
_N_HELD = 4  # one part of these many sets the guard's bounds


def distil(
    task: FitTask,
    lessons: Lessons,
    *,
    settings: DistilSettings,
    seconds: Reals | None = None,
    heads: MakeHeads | None = None,
) -> DefaultPolicy:
    """The policy that serves, at full precision.

    Args:
        lessons: Of the training rows.
        heads: Makes what serves as it is; ``rest`` of the lessons is without it.
        seconds: Recorded times, shape (n, m), NaN where none.
    """
    inputs, names = task.inputs, [arm.name for arm in task.arms]
    logs, student = lessons.logs(), fit_student_basis(task, lessons, settings, heads)
    guard = _guard(inputs, student.basis, settings, seed=task.seed)
    basis, whitening = replace(student.basis, metric=guard.metric), student.whitening
    look = basis.look(inputs.embeddings, inputs.lexical)
    seen = basis(student.taught.embeddings, student.taught.lexical)
    targets = np.hstack([student.heard.to_learn, student.heard.logs()])
    learned = ridge_path(seen[:, : len(whitening)] @ whitening, targets, [settings.penalty])[0]
    weights = student.weights(whitening @ learned)
    # Centred on the queries that were asked: their mean is the one to fall back to.
    centre, means, m = look.features.mean(axis=0), np.hstack([lessons.quality, logs]).mean(axis=0), len(names)
    mass = np.bincount(look.nearest, minlength=basis.n_landmarks).astype(np.float64)
    fitted_logs = means[m:] + (look.features - centre) @ weights[:, m:]
    residual = inputs.scores - lessons.quality  # NaN where an arm did not answer
    noise_sd = np.maximum(np.sqrt(np.nanmean(residual**2, axis=0)), 1e-3)
    tokens = TokenModel(
        basis=basis,
        weights=weights[:, m:],
        means=means[m:],
        centre=centre,
        smear=np.exp(logs).mean(axis=0) / np.exp(fitted_logs).mean(axis=0),
        log_max=logs.max(axis=0) + np.log(2.0),
        input_ratio=inputs.input_ratio,
        latency=np.full((m, 2), np.nan) if seconds is None else fit_latency(inputs, seconds),
    )
    return DefaultPolicy(
        DistilledModel(basis, weights[:, :m], centre, means[:m], mass),
        tokens,
        guard,
        _levels(inputs.scores, lessons.quality, noise_sd),
        arms=names,
        encoder_id=task.encoder_id,
        offsets=_offsets(basis, look.nearest, residual, noise_sd, settings, seed=task.seed),
    )


def _levels(scores: Reals, quality: Reals, noise_sd: Reals) -> Levels:
    """Means where every arm answered every query; else what is expected of all, not of those that an arm was given."""
    partial = np.isnan(scores).any()
    means = quality.mean(axis=0) if partial else scores.mean(axis=0)
    return Levels(means, np.nanstd(scores, axis=0), noise_sd)


def _guard(inputs: Inputs, basis: LandmarkBasis, settings: DistilSettings, *, seed: int) -> Guard:
    """Metric and bounds from rows that the landmarks of the others had not seen."""
    held = folds_of(len(inputs), _N_HELD, seed=seed) == 0
    judged, unseen = (inputs, inputs) if held.all() or not held.any() else (inputs.rows(~held), inputs.rows(held))
    other = basis_of(map_of(judged, settings, seed=seed), judged)
    blank = Guard(other.centre, other.projection, other.landmarks, other.metric, np.zeros(3))
    n_dims = basis.projection.shape[1]
    metric, bounds = metric_and_bounds(blank, unseen, n_dims=n_dims, percentiles=(NEAR, FADE, FAR))
    return Guard(basis.centre, basis.projection, basis.landmarks, metric, bounds)


def _offsets(
    basis: LandmarkBasis,
    nearest: NDArray[np.intp],
    residual: Reals,
    noise_sd: Reals,
    settings: DistilSettings,
    *,
    seed: int,
) -> Offsets:
    """Nothing seen; how far cells may differ is what the held-out residuals show beyond their noise."""
    centres = k_means(basis.landmarks, max(1, min(settings.n_cells, basis.n_landmarks // 4)), seed=seed)
    cells = half_distances(basis.landmarks, centres).argmin(axis=1).astype(np.int32)
    fresh = Offsets.fresh(cells, prior_sd=between_cells_sd(cells[nearest], residual, noise_sd), noise_sd=noise_sd)
    return fresh.warmed(answers=min(len(residual), PRIOR_ANSWERS), shared=SHARED)


def between_cells_sd(cell: NDArray[np.int32], residual: Reals, noise_sd: Reals) -> Reals:
    """Standard deviation of each arm's offset between cells, shape (m,), by the method of moments.

    Args:
        cell: Of each row, shape (n,).
        residual: Score − prediction, NaN where unknown, shape (n, m).

    Source: the between-groups variance of DerSimonian and Laird (1986), floored at 0.01.
    """
    known, found = ~np.isnan(residual), np.nan_to_num(residual)
    counts = np.stack([np.bincount(cell, weights=column) for column in known.T], axis=1)
    sums = np.stack([np.bincount(cell, weights=column) for column in found.T], axis=1)
    means, total = sums / np.maximum(counts, 1.0), np.maximum(counts.sum(axis=0), 1.0)
    spread = (counts * (means - sums.sum(axis=0) / total) ** 2).sum(axis=0)
    freed = total - (counts**2).sum(axis=0) / total
    between = (spread - ((counts > 0).sum(axis=0) - 1) * noise_sd**2) / np.maximum(freed, 1.0)
    return np.asarray(np.sqrt(np.maximum(between, 0.01**2)))
