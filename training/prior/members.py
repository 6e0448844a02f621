"""The teacher's members: models of the zoo, and the ridge of ``linear``, which serves as a policy of its own kind."""

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from policies.zoo.basis import Floats
from policies.zoo.feature_map import FeatureMap
from training.inputs import Reals
from training.linear import LinearSettings, fit_linear
from training.zoo.fit import fit_model
from training.zoo.mlp import NetSettings
from training.zoo.mlp import fit_with as fit_mlp
from training.zoo.task import FitTask
from training.zoo.topics import topics_of

LINEAR, TOPICS = "linear", "topics"
MEMBERS = ("knn", "cluster", TOPICS, LINEAR, "logistic", "gbdt", "irt", "mlp")
# One narrow net per fold: the blend is no worse than with three wide ones, and all of them together can serve.
_NETS = NetSettings(width=64, n_nets=1, dropout=0.3)
# Fewer candidates than ``linear`` tries by itself: five fits of it are judged together, and the blend smooths the rest.
_SEARCH = LinearSettings(sharpness=(2.0,), n_folds=3)


class Judge(Protocol):
    """What a fitted member must do."""

    def quality(self, embeddings: Floats, lexical: Floats) -> Reals:
        """Expected score in [0, 1], shape (n, m), of ``embeddings`` (n, dim) and ``lexical`` (n, n_features)."""
        ...


@dataclass(frozen=True, slots=True)
class Member:
    """A fitted member.

    Attributes:
        facts: Of its fit, as JSON values.
        labels: Of ``topics``: the topics in the order of the model's rows.
    """

    model: Judge
    facts: dict[str, Any]
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RidgeJudge:
    """Kernel ridge with landmarks, without the guard that ``linear`` serves with: the student has its own.

    Attributes:
        weights / centre / means: Shapes (d, m), (d,) and (m,), on the features of ``map``.
    """

    map: FeatureMap
    weights: Reals
    centre: Reals
    means: Reals

    def quality(self, embeddings: Floats, lexical: Floats) -> Reals:
        """Expected score in [0, 1], shape (n, m)."""
        features, _ = self.map(embeddings, lexical)
        return np.asarray(np.clip(self.means + (features - self.centre) @ self.weights, 0.0, 1.0))


def members_for(task: FitTask) -> tuple[str, ...]:
    """Every member, but ``topics`` only where the queries have more than one topic."""
    labelled = len(np.unique(topics_of(task))) > 1
    return tuple(name for name in MEMBERS if labelled or name != TOPICS)


def fit_member(name: str, task: FitTask) -> Member:
    """Fit one member on ``task.inputs`` alone.

    Raises:
        PolicyError: No member has that name.
    """
    if name == LINEAR:
        return _fit_ridge(task)
    learned = fit_mlp(task, replace(_NETS, seed=task.seed)) if name == "mlp" else fit_model(name, task)
    labels = tuple(np.unique(topics_of(task)).tolist()) if name == TOPICS else ()
    return Member(learned.model, learned.facts, labels)


def _fit_ridge(task: FitTask) -> Member:
    feature_map, ridge, chosen = fit_linear(task.inputs, replace(_SEARCH, seed=task.seed))
    m = task.inputs.scores.shape[1]
    weights, centre = ridge.weights[:, :m].astype(np.float64), ridge.phi_mean.astype(np.float64)
    facts = {"shared_penalty": chosen.shared_penalty, "contrast_penalty": chosen.contrast_penalty}
    return Member(RidgeJudge(feature_map, weights, centre, ridge.means[:m].astype(np.float64)), facts)
