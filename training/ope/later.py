"""What the later requests of a turn add to its decision: their USD, seconds and tokens belong to the arm it drew."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from policies.id_index import IdIndex, Words, words_of
from training.ope.rounds import Reals

if TYPE_CHECKING:
    import pyarrow as pa

SUMMED = ("outcome_nano_usd", "outcome_seconds", "outcome_input_tokens", "outcome_output_tokens")


@dataclass(frozen=True, slots=True)
class Later:
    """Sums over later requests, by decision.

    Attributes:
        index: Decisions that had any.
        sums: ``SUMMED`` of each, NaN where one is unknown, shape (n_decisions, 4).
    """

    index: IdIndex
    sums: Reals

    def of(self, decision_ids: "pa.ChunkedArray[Any]") -> Reals:
        """Shape (n, 4), 0 for a decision without later requests."""
        rows = self.index.find(words_of(decision_ids))
        found = np.zeros((len(rows), len(SUMMED)))
        found[rows >= 0] = self.sums[rows[rows >= 0]]
        return found


@dataclass(slots=True)
class LaterRequests:
    """Gathers later requests while the log is read."""

    words: list[Words] = field(default_factory=list)
    added: list[Reals] = field(default_factory=list)

    def add(self, sticky: "pa.Table") -> None:
        """Add rows of the log that have ended."""
        self.words.append(words_of(sticky["decision_id"]))
        self.added.append(np.stack([sticky[name].to_numpy().astype(np.float64) for name in SUMMED], axis=1))

    def summed(self) -> Later:
        """What they come to."""
        words = np.concatenate([np.zeros((0, 2), dtype=np.uint64), *self.words])
        rows = IdIndex(words)
        first = rows.first_rows
        place = np.searchsorted(first, rows.find(words))
        added = np.concatenate([np.zeros((0, len(SUMMED))), *self.added])
        sums = np.zeros((len(first), len(SUMMED)))
        np.add.at(sums, place, added)
        return Later(IdIndex(words[first]), sums)
