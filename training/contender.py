"""What the benchmark compares: something that is fitted on one part of a table and forecasts another."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from policies.policy import Policy
from policies.tables import Mask, OutcomeTable
from training.inputs import Inputs
from training.rewordings import Reworded

Reals = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sample:
    """Queries with their outcomes, as a table and as learners see them, row by row the same.

    Attributes:
        reworded: Some of them in other words, for learners that listen to those; None: nobody could embed any.
    """

    table: OutcomeTable
    inputs: Inputs
    reworded: Reworded | None = None

    def __len__(self) -> int:
        return len(self.table)

    def rows(self, mask: Mask) -> "Sample":
        """The queries where ``mask``, shape (n,), is true."""
        reworded = None if self.reworded is None else self.reworded.among(mask)
        return Sample(self.table.rows(mask), self.inputs.rows(mask), reworded)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a router expects of each arm on n queries; the arm of highest ``quality − λ·usd`` is its choice.

    Attributes:
        quality: Expected score, shape (n, m).
        usd: Expected cost, shape (n, m).
        far: Queries unlike the training ones, shape (n,).
        seconds: Expected time to the last byte, shape (n, m); None where nothing is known of times.
        dist: If given, shape (n, m): the router ignores λ and draws from these probabilities.
    """

    quality: Reals
    usd: Reals
    far: Mask
    seconds: Reals | None = None
    dist: Reals | None = None


class Fitted(Protocol):
    """A fitted contender.

    Attributes:
        held_out: Its forecasts of its own training rows, each by a fit that had not seen the row; None if it keeps
            none (the benchmark then sets a part of the training rows aside to commit to a λ).
        policy: What would serve, None for a yardstick that cannot serve.
        facts: Settings it chose, sizes, seconds of fitting: JSON values for the report.
    """

    held_out: Forecast | None
    policy: Policy | None
    facts: dict[str, Any]

    def forecast(self, queries: Sample) -> Forecast:
        """Forecast queries; only a yardstick (``needs_labels``) may look at their labels or outcomes."""
        ...


class Contender(Protocol):
    """Something to compare, by name.

    Attributes:
        name: As in reports, e.g. ``knn``.
        needs_labels: Its forecasts read what a gateway never sees (domain labels, outcomes): a yardstick, no rival.
    """

    name: str
    needs_labels: bool

    def fit(self, train: Sample, *, seed: int) -> Fitted:
        """Fit on ``train`` alone."""
        ...


def hears_rewordings(contender: Contender) -> bool:
    """Whether the contender learns from ``Sample.reworded``; the others need none made."""
    return bool(getattr(contender, "hears_rewordings", False))
