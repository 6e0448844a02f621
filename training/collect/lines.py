"""An append-only file of JSON rows, held by one process at a time, from which a killed run goes on."""

import fcntl
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from training.collect.errors import CollectError

SYNC_EVERY = 16
Row = dict[str, Any]


class Lines:
    """One JSON object a line, each of a known ``kind``.

    Rows reach the file at once and the disk in batches of 16, so a killed process loses nothing, and a machine without
    power the last few.
    """

    def __init__(self, file: Path, *, kinds: Collection[str]) -> None:
        """Raises CollectError: the folder cannot be written, or another process writes into it."""
        self.file, self._kinds = file, kinds
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._out = file.open("ab+", buffering=0)
        except OSError as problem:
            raise CollectError(f"{file}: cannot be written: {problem.strerror}") from problem
        try:
            fcntl.flock(self._out, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as taken:
            self._out.close()
            raise CollectError(
                f"{file.parent}: another collect writes here; wait for it, or give another --out"
            ) from taken
        self._unsynced = 0
        self._cut_torn_line()

    def rows(self) -> Iterator[Row]:
        """Everything written so far, in order. Raises CollectError naming the first line that is no row."""
        with self.file.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    row = orjson.loads(line)
                    if row["kind"] not in self._kinds:
                        raise KeyError(row["kind"])
                except (ValueError, KeyError, TypeError) as problem:
                    raise CollectError(
                        f"{self.file}: line {number} is no row of a journal; restore the file"
                    ) from problem
                yield row

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
