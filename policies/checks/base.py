"""What a check is: prepared once per task, then asked for a verdict on any answer text."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

Reference = str | Sequence[str] | None
Options = Mapping[str, object]

MOST_CHARS = 100_000  # of an answer: a longer one is read from its end, where the result stands


class CheckError(ValueError):
    """A task cannot be graded as it is written: a check, reference or option is missing or senseless."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How right an answer is.

    Attributes:
        score: 0..1, None where the check could not tell (never 0 in its place).
        reason: Why, in a few words without the answer's or the reference's text.
    """

    score: float | None
    reason: str


Grade = Callable[[str], Verdict]


@dataclass(frozen=True, slots=True)
class Example:
    """A task with a right and a wrong answer, for the conformance test."""

    right: str
    wrong: str
    reference: Reference = None
    options: Options = field(default_factory=dict)


class Check(Protocol):
    """What an entry point of the group ``gearshift.checks`` names: an object or a class without parameters."""

    def prepare(self, reference: Reference, options: Options) -> Grade:
        """The grader of one task: deterministic, and never raises, whatever text it gets.

        Args:
            reference: The right answer, or several of which any counts; None where the task has none.
            options: The check's own settings for this task.

        Raises:
            CheckError: The reference or an option is missing, unknown or senseless.
        """
        ...

    def example(self) -> Example:
        """A task it grades, for the conformance test."""
        ...


def right_if(right: bool, *, reason: str) -> Verdict:
    """Score 1 with "right", or 0 with the reason."""
    return Verdict(1.0, "right") if right else Verdict(0.0, reason)


def references(reference: Reference, *, check: str) -> tuple[str, ...]:
    """The alternatives of a reference. Raises CheckError when there is none."""
    given = (reference,) if isinstance(reference, str) else tuple(reference or ())
    if not given or not all(str(text).strip() for text in given):
        raise CheckError(f"check {check}: reference: expected a text that is not empty, or a list of them")
    return given


def known_options(options: Options, known: Sequence[str], *, check: str) -> None:
    """Raises CheckError for an option the check has not: a typo must not grade silently otherwise."""
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise CheckError(f"check {check}: unknown option {unknown[0]!r}; it has {', '.join(known) or 'none'}")


def number_option(options: Options, name: str, default: float, *, check: str) -> float:
    """A finite number that is not negative. Raises CheckError otherwise."""
    value = options.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise CheckError(f"check {check}: option {name}: expected a number of 0 or more")
    return float(value)


def flag_option(options: Options, name: str, default: bool, *, check: str) -> bool:
    """True or false. Raises CheckError otherwise."""
    value = options.get(name, default)
    if not isinstance(value, bool):
        raise CheckError(f"check {check}: option {name}: expected true or false")
    return value
