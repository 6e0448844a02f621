"""What happened, as it happened: an append-only file from which a killed run goes on.

One JSON object a line, of four kinds: ``task`` (a prompt as it was first met), ``start`` and ``end`` of a paid call
(its bound, then its bill), and ``cell`` (one arm's graded answer to one prompt; of several the last counts). A start
without an end is a call whose bill is unknown: its bound counts as spent.
"""

import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from training.collect.errors import CollectError

NAME = "calls.journal"
SYNC_EVERY = 16
Row = dict[str, Any]
Cell = tuple[str, str]  # query id, arm


@dataclass(slots=True)
class Past:
    """A journal, read.

    Attributes:
        tasks / cells: Last row of each, by query id and by (query id, arm).
        bills: Ends of calls, in order.
        spent_usd: Sum of the bills; ``held_usd``: bounds of calls whose bill is unknown.
    """

    tasks: dict[str, Row] = field(default_factory=dict)
    cells: dict[Cell, Row] = field(default_factory=dict)
    bills: list[Row] = field(default_factory=list)
    spent_usd: float = 0.0
    held_usd: float = 0.0

    def answered(self, cell: Cell) -> bool:
        """Whether the cell needs no further call; one that ended in an error does."""
        return cell in self.cells and self.cells[cell]["status"] == "ok"


class Journal:
    """A folder's journal, held by one process at a time.

    Rows reach the file at once and the disk in batches of 16, so a killed process loses nothing, and a machine without
    power the last few.
    """

    def __init__(self, folder: Path) -> None:
        """Raises CollectError: the folder cannot be written, or another process collects into it."""
        self.file = folder / NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._out = self.file.open("ab+", buffering=0)
        except OSError as problem:
            raise CollectError(f"{self.file}: cannot be written: {problem.strerror}") from problem
        try:
            fcntl.flock(self._out, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as taken:
            self._out.close()
            raise CollectError(f"{folder}: another collect writes here; wait for it, or give another --out") from taken
        self._unsynced = 0
        self._cut_torn_line()

    def past(self) -> Past:
        """Everything written so far. Raises CollectError naming the first line that is no row."""
        past, open_bounds = Past(), {}
        for row in self._rows():
            if row["kind"] == "task":
                past.tasks[row["query_id"]] = row
            elif row["kind"] == "cell":
                past.cells[row["query_id"], row["arm"]] = row
            elif row["kind"] == "start":
                open_bounds[row["call"]] = row["bound_usd"]
            else:
                bound = open_bounds.pop(row["call"], 0.0)
                past.bills.append(row)
                past.spent_usd += row["usd"] or 0.0
                past.held_usd += bound if row["usd"] is None and row["billable"] else 0.0
        past.held_usd += sum(bound or 0.0 for bound in open_bounds.values())
        return past

    def append(self, row: Row) -> None:
        self._out.write(orjson.dumps(row) + b"\n")
        self._unsynced += 1
        if self._unsynced >= SYNC_EVERY:
            self.sync()

    def sync(self) -> None:
        os.fsync(self._out.fileno())
        self._unsynced = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.sync()
        self._out.close()

    def _cut_torn_line(self) -> None:
        """A process or machine that died in the middle of a line left a part that is no row."""
        raw = self.file.read_bytes()
        if raw and not raw.endswith(b"\n"):
            self._out.truncate(raw.rfind(b"\n") + 1)

    def _rows(self) -> Iterator[Row]:
        with self.file.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    row = orjson.loads(line)
                    if row["kind"] not in ("task", "start", "end", "cell"):
                        raise KeyError(row["kind"])
                except (ValueError, KeyError, TypeError) as problem:
                    raise CollectError(
                        f"{self.file}: line {number} is no row of a journal; restore the file"
                    ) from problem
                yield row
