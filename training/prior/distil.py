"""Distils the teachers into what serves: one ridge on landmark features for quality, tokens and USD.

The targets are the teachers' held-out predictions of the training rows, so that the student learns what the teacher
knows of queries it has not seen, and not what it remembers. Left out: mixtures of training queries, and unlabelled ones
of a deployment.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from policies.zoo.default import DefaultPolicy, DistilledModel
from policies.zoo.feature_map import FeatureMap
from policies.zoo.guard import Guard
from policies.zoo.landmark_basis import LandmarkBasis
from policies.zoo.offsets import Offsets
from policies.zoo.quality import Levels
from policies.zoo.tokens import TokenModel
from training.inputs import Inputs, Reals
from training.landmarks import fit_map, half_distances, k_means, whitener
from training.linear import ridge_path
from training.prior.units import UnitSettings, fit_units, standardised
from training.zoo.guard import metric_and_bounds
from training.zoo.task import FitTask, folds_of
from training.zoo.tokens import fit_latency

# Percentiles of the distances of queries new to the landmarks, where trust begins to fade and where 1/e of it is left;
# beyond the last a query is called far. What nearly all known queries keep is also kept of a domain left out.
NEAR, FADE, FAR = 97.0, 99.7, 99.0
_MOVES, _LEAST_VARIANCE = 8.0, 1e-9
_N_HELD = 4  # one part of these many sets the guard's bounds


@dataclass(frozen=True, slots=True)
class DistilSettings:
    """Size and smoothness of what serves.

    Attributes:
        n_dims: Directions an embedding is projected to; at most one per two rows.
        n_landmarks: At most; a small table gets one per ``rows_per_landmark`` rows.
        lexical_share: Norm that all lexical features together have at one standard deviation each; the kernel's is 1.
        sharpness: γ × mean squared length of the projected embeddings.
        penalty: Of the ridge; small, because the targets are smooth already.
        n_cells: Cells of the online offsets.
        units: The layer beside the landmarks.
    """

    n_dims: int = 128
    n_landmarks: int = 512
    rows_per_landmark: int = 2
    lexical_share: float = 0.5
    sharpness: float = 2.0
    penalty: float = 0.3
    n_cells: int = 32
    units: UnitSettings = field(default_factory=UnitSettings)


@dataclass(frozen=True, slots=True)
class Lessons:
    """What the teachers say of the training rows, each by fits that had not seen the row; all (n, m)."""

    quality: Reals
    tokens: Reals
    usd: Reals

    def rows(self, index: NDArray[np.intp]) -> "Lessons":
        """Those of an index."""
        return Lessons(self.quality[index], self.tokens[index], self.usd[index])

    def beside(self, other: "Lessons") -> "Lessons":
        """The rows of both."""
        return Lessons(
            np.vstack([self.quality, other.quality]),
            np.vstack([self.tokens, other.tokens]),
            np.vstack([self.usd, other.usd]),
        )

    def logs(self) -> Reals:
        """Logs of tokens, then of USD, shape (n, 2m)."""
        return np.asarray(np.log(np.hstack([np.maximum(self.tokens, 1e-3), np.maximum(self.usd, 1e-12)])))


def distil(
    task: FitTask,
    lessons: Lessons,
    *,
    settings: DistilSettings,
    seconds: Reals | None = None,
    more: tuple[Inputs, Lessons] | None = None,
) -> DefaultPolicy:
    """The policy that serves, at full precision.

    Args:
        lessons: Of the training rows.
        seconds: Recorded times, shape (n, m), NaN where none.
        more: Queries without outcomes, and what the teachers say of them.
    """
    inputs, names = task.inputs, [arm.name for arm in task.arms]
    feature_map = _steady(_map_of(inputs, settings, seed=task.seed), task)
    logs, taught, heard = lessons.logs(), inputs, lessons
    if more is not None:
        taught, heard = inputs.beside(more[0]), lessons.beside(more[1])
    targets = np.hstack([heard.quality, heard.logs()])
    goals = standardised(heard.quality, heard.logs())
    basis = _with_units(_basis_of(feature_map), taught, goals, replace(settings.units, seed=task.seed))
    guard = _guard(inputs, basis, settings, seed=task.seed)
    basis = replace(basis, metric=guard.metric)
    whitening = np.eye(basis.n_outputs)
    whitening[: basis.n_landmarks, : basis.n_landmarks] = whitener(feature_map)[
        : basis.n_landmarks, : basis.n_landmarks
    ]
    look = basis.look(inputs.embeddings, inputs.lexical)
    features = look.features if more is None else basis(taught.embeddings, taught.lexical)
    weights = whitening @ ridge_path(features @ whitening, targets, [settings.penalty])[0]
    # Centred on the queries that were asked: their mean is the one to fall back to.
    centre, means, m = look.features.mean(axis=0), np.hstack([lessons.quality, logs]).mean(axis=0), len(names)
    mass = np.bincount(look.nearest, minlength=basis.n_landmarks).astype(np.float64)
    fitted_logs = means[m:] + (look.features - centre) @ weights[:, m:]
    residual = inputs.scores - lessons.quality
    noise_sd = np.maximum(np.sqrt((residual**2).mean(axis=0)), 1e-3)
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
        Levels(inputs.scores.mean(axis=0), inputs.scores.std(axis=0), noise_sd),
        arms=names,
        encoder_id=task.encoder_id,
        offsets=_offsets(basis, look.nearest, residual, noise_sd, settings, seed=task.seed),
    )


def _map_of(inputs: Inputs, settings: DistilSettings, *, seed: int) -> FeatureMap:
    return fit_map(
        inputs.embeddings,
        inputs.lexical,
        n_dims=max(1, min(settings.n_dims, inputs.embeddings.shape[1], (len(inputs) - 1) // 2)),
        n_landmarks=settings.n_landmarks,
        rows_per_landmark=settings.rows_per_landmark,
        lexical_share=settings.lexical_share,
        sharpness=settings.sharpness,
        seed=seed,
    )


def _steady(feature_map: FeatureMap, task: FitTask) -> FeatureMap:
    """The map with each lexical feature scaled down by how much it moves when a query is said in other words.

    The factor is v / (v + 8u) with v its variance over the queries and u its mean squared move: of what is said and how
    it is said, the policy is to go by the former.
    """
    if task.reworded is None or not len(task.reworded):
        return feature_map
    lexical = task.inputs.lexical.astype(np.float64)
    moved = ((task.reworded.lexical - lexical[task.reworded.rows]) ** 2).mean(axis=0)
    varied = lexical.var(axis=0) + _LEAST_VARIANCE
    return replace(
        feature_map, lexical_sd=(feature_map.lexical_sd * (1.0 + _MOVES * moved / varied)).astype(np.float32)
    )


def _basis_of(feature_map: FeatureMap) -> LandmarkBasis:
    return LandmarkBasis(
        centre=feature_map.centre.astype(np.float64),
        projection=feature_map.projection.astype(np.float64),
        landmarks=feature_map.landmarks.astype(np.float64),
        lexical_mean=feature_map.lexical_mean.astype(np.float64),
        lexical_sd=feature_map.lexical_sd.astype(np.float64),
        hidden=np.zeros((feature_map.projection.shape[1] + feature_map.lexical_mean.shape[0], 0)),
        hidden_offset=np.zeros(0),
        numbers=np.array([feature_map.gamma, feature_map.lexical_weight, 1.0]),
        metric=np.ones(feature_map.projection.shape[1] + 1),
    )


def _with_units(basis: LandmarkBasis, inputs: Inputs, goals: Reals, settings: UnitSettings) -> LandmarkBasis:
    """The basis with hidden units that read ``goals``; the directions enter them with variance 1 on average."""
    projected = (inputs.embeddings - basis.centre) @ basis.projection
    scale = 1.0 / max(float(np.sqrt((projected**2).mean())), 1e-9)
    hidden, offset = fit_units(basis.net_inputs(projected, inputs.lexical, scale=scale), goals, settings)
    return replace(basis, hidden=hidden, hidden_offset=offset, numbers=np.array([*basis.numbers[:2], scale]))


def _guard(inputs: Inputs, basis: LandmarkBasis, settings: DistilSettings, *, seed: int) -> Guard:
    """Metric and bounds from rows that the landmarks of the others had not seen."""
    held = folds_of(len(inputs), _N_HELD, seed=seed) == 0
    judged, unseen = (inputs, inputs) if held.all() or not held.any() else (inputs.rows(~held), inputs.rows(held))
    other = _basis_of(_map_of(judged, settings, seed=seed))
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
    return Offsets.fresh(cells, prior_sd=between_cells_sd(cells[nearest], residual, noise_sd), noise_sd=noise_sd)


def between_cells_sd(cell: NDArray[np.int32], residual: Reals, noise_sd: Reals) -> Reals:
    """Standard deviation of each arm's offset between cells, shape (m,), by the method of moments.

    Args:
        cell: Of each row, shape (n,).
        residual: Score − prediction, shape (n, m).

    Source: the between-groups variance of DerSimonian and Laird (1986), floored at 0.01.
    """
    counts = np.bincount(cell)
    present = counts > 0
    sums = np.stack([np.bincount(cell, weights=column) for column in residual.T], axis=1)[present]
    weights = counts[present][:, None]
    means = sums / weights
    centre = (weights * means).sum(axis=0) / weights.sum()
    spread = (weights * (means - centre) ** 2).sum(axis=0)
    freed = float(weights.sum() - (weights**2).sum() / weights.sum())
    between = (spread - (len(weights) - 1) * noise_sd**2) / max(freed, 1.0)
    return np.asarray(np.sqrt(np.maximum(between, 0.01**2)))
