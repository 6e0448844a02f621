"""Fits the features of what serves: landmarks, lexical features, units that hear the teacher, and its heads."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from policies.zoo.feature_map import FeatureMap
from policies.zoo.landmark_basis import LandmarkBasis
from training.inputs import Inputs, Reals
from training.landmarks import fit_map, whitener
from training.prior.heads import Heads
from training.prior.lessons import Lessons, with_rewordings
from training.prior.units import UnitSettings, fit_units, standardised
from training.zoo.task import FitTask

_MOVES, _LEAST_VARIANCE = 32.0, 1e-9
MakeHeads = Callable[[LandmarkBasis], Heads]


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
class StudentBasis:
    """The features of what serves, and what they are to be taught with.

    Attributes:
        whitening: Of the first d features, those that a ridge is fitted on, shape (d, d); the others are the heads and
            their units, which say what they say already.
        says: What the heads add to the quality, shape (g, m).
        taught / heard: Queries, the task's first, and the lessons of each.
    """

    basis: LandmarkBasis
    whitening: Reals
    says: Reals
    taught: Inputs
    heard: Lessons

    def weights(self, of_features: Reals) -> Reals:
        """Weights of all features, shape (n_outputs, k), quality first, from those of the first d."""
        d, (g, m) = len(of_features), self.says.shape
        weights = np.zeros((self.basis.n_outputs, of_features.shape[1]))
        weights[:d] = of_features
        weights[self.basis.n_outputs - g :, :m] = self.says
        return weights


def fit_student_basis(
    task: FitTask, lessons: Lessons, settings: DistilSettings, make_heads: MakeHeads | None
) -> StudentBasis:
    """Landmarks of the task's queries, heads if any, and units that hear the lessons."""
    feature_map, steadiness = map_of(task.inputs, settings, seed=task.seed), _steadiness(task)
    plain = basis_of(feature_map, task.inputs)
    heads = _none(plain, len(task.arms)) if make_heads is None else make_heads(plain)
    headed = _with_heads(plain, heads)

    def said(inputs: Inputs) -> Reals:
        return np.asarray(
            headed(inputs.embeddings, inputs.lexical)[:, headed.n_outputs - len(heads.says) :] @ heads.says
        )

    taught, heard = with_rewordings(task, lessons, said)
    goals = standardised(heard.to_learn, heard.logs())
    taught_basis = _with_units(plain, taught, goals, replace(settings.units, seed=task.seed), steadiness)
    whitening, n_plain = np.eye(taught_basis.n_outputs), feature_map.n_outputs
    whitening[:n_plain, :n_plain] = whitener(feature_map)
    lexical = np.arange(plain.n_landmarks, n_plain)
    whitening[lexical, lexical] = steadiness
    return StudentBasis(_with_heads(taught_basis, heads), whitening, heads.says, taught, heard)


def map_of(inputs: Inputs, settings: DistilSettings, *, seed: int) -> FeatureMap:
    """Directions and landmarks of queries."""
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


def _steadiness(task: FitTask) -> Reals:
    """By what to scale each lexical feature, for how much it moves when a query is said in other words, (n_lexical,).

    v / (v + 32u) with v its variance over the queries and u its mean squared move: of what is said and how it is said,
    the student is to go by the former.
    """
    lexical = task.inputs.lexical.astype(np.float64)
    if task.reworded is None or not len(task.reworded):
        return np.ones(lexical.shape[1])
    moved = ((task.reworded.lexical - lexical[task.reworded.rows]) ** 2).mean(axis=0)
    varied = lexical.var(axis=0) + _LEAST_VARIANCE
    return np.asarray(varied / (varied + _MOVES * moved))


def basis_of(feature_map: FeatureMap, inputs: Inputs) -> LandmarkBasis:
    """The basis without units and heads; the directions enter those with variance 1 on average."""
    projected = (inputs.embeddings - feature_map.centre) @ feature_map.projection
    scale = 1.0 / max(float(np.sqrt((projected.astype(np.float64) ** 2).mean())), 1e-9)
    n_inputs = feature_map.projection.shape[1] + feature_map.lexical_mean.shape[0]
    return LandmarkBasis(
        centre=feature_map.centre.astype(np.float64),
        projection=feature_map.projection.astype(np.float64),
        landmarks=feature_map.landmarks.astype(np.float64),
        lexical_mean=feature_map.lexical_mean.astype(np.float64),
        lexical_sd=feature_map.lexical_sd.astype(np.float64),
        hidden=np.zeros((n_inputs, 0)),
        hidden_offset=np.zeros(0),
        head=np.zeros((n_inputs, 0)),
        head_offset=np.zeros(0),
        numbers=np.array([feature_map.gamma, feature_map.lexical_weight, scale, 0.0]),
        metric=np.ones(feature_map.projection.shape[1] + 1),
    )


def _with_units(
    basis: LandmarkBasis, inputs: Inputs, goals: Reals, settings: UnitSettings, steadiness: Reals
) -> LandmarkBasis:
    """The basis with hidden units that read ``goals``."""
    projected = (inputs.embeddings - basis.centre) @ basis.projection
    seen = basis.net_inputs(projected, inputs.lexical, scale=float(basis.numbers[2]))
    weighed = np.concatenate([np.ones(projected.shape[1]), steadiness])
    hidden, offset = fit_units(seen * weighed, goals, settings)
    head = np.zeros((basis.n_inputs + len(offset), 0))
    return replace(basis, hidden=hidden * weighed[:, None], hidden_offset=offset, head=head)


def _none(basis: LandmarkBasis, n_arms: int) -> Heads:
    z = basis.n_inputs
    return Heads(np.zeros((z, 0)), np.zeros(0), np.zeros((z, 0)), np.zeros(0), 0, np.zeros((0, n_arms)))


def _with_heads(basis: LandmarkBasis, heads: Heads) -> LandmarkBasis:
    """The basis with the heads' own units beside its own, and with the heads."""
    n_own, z = len(basis.hidden_offset), basis.n_inputs
    head = np.vstack([heads.weights[:z], np.zeros((n_own, len(heads.offset))), heads.weights[z:]])
    return replace(
        basis,
        hidden=np.hstack([basis.hidden, heads.hidden]),
        hidden_offset=np.concatenate([basis.hidden_offset, heads.hidden_offset]),
        head=head,
        head_offset=heads.offset,
        numbers=np.array([*basis.numbers[:3], heads.n_topics]),
    )
