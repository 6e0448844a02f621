"""How an arm that nobody was fitted with comes into a policy's artifact: never, by its descriptor, or by anchors."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from policies.artifact import Artifact
from policies.prices import NANO
from training.anchors.exam import make_exam
from training.anchors.join import Joined, join_by_anchors, join_by_descriptor
from training.anchors.outcomes import answered_part
from training.anchors.rasch import fit_ease
from training.anchors.select import FEWEST, draw_anchors
from training.arms import Population
from training.collect.spend import Purse
from training.contender import Sample

Learned = Callable[[], Artifact]


@dataclass(frozen=True, slots=True)
class Unmet:
    """An arm before anybody was asked to route to it.

    Attributes:
        artifact: The default policy fitted without it.
        warm: The queries it was fitted on; the arm's outcomes on them are what it would answer if asked.
        column: Of the arm in ``warm``.
    """

    artifact: Artifact
    warm: Sample
    column: int

    @property
    def name(self) -> str:
        return self.warm.table.arm_names[self.column]


class Entry(Protocol):
    """A way in.

    Attributes:
        n_asked / spent_nano_usd: Anchors that the arm has answered, and what they cost in nano-USD.
    """

    @property
    def n_asked(self) -> int: ...

    @property
    def spent_nano_usd(self) -> int: ...

    def step(self, learned: Learned) -> Joined | None:
        """Once per request from when the arm is there: the artifact with the arm as soon as it can join, else None.

        Args:
            learned: Gives the artifact as learned until now.
        """
        ...

    def tell(self) -> str:
        """One sentence for people on what it took, or on why the arm is not in."""
        ...


class NoEntry:
    """Whoever serves leaves the arm a stranger."""

    n_asked = spent_nano_usd = 0

    def step(self, learned: Learned) -> Joined | None:
        """Never."""
        return None

    def tell(self) -> str:
        """That nobody asked."""
        return "stays a stranger: nobody took it in"


class ByDescriptor:
    """At once, by what its name and price tell."""

    n_asked = spent_nano_usd = 0

    def __init__(self, unmet: Unmet) -> None:
        self._unmet = unmet

    def step(self, learned: Learned) -> Joined:
        """Joins with the first request."""
        table, inputs, n = self._unmet.warm.table, self._unmet.warm.inputs, len(self._unmet.warm)
        everybody = Population(inputs.embeddings, inputs.lexical, np.full(n, 1.0 / n))
        arm, price = table.arms[self._unmet.column], table.prices[self._unmet.column]
        return join_by_descriptor(learned(), arm=arm, price=price, population=everybody)

    def tell(self) -> str:
        """That no answer was paid for."""
        return "taken in by its descriptor alone"


class ByAnchors:
    """Answers one anchor for each request that goes by; with all that the purse can pay, it joins."""

    def __init__(self, unmet: Unmet, *, n_anchors: int, usd: float, seed: int) -> None:
        """Choose the anchors from the warm queries, of which the other arms' outcomes are known.

        Args:
            usd: Most that their answers may cost.

        Raises:
            ValueError: There are not more warm queries than anchors, or their number is out of bounds.
        """
        table = unmet.warm.table
        ease = fit_ease(np.delete(table.scores, unmet.column, axis=1))
        drawn = draw_anchors(ease, unmet.warm.inputs.embeddings, k=n_anchors, seed=seed)
        self._unmet, self._usd, self._purse = unmet, usd, Purse(usd)
        self._exam, self._rows = make_exam(ease, drawn, table.query_ids), drawn.rows
        self._scores: dict[str, list[float]] = {}
        self._tokens: dict[str, list[float]] = {}
        self._is_over = False

    @property
    def n_asked(self) -> int:
        return len(self._scores)

    @property
    def spent_nano_usd(self) -> int:
        return self._purse.spent_nano_usd

    def step(self, learned: Learned) -> Joined | None:
        """Ask the next anchor; where none is left or can be paid, join by the answers, if they are enough."""
        if self._is_over:
            return None
        self._is_over = not self._ask() or self.n_asked == len(self._exam)
        if not self._is_over or self.n_asked < FEWEST:
            return None
        return self._join(learned())

    def tell(self) -> str:
        """How many it answered for how much; what to do where that is too little."""
        asked = f"{self.n_asked} of {len(self._exam)} anchors for {self.spent_nano_usd / NANO:.6f} USD"
        if self.n_asked >= FEWEST:
            return f"taken in by {asked}" if self._is_over else f"the stream ended after {asked}"
        paid = f"a cap of {self._usd:g} USD pays for {asked}, and it takes {FEWEST}"
        return f"stays a stranger: {paid}; raise the cap" if self._is_over else f"the stream ended after {asked}"

    def _ask(self) -> bool:
        """False where the cap does not allow the next answer; its bill is known here, so it is its own bound."""
        table, column, row = self._unmet.warm.table, self._unmet.column, int(self._rows[self.n_asked])
        usd = int(table.nano_usd[row, column]) / NANO
        if not self._purse.reserve(usd):
            return False
        self._purse.release(usd)
        self._purse.spend(usd)
        self._scores[table.query_ids[row]] = [float(table.scores[row, column])]
        self._tokens[table.query_ids[row]] = [float(table.completion_tokens[row, column])]
        return True

    def _join(self, artifact: Artifact) -> Joined:
        table, inputs, column = self._unmet.warm.table, self._unmet.warm.inputs, self._unmet.column
        outcomes, rows = answered_part(self._exam, self._scores, self._tokens), self._rows[: self.n_asked]
        population = Population(inputs.embeddings[rows], inputs.lexical[rows], outcomes.exam.weight)
        arm, price = table.arms[column], table.prices[column]
        return join_by_anchors(artifact, outcomes, arm=arm, price=price, population=population)
