"""What the teachers tell the student."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from training.inputs import Inputs, Reals
from training.zoo.task import FitTask


@dataclass(frozen=True, slots=True)
class Lessons:
    """What the teachers say of the training rows, each by fits that had not seen the row; all (n, m).

    Attributes:
        rest: What of the quality no head says, up to a constant; None: all of it.
    """

    quality: Reals
    tokens: Reals
    usd: Reals
    rest: Reals | None = None

    @property
    def to_learn(self) -> Reals:
        """What of the quality is left to learn, up to a constant."""
        return self.quality if self.rest is None else self.rest

    def rows(self, index: NDArray[np.intp]) -> "Lessons":
        """Those of an index."""
        return Lessons(self.quality[index], self.tokens[index], self.usd[index], self.to_learn[index])

    def beside(self, other: "Lessons") -> "Lessons":
        """The rows of both."""
        return Lessons(
            np.vstack([self.quality, other.quality]),
            np.vstack([self.tokens, other.tokens]),
            np.vstack([self.usd, other.usd]),
            np.vstack([self.to_learn, other.to_learn]),
        )

    def logs(self) -> Reals:
        """Logs of tokens, then of USD, shape (n, 2m)."""
        return np.asarray(np.log(np.hstack([np.maximum(self.tokens, 1e-3), np.maximum(self.usd, 1e-12)])))


def with_rewordings(task: FitTask, lessons: Lessons, said: Callable[[Inputs], Reals]) -> tuple[Inputs, Lessons]:
    """The training queries, then those that were reworded, and what to learn of each.

    These have no outcomes but still ask what they asked: what the heads say differently of them is to be undone.

    Args:
        said: What the heads say of queries, shape (n, m).
    """
    inputs = task.inputs
    if task.reworded is None or not len(task.reworded):
        return inputs, lessons
    rows, reworded = task.reworded.rows, task.reworded.inputs(inputs)
    told = lessons.rows(rows)
    told = replace(told, rest=told.to_learn + said(inputs.rows(rows)) - said(reworded))
    return inputs.beside(reworded), lessons.beside(told)
