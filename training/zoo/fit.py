"""Fits any policy of the zoo by name: its model of quality beside the cost model and guard that all share."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

import numpy as np

from policies.errors import PolicyError
from policies.registry import policy_type
from policies.zoo.guard import Guard
from policies.zoo.predictive import PredictivePolicy
from policies.zoo.quality import Levels, QualityModel
from policies.zoo.tokens import TokenModel
from training.inputs import Inputs, Reals
from training.zoo.guard import fit_guard
from training.zoo.task import FitModel, FitTask, Learned
from training.zoo.tokens import fit_tokens

DEFAULT = "default"  # no model of quality beside shared parts: all of it is distilled at once
FITS = {
    "global_means": "training.zoo.means:fit",
    "cluster": "training.zoo.cluster:fit",
    "topics": "training.zoo.topics:fit",
    "knn": "training.zoo.knn:fit",
    "logistic": "training.zoo.logistic:fit",
    "gbdt": "training.zoo.gbdt:fit",
    "blend": "training.zoo.blend:fit",
    "mf": "training.zoo.mf:fit",
    "irt": "training.zoo.irt:fit",
    "mlp": "training.zoo.mlp:fit",
    "two_tower": "training.zoo.two_tower:fit",
}


@dataclass(frozen=True, slots=True)
class SharedParts:
    """What every policy fitted on the same queries has in common.

    Attributes:
        guard: None leaves the policy unprotected.
    """

    tokens: TokenModel
    guard: Guard | None


def fit_shared(inputs: Inputs, *, seed: int, seconds: Reals | None = None) -> SharedParts:
    """Fit the cost model and the guard; ``seconds`` are recorded times, shape (n, m), NaN where none."""
    return SharedParts(fit_tokens(inputs, seed=seed, seconds=seconds), fit_guard(inputs, seed=seed))


def fit_model(name: str, task: FitTask) -> Learned:
    """Fit the model of quality of policy ``name``, unless the task has it; only its module is imported.

    Raises:
        PolicyError: No policy of the zoo has that name.
    """
    if name not in FITS:
        raise PolicyError(f"no policy of the zoo is named {name!r}; use one of {', '.join(sorted(FITS))}")
    if name in task.done:
        return task.done[name]
    module, _, function = FITS[name].partition(":")
    return cast(FitModel, getattr(import_module(module), function))(task)


def fit_policy(
    name: str, task: FitTask, *, shared: SharedParts | None = None, seconds: Reals | None = None
) -> tuple[PredictivePolicy, dict[str, Any]]:
    """Fit policy ``name`` on a task; returns it with the facts of its fit (JSON values).

    What is returned has the precision of an artifact: saved and loaded it predicts the same bits.

    Args:
        shared: Parts fitted before on the same queries, to save time; ``default`` has its own.
        seconds: Recorded times, shape (n, m), used where ``shared`` is None or ``default`` is asked for.

    Raises:
        PolicyError: No policy of the zoo has that name.
    """
    if name == DEFAULT:
        # Its teacher is fitted by this very module.
        from training.prior.fit import fit_default

        fit = fit_default(task, seconds=seconds)
        return fit.policy, fit.facts
    learned = fit_model(name, task)
    parts = shared or fit_shared(task.inputs, seed=task.seed, seconds=seconds)
    return assemble(name, learned.model, task, shared=parts), learned.facts


def assemble(name: str, model: QualityModel, task: FitTask, *, shared: SharedParts) -> PredictivePolicy:
    """Policy ``name`` from its parts, rounded as an artifact rounds them."""
    policy = cast(type[PredictivePolicy], policy_type(name))
    names = [arm.name for arm in task.arms]
    levels = _levels(model, task.inputs)
    exact = policy(model, shared.tokens, shared.guard, levels, arms=names, encoder_id=task.encoder_id)
    return policy.from_tensors(exact.to_tensors(), arms=names, encoder_id=task.encoder_id)


def _levels(model: QualityModel, inputs: Inputs) -> Levels:
    missed = inputs.scores - model.quality(inputs.embeddings, inputs.lexical)
    return Levels(inputs.scores.mean(axis=0), inputs.scores.std(axis=0), np.sqrt((missed**2).mean(axis=0)))
