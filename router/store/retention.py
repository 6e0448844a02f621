"""Texts whose term is over leave the archive: prompts of decisions and comments of feedback, and nothing else of a row.

A partition with such texts is written anew beside the old one, synced, renamed over it: after a crash at any moment one
of the two is there, whole. A pass that finds nothing reads the ends of the files alone.
"""

import logging
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from policies.archive_schema import partitions
from router.config.schema import Tenant
from router.directory.kept import FIELDS, read_kept
from router.store.archive import Replacing, own_pass
from router.store.keys import DIRECTORY_KEY

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq
    import redis

log = logging.getLogger(__name__)

DAY_S = 86_400.0
TEXTS = {"decisions": "prompt", "feedback": "comment"}
Terms = Mapping[tuple[str, str], float]  # (organisation, tenant) -> seconds that a text is kept


def sweep(directory: Path, terms: Terms, *, now: float, step: Callable[[str], None] = lambda name: None) -> int:
    """Take out of the archive every text whose term is over.

    Args:
        directory: The data directory, above ``archive``.
        terms: Texts of others stay.
        now: POSIX seconds by the store's clock, which is that of the rows.
        step: Called after each step with its name (``written``, ``renamed``).

    Returns:
        How many texts went.

    Raises:
        OSError: The disk failed; what is done is done, call again.
    """
    if not terms:
        return 0
    gone = 0
    with own_pass(directory):
        for kind, column in TEXTS.items():
            begun_before = partitions(directory, kind, until=now - min(terms.values()))
            for path in (path for paths in begun_before.values() for path in paths):
                gone += _sweep_partition(path, column, _Over(terms, now), step)
            for path in directory.glob(f"archive/{kind}/shard=*/*.unreadable"):
                gone += _sweep_lines(path, column, _Over(terms, now), step)
    return gone


class _Over:
    """Whether the term of a row's text is over."""

    def __init__(self, terms: Terms, now: float) -> None:
        self._terms, self._now = terms, now

    def __call__(self, organisation: Any, tenant: Any, at: float) -> bool:
        term = self._terms.get((organisation, tenant))
        return term is not None and at + term <= self._now


def _sweep_partition(path: Path, column: str, over: _Over, step: Callable[[str], None]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as file, pq.ParquetFile(file) as partition:
            if not _holds_any(partition, column):
                return 0
            table = partition.read()
    except pa.ArrowException as problem:
        log.error("%s cannot be read, so its texts stay: %s", path, type(problem).__name__)
        return 0
    kept, gone = _without(table, column, over)
    if gone:
        with Replacing(path, step) as temporary:
            pq.write_table(kept, temporary, compression="zstd")
    return gone


def _holds_any(partition: "pq.ParquetFile", column: str) -> bool:
    """By the file's statistics, whether any row has such a text."""
    if column not in partition.schema_arrow.names:
        return False
    place = partition.schema_arrow.names.index(column)
    # Columns inside lists and maps count apart in the file, so the place there is looked for by name.
    for number in range(partition.metadata.num_row_groups):
        group = partition.metadata.row_group(number)
        chunks = [group.column(at) for at in range(place, group.num_columns)]
        told = next((chunk.statistics for chunk in chunks if chunk.path_in_schema == column), None)
        if told is None or told.null_count is None or told.null_count < group.num_rows:
            return True
    return False


def _without(table: "pa.Table", column: str, over: _Over) -> "tuple[pa.Table, int]":
    """The table with the texts that are over taken out, and how many they were."""
    import pyarrow as pa

    names = ("organisation", "tenant", "at", column)
    rows = list(zip(*(table[name].to_pylist() for name in names), strict=True))
    texts = [None if text is not None and over(owner, tenant, at) else text for owner, tenant, at, text in rows]
    gone = sum(text is not None for *_, text in rows) - sum(text is not None for text in texts)
    place = table.schema.get_field_index(column)
    field = table.schema.field(place)
    return table.set_column(place, field, pa.array(texts, type=field.type)), gone


def _sweep_lines(path: Path, column: str, over: _Over, step: Callable[[str], None]) -> int:
    """The same for rows that fit no schema: a line has the stream id, whose beginning is milliseconds, and JSON."""
    lines, gone = [], 0
    for line in path.read_bytes().splitlines():
        stream_id, _, raw = line.partition(b" ")
        try:
            row = orjson.loads(raw)
        except orjson.JSONDecodeError:
            row = None
        at = int(stream_id.partition(b"-")[0]) / 1000
        if isinstance(row, dict) and row.get(column) and over(row.get("organisation"), row.get("tenant"), at):
            line, gone = stream_id + b" " + orjson.dumps(row | {column: None}), gone + 1
        lines.append(line)
    if gone:
        with Replacing(path, step) as temporary:
            temporary.write_bytes(b"".join(line + b"\n" for line in lines))
    return gone


def kept_terms(client: "redis.Redis", *, of_file: Collection[str]) -> Terms:
    """Those of the tenants that the store keeps; of tenants that the file names too, the file's are in force.

    Also of a tenant whose other settings do not fit the file: its texts are there all the same.

    Raises:
        DirectoryUnreadable, redis.RedisError: Nobody can say which texts are over.
    """
    found: Any = client.hmget(DIRECTORY_KEY, FIELDS)
    return {
        (settings.get("organisation", Tenant().organisation), name): settings["retention_days"] * DAY_S
        for name, settings in read_kept(*found).tenants.items()
        if name not in of_file and settings.get("retention_days") is not None
    }


def main() -> None:
    """One pass, told on stdin (JSON: url, own, and of the file its tenants and terms); prints how many texts went.

    An append-only file of our own store may still have them, from before they were archived: it is written anew.
    """
    import redis

    told = orjson.loads(sys.stdin.read())
    of_file = {(organisation, tenant): term_s for organisation, tenant, term_s in told["terms"]}
    with redis.Redis.from_url(told["url"], socket_timeout=30) as client:
        terms = {**of_file, **kept_terms(client, of_file=told["tenants"])}
        gone = sweep(Path(sys.argv[1]), terms, now=float(client.time()[0]))
        if gone and told["own"]:
            client.bgrewriteaof()
    sys.stdout.write(f"{gone}\n")


if __name__ == "__main__":
    main()
