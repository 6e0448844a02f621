"""Texts whose term is over leave the archive: prompts of decisions and comments of feedback.

An end user's name stands in clear only beside its prompt, so its pseudonym takes its place then: the one that it has
with tenants that store no prompts. Nothing else of a row changes.

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
from router.end_user import PSEUDONYM, pseudonym
from router.store.archive import Replacing, own_pass
from router.store.keys import DIRECTORY_KEY

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq
    import redis

log = logging.getLogger(__name__)

DAY_S = 86_400.0
NAME = "end_user"
TEXTS = {"decisions": ("prompt", NAME), "feedback": ("comment",)}
Terms = Mapping[tuple[str, str], float]  # (organisation, tenant) -> seconds that a text is kept


def sweep(
    directory: Path, terms: Terms, *, now: float, secret: bytes, step: Callable[[str], None] = lambda name: None
) -> int:
    """Take out of the archive every text whose term is over.

    Args:
        directory: The data directory, above ``archive``.
        terms: Texts of others stay.
        now: POSIX seconds by the store's clock, which is that of the rows.
        secret: The key secret, behind the pseudonyms.
        step: Called after each step with its name (``written``, ``renamed``).

    Returns:
        How many texts and names went.

    Raises:
        OSError: The disk failed; what is done is done, call again.
    """
    if not terms:
        return 0
    gone = 0
    with own_pass(directory):
        for kind, columns in TEXTS.items():
            begun_before = partitions(directory, kind, until=now - min(terms.values()))
            for path in (path for paths in begun_before.values() for path in paths):
                gone += _sweep_partition(path, columns, _Over(terms, now, secret), step)
            for path in directory.glob(f"archive/{kind}/shard=*/*.unreadable"):
                gone += _sweep_lines(path, columns, _Over(terms, now, secret), step)
    return gone


class _Over:
    """What stands in the place of a row's text or name: itself, until its term is over."""

    def __init__(self, terms: Terms, now: float, secret: bytes) -> None:
        self._terms, self._now, self._secret = terms, now, secret

    def __call__(self, column: str, value: Any, organisation: Any, tenant: Any, at: float) -> Any:
        term = self._terms.get((organisation, tenant))
        if value is None or term is None or at + term > self._now:
            return value
        if column != NAME or not isinstance(value, str):
            return None
        if value.startswith(PSEUDONYM):
            return value
        return pseudonym(value, organisation=organisation, tenant=tenant, secret=self._secret)


def _sweep_partition(path: Path, columns: Collection[str], over: _Over, step: Callable[[str], None]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as file, pq.ParquetFile(file) as partition:
            if not any(_holds_any(partition, column) for column in columns):
                return 0
            table = partition.read()
    except pa.ArrowException as problem:
        log.error("%s cannot be read, so its texts stay: %s", path, type(problem).__name__)
        return 0
    kept, gone = _without(table, columns, over)
    if gone:
        with Replacing(path, step) as temporary:
            pq.write_table(kept, temporary, compression="zstd")
    return gone


def _holds_any(partition: "pq.ParquetFile", column: str) -> bool:
    """By the file's statistics, whether any row has such a text, or a name that is no pseudonym."""
    if column not in partition.schema_arrow.names:
        return False
    place = partition.schema_arrow.names.index(column)
    # Columns inside lists and maps count apart in the file, so the place there is looked for by name.
    for number in range(partition.metadata.num_row_groups):
        group = partition.metadata.row_group(number)
        chunks = [group.column(at) for at in range(place, group.num_columns)]
        told = next((chunk.statistics for chunk in chunks if chunk.path_in_schema == column), None)
        if told is None or told.null_count is None:
            return True
        if told.null_count < group.num_rows and not (column == NAME and _are_pseudonyms(told)):
            return True
    return False


def _are_pseudonyms(told: "pq.Statistics") -> bool:
    """Whether the least and the greatest value begin alike, and so all between them."""
    return bool(told.has_min_max) and all(str(value).startswith(PSEUDONYM) for value in (told.min, told.max))


def _without(table: "pa.Table", columns: Collection[str], over: _Over) -> "tuple[pa.Table, int]":
    """The table with the texts and names that are over replaced, and how many they were."""
    import pyarrow as pa

    gone = 0
    for column in (each for each in columns if each in table.column_names):
        names = (column, "organisation", "tenant", "at")
        rows = list(zip(*(table[name].to_pylist() for name in names), strict=True))
        texts = [over(column, *row) for row in rows]
        gone += sum(before != after for (before, *_), after in zip(rows, texts, strict=True))
        place = table.schema.get_field_index(column)
        field = table.schema.field(place)
        table = table.set_column(place, field, pa.array(texts, type=field.type))
    return table, gone


def _sweep_lines(path: Path, columns: Collection[str], over: _Over, step: Callable[[str], None]) -> int:
    """The same for rows that fit no schema: a line has the stream id, whose beginning is milliseconds, and JSON."""
    lines, gone = [], 0
    for line in path.read_bytes().splitlines():
        stream_id, _, raw = line.partition(b" ")
        try:
            row = orjson.loads(raw)
        except orjson.JSONDecodeError:
            row = None
        at = int(stream_id.partition(b"-")[0]) / 1000
        if isinstance(row, dict):
            owner = row.get("organisation"), row.get("tenant")
            after = {column: over(column, row[column], *owner, at) for column in columns if column in row}
            if n_changed := sum(row[column] != value for column, value in after.items()):
                line, gone = stream_id + b" " + orjson.dumps(row | after), gone + n_changed
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
    """One pass, told on stdin (JSON: url, own, secret in hex, and of the file its tenants and terms); prints how many
    texts and names went.

    An append-only file of our own store may still have them, from before they were archived: it is written anew.
    """
    import redis

    told = orjson.loads(sys.stdin.read())
    of_file = {(organisation, tenant): term_s for organisation, tenant, term_s in told["terms"]}
    with redis.Redis.from_url(told["url"], socket_timeout=30) as client:
        terms = {**of_file, **kept_terms(client, of_file=told["tenants"])}
        gone = sweep(Path(sys.argv[1]), terms, now=float(client.time()[0]), secret=bytes.fromhex(told["secret"]))
        if gone and told["own"]:
            client.bgrewriteaof()
    sys.stdout.write(f"{gone}\n")


if __name__ == "__main__":
    main()
