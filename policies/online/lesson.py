"""An outcome as the learner hears it: what came, and what the prior alone had said."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lesson:
    """An outcome to learn from.

    Attributes:
        arm: Column of the arm that answered.
        cell: Of the query.
        prior: Expected score by the prior alone, 0..1.
        score: 0..1.
        at: When the decision was made, POSIX seconds.
        weight: How much the score's source is trusted, above 0 up to 1: a verifier 1, a thumb less.
        scope: Of the tenant; 0 for none of its own.

    Raises:
        ValueError: Score or weight is out of range.
    """

    arm: int
    cell: int
    prior: float
    score: float
    at: float
    weight: float = 1.0
    scope: int = 0

    def __post_init__(self) -> None:
        if not (0.0 <= self.score <= 1.0 and 0.0 < self.weight <= 1.0):
            raise ValueError(f"a lesson's score and weight lie in 0..1, got {self.score:g} and {self.weight:g}")

    @property
    def residual(self) -> float:
        """Score − prior prediction."""
        return self.score - self.prior


@dataclass(frozen=True, slots=True)
class Entry:
    """A lesson that was counted; who may have to take it back keeps it.

    Attributes:
        number: Of the lesson in the order of arrival.
    """

    lesson: Lesson
    number: int
