"""Target policies as distributions over the log's arms: what each would have done in every logged round."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from policies.context import Context
from policies.decide import explored
from policies.policy import ArmFacts, Policy
from policies.tradeoff import TradeOff
from policies.zoo.many import scores_many
from policies.zoo.predictive import PredictivePolicy
from training.ope.rounds import EvaluationError, Reals, Rounds


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
        for rows, columns, trade_off in self._groups(rounds):
            arms = [self.facts[rounds.arms[column]] for column in columns]
            for row, dist in zip(rows, self._score(rounds, rows, arms, trade_off), strict=True):
                chosen[row, columns] = explored(dist, self.explore)
        return chosen

    def _score(
        self, rounds: Rounds, rows: NDArray[np.int64], arms: Sequence[ArmFacts], trade_off: TradeOff
    ) -> Sequence[Reals] | Reals:
        part = (rounds.embeddings[rows], rounds.features[rows], rounds.prompt_tokens[rows])
        if isinstance(self.policy, PredictivePolicy):
            found = scores_many(self.policy, *part, arms=arms, trade_off=trade_off)
            if found is not None:
                return found
        contexts = (Context(vector, words, int(tokens)) for vector, words, tokens in zip(*part, strict=True))
        return [self.policy.score(context, arms, trade_off).dist for context in contexts]

    def _groups(self, rounds: Rounds) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], TradeOff]]:
        """Rounds of the same eligible arms under the same trade-off: few of them, and each is scored at once."""
        keys: Any = rounds.eligible.astype(np.float64)
        if self.trade_off is None:
            keys = np.hstack([keys, rounds.trade_off])
        distinct, group = np.unique(keys, axis=0, return_inverse=True)
        for index in range(len(distinct)):
            rows = np.flatnonzero(group.ravel() == index)
            columns = np.flatnonzero(rounds.eligible[rows[0]])
            yield rows, columns, self.trade_off or TradeOff(*(float(each) for each in rounds.trade_off[rows[0]]))
