"""Reads the log from saved positions on, wherever its rows lie by now: in the streams, or in the archive.

Nothing waits for this reader: it acknowledges nothing, so archiving and trimming go on without it. Rows that were
trimmed before it came are read from their partitions.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policies.archive_schema import ROWS, partitions
from router.online.record import START, Record, StreamId, of_partition, of_stream
from router.store.archive import READER
from router.store.keys import SHARDS, log_key, shard_base

if TYPE_CHECKING:
    import redis

log = logging.getLogger(__name__)
BATCH_ROWS = 256

Positions = dict[int, StreamId]
Found = dict[int, list[tuple[StreamId, StreamId, str, Path]]]  # shard -> first and last id, kind, file


@dataclass(frozen=True, slots=True)
class Batch:
    """What follows some positions.

    Attributes:
        records: In the order of each shard's log.
        positions: After them.
        is_last: Nothing more stood in the log when this was read.
    """

    records: list[Record]
    positions: Positions
    is_last: bool


def ends(client: "redis.Redis") -> Positions:
    """Behind all that the log holds now."""
    with client.pipeline(transaction=False) as pipe:
        for shard in range(SHARDS):
            pipe.xrevrange(log_key(shard), count=1)
            pipe.hget(shard_base(shard) + "ack", READER)
        replies: list[Any] = pipe.execute()
    found = {}
    for shard in range(SHARDS):
        newest, acknowledged = replies[2 * shard : 2 * shard + 2]
        found[shard] = StreamId.parse(newest[0][0] if newest else acknowledged or b"0-0")
    return found


def read_after(
    client: "redis.Redis", directory: Path, positions: Mapping[int, StreamId], *, most: int = BATCH_ROWS
) -> Batch:
    """The next rows of every shard, at most ``most`` of each, or one partition of the archive under ``directory``.

    Raises:
        redis.RedisError: The store cannot be read.
        OSError, ValueError: A partition cannot be.
    """
    with client.pipeline() as pipe:  # in one step: what is trimmed between two reads would be seen by neither
        for shard in range(SHARDS):
            pipe.xrange(log_key(shard), min=f"({positions[shard]}", count=most)
            pipe.xrange(log_key(shard), count=1)
            pipe.hget(shard_base(shard) + "ack", READER)
        replies: list[Any] = pipe.execute()
    records, reached, is_last, archive = list[Record](), dict(positions), True, _Archive(directory)
    for shard in range(SHARDS):
        entries, oldest, acknowledged = replies[3 * shard : 3 * shard + 3]
        upto = StreamId.parse(acknowledged) if acknowledged else START
        if upto > positions[shard] and (not oldest or StreamId.parse(oldest[0][0]) > positions[shard]):
            found, reached[shard] = archive.read(shard, after=positions[shard], upto=upto)
            records += found
            is_last = False
        elif entries:
            records += of_stream(entries)
            reached[shard] = StreamId.parse(entries[-1][0])
            is_last &= len(entries) < most
    return Batch(records, reached, is_last)


class _Archive:
    """The partitions under a data directory, listed once they are needed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._found: Found | None = None

    def read(self, shard: int, *, after: StreamId, upto: StreamId) -> tuple[list[Record], StreamId]:
        """Rows after ``after`` as far as the next partition reaches, in order, and how far that is."""
        files = self._listed().get(shard, ())
        lasts = [last for _, last, _, _ in files if after < last <= upto]
        if not lasts:
            log.warning("rows of shard %d up to %s were archived elsewhere; nothing is learned from them", shard, upto)
            return [], upto
        reached = min(lasts)
        # After a crash two partitions may share rows, and the earlier of them may lack a kind.
        rows = {
            record.stream_id: record
            for first, last, kind, path in files
            if last > after and first <= reached
            for record in of_partition(path, kind, after=after, upto=reached)
        }
        return [rows[stream_id] for stream_id in sorted(rows)], reached

    def _listed(self) -> Found:
        if self._found is None:
            self._found = {}
            for kind in ROWS:
                for shard, paths in partitions(self._directory, kind).items():
                    for path in paths:
                        first, last = _range_of(path)
                        self._found.setdefault(shard, []).append((first, last, kind, path))
        return self._found


def _range_of(path: Path) -> tuple[StreamId, StreamId]:
    first_ms, first, last_ms, last = (int(part) for part in path.stem.split("-"))
    return StreamId(first_ms, first), StreamId(last_ms, last)
