"""Fits the default policy whole: teachers of quality and of spending, then the student that serves."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from policies.zoo.default import DefaultPolicy
from policies.zoo.known import USD_PER_TOKEN_OF_PRICE
from training.inputs import Inputs, Reals
from training.prior.distil import distil
from training.prior.lessons import Lessons
from training.prior.members import members_for
from training.prior.spending import SpendingTeacher, fit_spending
from training.prior.student_basis import DistilSettings
from training.prior.teacher import Progress, Teacher, fit_teacher
from training.threads import one_thread
from training.zoo.task import FitTask


@dataclass(frozen=True, slots=True)
class TeacherOfAll:
    """Both teachers: what the student is to reproduce."""

    quality: Teacher
    tokens: SpendingTeacher
    usd: SpendingTeacher | None
    task: FitTask

    def usd_of(self, inputs: Inputs, tokens: Reals, recorded: Reals | None) -> Reals:
        """USD of n queries, shape (n, m): tokens × price, ``recorded`` where an arm has no price."""
        usd = np.zeros_like(tokens) if recorded is None else recorded.copy()
        for arm, price in enumerate(self.task.prices):
            if price is not None:
                billed = inputs.prompt_tokens * inputs.input_ratio[arm]
                usd[:, arm] = (billed * price.input + tokens[:, arm] * price.output) * USD_PER_TOKEN_OF_PRICE
        return usd

    def lessons(self) -> Lessons:
        """Held-out predictions of the training rows."""
        tokens = self.tokens.held_out
        recorded = None if self.usd is None else self.usd.held_out
        usd = self.usd_of(self.task.inputs, tokens, recorded)
        return Lessons(self.quality.held_out, tokens, usd, rest=self.quality.rest)

    def predict(self, inputs: Inputs) -> Lessons:
        """Predictions of new queries."""
        tokens = self.tokens.amounts(inputs)
        recorded = None if self.usd is None else self.usd.amounts(inputs)
        return Lessons(self.quality.quality(inputs), tokens, self.usd_of(inputs, tokens, recorded))


@dataclass(frozen=True, slots=True)
class DefaultFit:
    """A fitted default policy, as an artifact rounds it, with its teachers."""

    policy: DefaultPolicy
    teacher: TeacherOfAll
    facts: dict[str, Any]


def fit_default(
    task: FitTask,
    *,
    seconds: Reals | None = None,
    settings: DistilSettings | None = None,
    members: tuple[str, ...] | None = None,
    progress: Progress = lambda what, done, of: None,
) -> DefaultFit:
    """Fit on ``task.inputs`` alone; ``seconds`` are recorded times, shape (n, m), NaN where none.

    Labels of the training queries, where there are any, tell the teacher what topics there are; what serves reads none.
    Linear algebra runs on one thread: its sums then round the same on every machine, and small products are quicker.
    """
    with one_thread():
        return _fit(task, seconds, settings or DistilSettings(), members or members_for(task), progress)


def _fit(
    task: FitTask, seconds: Reals | None, chosen: DistilSettings, members: tuple[str, ...], progress: Progress
) -> DefaultFit:
    inputs = task.inputs
    quality = fit_teacher(task, names=members, progress=progress)
    progress("fitting the cost model", 0, 1)
    tokens = fit_spending(inputs, np.exp(inputs.log_tokens), seed=task.seed)
    unpriced = any(price is None for price in task.prices)
    usd = fit_spending(inputs, np.maximum(inputs.usd, 1e-9), seed=task.seed) if unpriced else None
    progress("fitting the cost model", 1, 1)
    teacher = TeacherOfAll(quality, tokens, usd, task)
    heads = quality.heads if quality.served else None
    exact = distil(task, teacher.lessons(), settings=chosen, seconds=seconds, heads=heads)
    arms = [arm.name for arm in task.arms]
    policy = DefaultPolicy.from_tensors(exact.to_tensors(), arms=arms, encoder_id=task.encoder_id)
    facts = quality.facts | {"token_slopes": tokens.kept.tolist(), "n_landmarks": int(policy.offsets.cells.shape[0])}
    return DefaultFit(policy, teacher, facts)
