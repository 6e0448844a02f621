"""What a run of the loop does: its settings, and which recorded prompts go into which part."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from policies.tables import OutcomeTable


class LoopFailed(RuntimeError):
    """A step of the loop did not do what it must; the message says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One run.

    Attributes:
        data: Folder of recorded outcome sets, with ``pools.json``.
        prompts: Logged and learned from.
        fresh: Logged afterwards under the same policy; the new artifact is evaluated on them before it serves.
        live: Served by both policies at the end, at most; 0 takes all that are left.
        explore: Share of exploration while logging.
        usd_per_correct_answer: The trade-off, 1/λ.
        concurrency: Requests under way at once.
        folder: Where configurations, data directories, the artifact and the replays' results go.
    """

    data: Path
    folder: Path
    pool: str = "mmlu_pro_7"
    prompts: int = 5_000
    fresh: int = 2_500
    live: int = 0
    explore: float = 0.6
    usd_per_correct_answer: float = 0.0099
    encoder: str = "static"
    concurrency: int = 4
    seed: int = 0

    @property
    def pools(self) -> Path:
        return self.data / "pools.json"

    @property
    def pool_options(self) -> list[str]:
        return ["--data", str(self.data), "--pools", str(self.pools), "--pool", self.pool]


@dataclass(frozen=True, slots=True)
class Parts:
    """Query ids of each part, in the order they are asked; no text stands in two parts."""

    prompts: tuple[str, ...]
    fresh: tuple[str, ...]
    live: tuple[str, ...]


def parts_of(table: OutcomeTable, settings: Settings) -> Parts:
    """Shuffle the pool by a hash of seed and text, so that equal texts stay together, and cut it in three.

    Raises:
        LoopFailed: Nothing would be left to serve live.
    """
    order = sorted(range(len(table)), key=lambda row: _place(table.prompts[row], seed=settings.seed))
    first = _cut(table, order, settings.prompts)
    second = _cut(table, order, first + settings.fresh)
    third = len(order) if not settings.live else min(len(order), second + settings.live)
    if third <= second:
        raise LoopFailed(
            f"pool {table.name} holds {len(table)} prompts: none is left after {settings.prompts} to learn from and "
            f"{settings.fresh} to evaluate on; lower --prompts or --fresh"
        )
    ids = [table.query_ids[row] for row in order]
    return Parts(tuple(ids[:first]), tuple(ids[first:second]), tuple(ids[second:third]))


def rows_of(table: OutcomeTable, query_ids: Sequence[str]) -> OutcomeTable:
    """The table's rows of these ids, in their order."""
    at = {query_id: row for row, query_id in enumerate(table.query_ids)}
    return table.at_rows(np.array([at[query_id] for query_id in query_ids], dtype=np.int64))


def _place(text: str, *, seed: int) -> bytes:
    return hashlib.sha256(f"loop\0{seed}\0".encode() + text.encode("utf-8", "surrogatepass")).digest()


def _cut(table: OutcomeTable, order: Sequence[int], at: int) -> int:
    """``at`` or a little later, where no text is cut from its equals."""
    while 0 < at < len(order) and table.prompts[order[at - 1]] == table.prompts[order[at]]:
        at += 1
    return min(at, len(order))
