"""Target policies as distributions over the log's arms: what each would have done in every logged round."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from policies.context import Context
from policies.decide import explored_many
from policies.policy import ArmFacts, Policy
from policies.tradeoff import TradeOff
from policies.zoo.many import scores_many
from policies.zoo.predictive import PredictivePolicy
from training.ope.rounds import EvaluationError, Integers, Reals, Rounds


class Target(Protocol):
    """A policy to evaluate."""

    @property
    def name(self) -> str:
        """In tables and reports."""
        ...

    def distribution(self, rounds: Rounds) -> Reals:
        """Probability of each arm, 0 where not eligible, shape (n, m)."""
        ...


@dataclass(frozen=True, slots=True)
class LoggingPolicy:
    """The log's own."""

    name: str = "logging"

    def distribution(self, rounds: Rounds) -> Reals:
        return rounds.propensities


@dataclass(frozen=True, slots=True)
class FixedArm:
    """One arm wherever it is eligible, else as the log chose."""

    name: str

    def distribution(self, rounds: Rounds) -> Reals:
        if self.name not in rounds.arms:
            raise EvaluationError(f"no arm {self.name!r} in the log; it has {', '.join(rounds.arms)}")
        column = rounds.arms.index(self.name)
        chosen = rounds.propensities.copy()
        there = rounds.eligible[:, column]
        chosen[there] = 0.0
        chosen[there, column] = 1.0
        return chosen


@dataclass(frozen=True, slots=True)
class Uniform:
    """Every eligible arm alike."""

    name: str = "uniform"

    def distribution(self, rounds: Rounds) -> Reals:
        share: Reals = rounds.eligible / rounds.eligible.sum(axis=1, keepdims=True)
        return share


@dataclass(frozen=True, slots=True)
class PolicyTarget:
    """A policy as a gateway would serve it.

    Attributes:
        facts: Of arms whose price is known, by name; others have none.
        explore: Share of exploration that the gateway would mix in.
        trade_off: Instead of the one logged with each round.
    """

    name: str
    policy: Policy
    facts: Mapping[str, ArmFacts]
    explore: float = 0.0
    trade_off: TradeOff | None = None

    def distribution(self, rounds: Rounds) -> Reals:
        chosen = np.zeros(rounds.eligible.shape)
        asked = rounds if self.trade_off is None else rounds.under(self.trade_off)
        for rows, columns in _groups(asked):
            arms = [self.facts[rounds.arms[column]] for column in columns]
            chosen[rows[:, None], columns] = explored_many(self._score(asked, rows, arms), self.explore)
        return chosen

    def _score(self, rounds: Rounds, rows: Integers, arms: Sequence[ArmFacts]) -> Reals:
        part = (rounds.embeddings[rows], rounds.features[rows], rounds.prompt_tokens[rows])
        if isinstance(self.policy, PredictivePolicy):
            bounds, trade_offs = rounds.max_tokens[rows], rounds.trade_off[rows]
            found = scores_many(self.policy, *part, max_tokens=bounds, arms=arms, trade_offs=trade_offs)
            if found is not None:
                return found
        asked = zip(_contexts(rounds, rows), rounds.trade_off[rows].tolist(), strict=True)
        return np.array([self.policy.score(context, arms, TradeOff(*terms)).dist for context, terms in asked])


def _contexts(rounds: Rounds, rows: Integers) -> Iterator[Context]:
    """What a policy that serves an artifact looks at; what a request demands of an arm is in the eligible ones."""
    columns = (rounds.embeddings, rounds.features, rounds.prompt_tokens, rounds.max_tokens)
    for vector, words, tokens, bound in zip(*(column[rows] for column in columns), strict=True):
        yield Context(vector, words, int(tokens), max_tokens=int(bound) if np.isfinite(bound) else None)


def _groups(rounds: Rounds) -> Iterator[tuple[Integers, Integers]]:
    """Rows and columns of rounds with the same eligible arms, under a floor or not: few, and each is scored at once."""
    keys = np.packbits(np.column_stack([rounds.eligible, rounds.trade_off[:, 2] > 0.0]), axis=1)
    _, group = np.unique(keys, axis=0, return_inverse=True)
    for index in range(int(group.max(initial=-1)) + 1):
        rows = np.flatnonzero(group.ravel() == index)
        yield rows, np.flatnonzero(rounds.eligible[rows[0]])
