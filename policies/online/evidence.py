"""What one arm has shown: all that still counts, and what came since each of its two gamblers last started again."""

from collections.abc import Mapping
from math import inf

import numpy as np

from policies.online.alarm import Alarm, Gambler, WatchSettings
from policies.online.lesson import Entry, Lesson
from policies.predictions import Reals
from policies.zoo.basis import check_shapes


class Evidence:
    """Sums and weights of residuals by scope and cell, shape (n_scopes, n_cells); adding and taking back are exact."""

    def __init__(self, sums: Reals, counts: Reals) -> None:
        """Go on from these."""
        self.sums, self.counts = sums, counts

    @classmethod
    def none(cls, shape: tuple[int, ...]) -> "Evidence":
        """Nothing shown."""
        return cls(np.zeros(shape), np.zeros(shape))

    def copy(self) -> "Evidence":
        """The same, to be changed apart."""
        return Evidence(self.sums.copy(), self.counts.copy())

    def add(self, lesson: Lesson, *, sign: float = 1.0) -> None:
        """Count a lesson for everybody and its tenant; ``sign`` −1 takes it back."""
        for scope in {0, lesson.scope}:
            self.sums[scope, lesson.cell] += sign * lesson.weight * lesson.residual
            # What was added in other company comes back with a rounding error; a weight is never below nothing.
            count = self.counts[scope, lesson.cell] + sign * lesson.weight
            self.counts[scope, lesson.cell] = count if count > 1e-9 else 0.0

    def with_scope(self) -> "Evidence":
        """With one more scope that was shown nothing."""
        empty = np.zeros((1, self.sums.shape[1]))
        return Evidence(np.concatenate([self.sums, empty]), np.concatenate([self.counts, empty]))


class Side:
    """A gambler with the evidence since its last start.

    Attributes:
        fell: Whether it bets on lower scores than predicted.
        first: Number of the first lesson of ``recent``.
    """

    def __init__(self, settings: WatchSettings, shape: tuple[int, ...], *, fell: bool) -> None:
        """``shape`` (n_scopes, n_cells)."""
        self.fell, self.gambler = fell, Gambler(settings, direction=-1.0 if fell else 1.0)
        self.start_again(shape, first=0)

    def start_again(self, shape: tuple[int, ...], *, first: int) -> None:
        """Nothing since lesson ``first``, which is still to come."""
        self.gambler.start_again()
        self.recent, self.first = Evidence.none(shape), first
        self._since, self._n, self._shift = inf, 0, 0.0

    def note(self, entry: Entry, *, expected: float) -> None:
        """Keep a lesson of which ``expected`` was predicted."""
        self.recent.add(entry.lesson)
        self._since = min(self._since, entry.lesson.at)
        self._n += 1
        self._shift += entry.lesson.score - expected

    @property
    def since(self) -> float:
        """Earliest time of a lesson of ``recent``, POSIX seconds; infinite where there is none."""
        return self._since

    def memory(self) -> dict[str, Reals]:
        """All of it as arrays, for `recall`."""
        marks = np.array([self.first, self._since, self._n, self._shift])
        return {
            "fortunes": self.gambler.fortunes,
            "recent_sums": self.recent.sums,
            "recent_counts": self.recent.counts,
            "marks": marks,
        }

    def recall(self, memory: Mapping[str, Reals]) -> None:
        """The inverse of ``memory``. Raises ValueError where shapes differ."""
        check_shapes({part: (memory[part].shape, own.shape) for part, own in self.memory().items()})
        self.gambler.fortunes = memory["fortunes"].copy()
        self.recent = Evidence(memory["recent_sums"].copy(), memory["recent_counts"].copy())
        first, self._since, n, self._shift = (float(mark) for mark in memory["marks"])
        self.first, self._n = int(first), int(n)

    def alarm(self, arm: str, *, at: float) -> Alarm:
        """The fortune that was made, as a record."""
        return Alarm(
            arm,
            at,
            self._since,
            self.gambler.fortune,
            self.fell,
            n_outcomes=self._n,
            shift=self._shift / max(self._n, 1),
        )


class ArmEvidence:
    """One arm's evidence and both its gamblers.

    Attributes:
        changed_at: Decisions before this time tell of the arm as it was before its last change.
        first: Number of the first lesson of ``kept`` that this learner counted.
    """

    def __init__(self, settings: WatchSettings, kept: Evidence) -> None:
        """Go on from ``kept``."""
        self.kept, self.first, self.changed_at = kept, 0, -inf
        self.sides = tuple(Side(settings, kept.sums.shape, fell=fell) for fell in (True, False))

    def add_scope(self) -> None:
        """Room for one more tenant."""
        self.kept = self.kept.with_scope()
        for side in self.sides:
            side.recent = side.recent.with_scope()

    def recount(self, entry: Entry, *, sign: float) -> None:
        """Count a numbered lesson wherever it is part of what is kept; ``sign`` −1 takes it back."""
        for evidence, first in ((self.kept, self.first), *((side.recent, side.first) for side in self.sides)):
            if entry.number >= first:
                evidence.add(entry.lesson, sign=sign)

    def memory(self) -> dict[str, Reals]:
        """All but what is kept, which is the offsets', as arrays: both sides one above the other."""
        sides = [side.memory() for side in self.sides]
        told = {part: np.stack([side[part] for side in sides]) for part in sides[0]}
        return told | {"change": np.array([self.first, self.changed_at])}

    def recall(self, memory: Mapping[str, Reals]) -> None:
        """The inverse of ``memory``. Raises ValueError where shapes differ."""
        for row, side in enumerate(self.sides):
            side.recall({part: memory[part][row] for part in side.memory()})
        self.first, self.changed_at = int(memory["change"][0]), float(memory["change"][1])

    def start_anew(self, side: Side, *, following: int) -> None:
        """Keep what came since the change that ``side`` saw; lesson ``following`` is the next to come."""
        self.kept, self.first, self.changed_at = side.recent, side.first, side.since
        for each in self.sides:
            each.start_again(self.kept.sums.shape, first=following)
