"""From log streams to Parquet, in an order that a crash between any two steps cannot hurt.

Read what follows the acknowledged id → write a temporary file → fsync → rename → fsync the folder → acknowledge → trim
what every reader has acknowledged. A crash before the acknowledgement leaves a partition that the next pass covers
again: readers drop repeated ids. No partition is ever deleted here.
"""

import fcntl
import logging
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policies.archive_schema import Entry, to_table
from router.store.archives import has_rows, note_archive
from router.store.keys import SHARDS, Functions, load_functions, log_key, shard_base

if TYPE_CHECKING:
    import pyarrow as pa
    import redis

log = logging.getLogger(__name__)

READER = "archive"
BATCH_ROWS = 8192
HOLDER_KEY, HOLDER_TTL_S = "gs:{gs}:archiver", 600
KINDS = {b"d": "decisions", b"o": "outcomes", b"f": "feedback"}


def archive_once(
    store_url: str, directory: Path, *, batch_rows: int = BATCH_ROWS, step: Callable[[str], None] = lambda name: None
) -> int:
    """Archive and trim everything the streams hold now.

    Args:
        store_url: Where the store is.
        directory: The data directory; partitions go below its ``archive``.
        step: Called after each step with its name (``written``, ``renamed``, ``acknowledged``, ``trimmed``).

    Returns:
        Rows archived; 0 also when another data directory is the one this shared store is archived to.

    Raises:
        redis.RedisError: The store failed; nothing is lost, call again.
        OSError: The disk failed; likewise.
    """
    import redis

    functions = load_functions()
    with own_pass(directory) as name, redis.Redis.from_url(store_url, socket_timeout=30) as client:
        if has_rows(directory):  # also one that another archive has taken over from
            note_archive(client, name, directory)
        if not holds(client, name):
            return 0
        archived = 0
        for shard in range(SHARDS):
            for batch in _batches(client, shard, batch_rows):
                note_archive(client, name, directory)
                _archive_batch(client, functions, directory, shard, batch, step)
                archived += len(batch)
        return archived


@contextmanager
def own_pass(directory: Path) -> Iterator[str]:
    """Yields the archive's name with its lock held; what a pass that crashed left half written is removed."""
    archive = directory / "archive"
    archive.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (archive / "name").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        name = file.read()
        if not name:
            name = secrets.token_hex(8)
            file.write(name)
            file.flush()
        for half_written in archive.glob("*/shard=*/*.tmp"):
            half_written.unlink()
        yield name


def holds(client: "redis.Redis", name: str) -> bool:
    """Whether this archive is where the store's rows go: gateways that share a store must not split its log."""
    if not client.set(HOLDER_KEY, name, nx=True, ex=HOLDER_TTL_S):
        if client.get(HOLDER_KEY) != name.encode():
            return False
        client.expire(HOLDER_KEY, HOLDER_TTL_S)
    return True


def holder_of(client: "redis.Redis") -> str | None:
    """Name of the archive that the store's rows go to now; None: to that of the next pass."""
    name: Any = client.get(HOLDER_KEY)
    return None if name is None else str(name.decode())


def _archive_batch(
    client: "redis.Redis",
    functions: Functions,
    directory: Path,
    shard: int,
    batch: list[Any],
    step: Callable[[str], None],
) -> None:
    first, last = batch[0][0].decode(), batch[-1][0].decode()
    for kind, entries in _by_kind(batch).items():
        _write(kind, entries, directory / "archive" / kind / f"shard={shard:02d}", f"{first}-{last}", step)
    client.fcall(functions.name("ack"), 1, log_key(shard), READER, last)
    step("acknowledged")
    client.fcall(functions.name("trim"), 1, log_key(shard))
    step("trimmed")


def _batches(client: "redis.Redis", shard: int, batch_rows: int) -> Iterator[list[Any]]:
    """What follows the acknowledged id, up to what there was at the beginning."""
    newest: Any = client.xrevrange(log_key(shard), count=1)
    while newest:
        acknowledged: Any = client.hget(shard_base(shard) + "ack", READER)
        after = "(" + acknowledged.decode() if acknowledged else "-"
        batch: Any = client.xrange(log_key(shard), min=after, max=newest[0][0], count=batch_rows)
        if not batch:
            return
        yield batch


def entry(stream_id: bytes, fields: dict[bytes, bytes]) -> Entry:
    """A stream entry as the archive's reader knows it."""
    return Entry(
        stream_id=stream_id.decode(), at=float(fields[b"at"]), row=fields[b"j"], embedding=fields.get(b"e", b""),
        ledger=fields.get(b"m", b""),
    )  # fmt: skip


def _by_kind(batch: list[Any]) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for stream_id, fields in batch:
        found.setdefault(KINDS[fields[b"t"]], []).append(entry(stream_id, fields))
    return found


def readable(kind: str, entries: list[Entry]) -> "tuple[pa.Table, list[Entry]]":
    """The table of all rows that fit the schema, and the entries that do not."""
    try:
        return to_table(kind, entries), []
    except (ValueError, TypeError):
        pass
    good, bad = [], []
    for one in entries:
        try:
            to_table(kind, [one])
        except (ValueError, TypeError):
            bad.append(one)
        else:
            good.append(one)
    return to_table(kind, good), bad


def _write(kind: str, entries: list[Entry], folder: Path, name: str, step: Callable[[str], None]) -> None:
    import pyarrow.parquet as pq

    table, bad = readable(kind, entries)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with Replacing(folder / f"{name}.parquet", step) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    if bad:
        log.error("%d %s of %s do not fit the schema; kept as they are in %s.unreadable", len(bad), kind, name, name)
        with Replacing(folder / f"{name}.unreadable", step) as temporary:
            temporary.write_bytes(b"".join(one.stream_id.encode() + b" " + one.row + b"\n" for one in bad))


class Replacing:
    """Writes a file that appears whole and durable, or not at all."""

    def __init__(self, path: Path, step: Callable[[str], None]) -> None:
        self._path, self._temporary, self._step = path, path.with_suffix(".tmp"), step

    def __enter__(self) -> Path:
        return self._temporary

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._temporary.unlink(missing_ok=True)
            return
        _fsync(self._temporary)
        self._step("written")
        self._temporary.replace(self._path)
        _fsync(self._path.parent)
        self._step("renamed")


def _fsync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def main() -> None:
    """One pass over the store whose URL is on stdin; prints how many rows it archived."""
    os.nice(10)
    rows = archive_once(sys.stdin.read().strip(), Path(sys.argv[1]))
    sys.stdout.write(f"{rows}\n")


if __name__ == "__main__":
    main()
