"""Logs drawn from a table in which every arm answered: what any policy is worth there is known exactly."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.tradeoff import TradeOff
from training.contender import Sample
from training.ope.log import Progress, Tally
from training.ope.rounds import Reals, Rounds

_CHUNK = 8192


@dataclass(frozen=True, slots=True)
class SimulatedLog:
    """Queries drawn from a table's with repetition, one arm of each drawn by a logging policy.

    Attributes:
        sample: The table; every number of the simulation is one of its outcomes.
        logging: Probability of each arm for each query of the table, shape (n_queries, m).
        queries / action: Of every round: a row of the table, and the arm drawn, shape (n_rounds,).
    """

    sample: Sample
    logging: Reals
    trade_off: TradeOff
    queries: NDArray[np.int64]
    action: NDArray[np.int64]

    @classmethod
    def draw(
        cls,
        sample: Sample,
        logging: Reals,
        *,
        trade_off: TradeOff,
        rng: np.random.Generator,
        n_rounds: int | None = None,
    ) -> "SimulatedLog":
        """``n_rounds`` queries with repetition; without it every query once, in a random order."""
        n = len(sample.table)
        queries = rng.permutation(n) if n_rounds is None else rng.integers(0, n, size=n_rounds)
        edges = logging[queries].cumsum(axis=1)
        action = (rng.random(len(queries))[:, None] * edges[:, -1:] >= edges).sum(axis=1)
        return cls(sample, logging, trade_off, queries, action)

    def chunks(self, tally: Tally | None = None, *, progress: Progress | None = None) -> Iterator[Rounds]:
        """As the archive's reader gives them."""
        for start in range(0, len(self.queries), _CHUNK):
            rounds = self._rounds(self.queries[start : start + _CHUNK], self.action[start : start + _CHUNK])
            if tally is not None:
                tally.n_rows += len(rounds)
                tally.n_rounds += len(rounds)
            yield rounds

    def _rounds(self, rows: NDArray[np.int64], action: NDArray[np.int64]) -> Rounds:
        table, inputs, n = self.sample.table, self.sample.inputs, len(rows)
        asked = self.trade_off
        terms = (asked.quality_per_usd, asked.quality_per_s, asked.quality_floor, asked.max_usd)
        return Rounds(
            arms=table.arm_names,
            embeddings=inputs.embeddings[rows],
            features=inputs.lexical[rows],
            prompt_tokens=inputs.prompt_tokens[rows],
            max_tokens=np.full(n, np.inf),
            propensities=self.logging[rows],
            eligible=np.ones((n, len(table.arms)), dtype=np.bool_),
            action=action,
            quality=table.scores[rows, action],
            weight=np.ones(n),
            usd=table.usd[rows, action],
            seconds=table.seconds[rows, action],
            input_tokens=table.input_tokens[rows, action].astype(np.float64),
            output_tokens=table.completion_tokens[rows, action].astype(np.float64),
            trade_off=np.tile(np.array(terms), (n, 1)),
            tenant=np.full(n, "simulated"),
            at=np.arange(n, dtype=np.float64),
        )

    def truth(self, target: Reals) -> Reals:
        """Quality, USD and utility of ``target`` (n_queries, m) over all queries of the table, shape (3,)."""
        table = self.sample.table
        utility = table.scores - self.trade_off.quality_per_usd * table.usd
        return np.array([float((target * each).sum(axis=1).mean()) for each in (table.scores, table.usd, utility)])
