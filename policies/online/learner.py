"""Turns outcomes into offsets, one at a time and in any order, and starts an arm anew where the bets say it changed.

Everything it needs of a decision stands in its row: embedding, features, arm and time. It computes what the prior alone
had said, so that rows logged under other offsets count alike, and a log played again gives the same state.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Self

import numpy as np

from policies.online.alarm import Alarm, Verdict
from policies.online.evidence import ArmEvidence, Evidence
from policies.online.lesson import Entry, Lesson
from policies.online.settings import LearnerSettings
from policies.predictions import Reals
from policies.zoo.basis import Floats
from policies.zoo.default import DefaultPolicy
from policies.zoo.offsets import PRIOR_ANSWERS, SHARED, Offsets
from policies.zoo.posterior import Posterior
from policies.zoo.thompson import Exploring


class Learner:
    """Holds what is learned of a default policy's arms while it serves.

    Attributes:
        alarms: Raised so far, in order.
    """

    def __init__(self, policy: DefaultPolicy, settings: LearnerSettings | None = None) -> None:
        """Go on from the policy's offsets; an artifact from before the arms' own part gets the usual one."""
        self.settings, start = settings or LearnerSettings(), policy.offsets
        self._start = start if start.arm_sd.any() else start.warmed(answers=PRIOR_ANSWERS, shared=SHARED)
        self._policy = policy.with_offsets(self._start, exploring=self.settings.exploring)
        kept = [Evidence(start.sums[:, arm].copy(), start.counts[:, arm].copy()) for arm in range(start.n_arms)]
        self._arms = [ArmEvidence(self.settings.watch, evidence) for evidence in kept]
        self._doubt_sd = start.doubt_sd.copy()
        self._n_lessons = 0
        self._posteriors: dict[int, Posterior] = {}  # by scope; emptied by whatever changes them
        self.alarms: list[Alarm] = []

    def lessons(
        self, embeddings: Floats, lexical: Floats, *, arms: Sequence[str], scores: Sequence[float], at: Sequence[float]
    ) -> list[Lesson]:
        """Lessons of n decisions: ``embeddings`` (n, dim) and ``lexical`` (n, n_features) as their rows have them.

        Raises:
            ValueError: An arm is none of the policy's, or a score lies outside 0..1.
        """
        columns = {name: column for column, name in enumerate(self._policy.arm_names)}
        strange = [name for name in arms if name not in columns]
        if strange:
            raise ValueError(f"the policy has no arm {strange[0]!r}; it has {', '.join(columns)}")
        recall = self._policy.recall(embeddings, lexical)
        chosen = [columns[name] for name in arms]
        told = zip(chosen, recall.cells.tolist(), recall.quality, scores, at, strict=True)
        return [
            Lesson(arm, cell, float(prior[arm]), float(score), float(when)) for arm, cell, prior, score, when in told
        ]

    def observe(self, lesson: Lesson) -> Entry | None:
        """Learn from a lesson; None where it tells of an arm as it was before a change that is already known."""
        arm = self._arms[lesson.arm]
        if lesson.at < arm.changed_at:
            return None
        offset = float(self.posterior(lesson.scope).mean[lesson.cell, lesson.arm])
        expected = min(max(lesson.prior + offset, 0.0), 1.0)
        entry = Entry(lesson, self._n_lessons)
        self._n_lessons += 1
        arm.kept.add(lesson)
        for side in arm.sides:
            verdict = side.gambler.bet(expected, lesson.score, weight=lesson.weight)
            if verdict is Verdict.STARTS_AGAIN:
                side.start_again(arm.kept.sums.shape, first=self._n_lessons)
                continue
            side.note(entry, expected=expected)
            if verdict is Verdict.RICH:
                # The arm keeps what came since it changed and may be anything else; no other arm forgets.
                self.alarms.append(side.alarm(self._policy.arm_names[lesson.arm], at=lesson.at))
                self._doubt_sd[lesson.arm] = self.settings.doubt_sd
                arm.start_anew(side, following=self._n_lessons)
                break
        self._posteriors.clear()
        return entry

    def withdraw(self, entry: Entry) -> None:
        """Take a lesson back; bets that were made on it stay made."""
        self._arms[entry.lesson.arm].recount(entry, sign=-1.0)
        self._posteriors.clear()

    def revise(self, entry: Entry, *, score: float, weight: float | None = None) -> Entry:
        """The same decision with another score, as where feedback is given again: it replaces the first.

        Args:
            weight: Of the score's source, where it is another one.
        """
        self.withdraw(entry)
        lesson = replace(entry.lesson, score=score, weight=entry.lesson.weight if weight is None else weight)
        revised = Entry(lesson, entry.number)
        self._arms[entry.lesson.arm].recount(revised, sign=1.0)
        return revised

    def add_scope(self, *, arm_sd: float = 0.05, cell_sd: float = 0.03) -> int:
        """A scope for one more tenant, whose arms may differ by these deviations; returns its number."""
        self._start = self._start.with_scope(arm_sd=arm_sd, cell_sd=cell_sd)
        for arm in self._arms:
            arm.add_scope()
        self._posteriors.clear()
        return self._start.n_scopes - 1

    @property
    def n_lessons(self) -> int:
        """Lessons counted so far; one that was taken back or revised is one."""
        return self._n_lessons

    def memory(self) -> dict[str, Reals]:
        """What a learner knows beside its offsets, as arrays: with both, `recalled` goes on as if it never stopped."""
        arms = [arm.memory() for arm in self._arms]
        told = {f"memory.{part}": np.stack([arm[part] for arm in arms]) for part in arms[0]}
        return told | {"memory.n_lessons": np.array([self._n_lessons], dtype=np.float64)}

    @classmethod
    def recalled(cls, policy: DefaultPolicy, settings: LearnerSettings | None, memory: Mapping[str, Reals]) -> Self:
        """The learner that had ``memory`` when its offsets were those of ``policy``; its alarms are told already.

        Raises:
            KeyError, ValueError: The memory is not whole or not of such a policy.
        """
        learner = cls(policy, settings)
        for column, arm in enumerate(learner._arms):
            arm.recall({part: memory[f"memory.{part}"][column] for part in arm.memory()})
        learner._n_lessons = int(memory["memory.n_lessons"][0])
        return learner

    @property
    def offsets(self) -> Offsets:
        """The present state, as an artifact may carry it."""
        sums = np.stack([arm.kept.sums for arm in self._arms], axis=1)
        counts = np.stack([arm.kept.counts for arm in self._arms], axis=1)
        return replace(self._start, sums=sums, counts=counts, doubt_sd=self._doubt_sd.copy())

    def posterior(self, scope: int = 0) -> Posterior:
        """Of the offsets as they are now."""
        if scope not in self._posteriors:
            self._posteriors[scope] = self.offsets.posterior(scope=scope)
        return self._posteriors[scope]

    def policy(
        self, *, scope: int = 0, exploring: Exploring | None = None, version: str | None = None
    ) -> DefaultPolicy:
        """What serves a tenant now.

        Args:
            exploring: As this tenant explores; None: as the settings say.
        """
        return self._policy.with_offsets(
            self.offsets, posterior=self.posterior(scope), exploring=exploring, version=version
        )
