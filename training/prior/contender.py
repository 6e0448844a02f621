"""The default policy and its teacher as the benchmark compares them; one fit serves both."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from policies.artifact import Artifact
from policies.policy import Policy
from policies.zoo.default import DefaultPolicy
from training.contender import Fitted, Forecast, Sample
from training.prior.fit import DefaultFit, TeacherOfAll, fit_default
from training.prior.lessons import Lessons
from training.zoo.contenders import FittedZoo, task_of
from training.zoo.save import artifact_of

FAMILY = "default"


@dataclass(slots=True)
class FittedTeacher:
    """What the default policy was distilled from; too slow to serve, and without its guard."""

    teacher: TeacherOfAll
    held_out: Forecast | None
    facts: dict[str, Any]
    policy: Policy | None = None

    def forecast(self, queries: Sample) -> Forecast:
        """Quality and cost of every arm."""
        return _forecast(self.teacher.predict(queries.inputs))


class DefaultContender:
    """One name of the family; the fit is the same for both."""

    family, needs_labels, hears_rewordings = FAMILY, False, True

    def __init__(self, name: str, *, encoder_id: str = "") -> None:
        self.name, self._encoder_id = name, encoder_id

    def fit(self, train: Sample, *, seed: int) -> Fitted:
        """Fit on ``train``; what this name is."""
        return self.fit_family(train, seed=seed)[self.name]

    def fit_family(self, train: Sample, *, seed: int) -> Mapping[str, Fitted]:
        """Fit once; what each name of the family is."""
        task = task_of(train, encoder_id=self._encoder_id, seed=seed)
        fit = fit_default(task, seconds=train.table.seconds)
        held_out = _forecast(fit.teacher.lessons())
        served = reloaded(artifact_of(fit.policy, task, facts=fit.facts))
        return {
            "default": FittedZoo(served, served, fit.facts | _sizes(fit), held_out),
            "default_teacher": FittedTeacher(fit.teacher, held_out, fit.facts),
        }


def default(*, encoder_id: str = "") -> DefaultContender:
    """What serves."""
    return DefaultContender("default", encoder_id=encoder_id)


def default_teacher(*, encoder_id: str = "") -> DefaultContender:
    """What it was distilled from."""
    return DefaultContender("default_teacher", encoder_id=encoder_id)


def reloaded(artifact: Artifact) -> DefaultPolicy:
    """The policy that a gateway would have of ``artifact``: its numbers written as safetensors and read back."""
    from dataclasses import replace

    from safetensors.numpy import load, save

    tensors = load(save({name: np.ascontiguousarray(values) for name, values in artifact.tensors.items()}))
    return DefaultPolicy.from_artifact(replace(artifact, tensors=tensors))


def _forecast(lessons: Lessons) -> Forecast:
    return Forecast(quality=lessons.quality, usd=lessons.usd, far=np.zeros(len(lessons.quality), dtype=np.bool_))


def _sizes(fit: DefaultFit) -> dict[str, Any]:
    return {"artifact_bytes": sum(values.nbytes for values in fit.policy.to_tensors().values())}
