"""The archive: Parquet partitions of decisions, outcomes and feedback, and the reader that joins them.

Layout: ``<dir>/archive/{decisions,outcomes,feedback}/shard=NN/<first>-<last>.parquet``, named by the first and last
stream id the partition covers. A crash may leave two partitions that share rows; readers drop repeated record ids.
Columns are the fields of `policies.records`, after ``stream_id`` and ``at`` (POSIX seconds by the store's clock);
decisions also carry ``embedding`` (raw float16). What has no Parquet type of its own is a JSON string.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import orjson

from policies.records import DecisionRow, FeedbackRow, OutcomeRow

if TYPE_CHECKING:
    import pyarrow as pa

ROWS: Mapping[str, type] = {"decisions": DecisionRow, "outcomes": OutcomeRow, "feedback": FeedbackRow}
SHARED = ("request_id", "decision_id", "client_request_id", "organisation", "tenant")  # of decisions and outcomes
LATE_S = 86_400  # so much later than its time a decision's row may come, after an outage of the store
_PARTITION = re.compile(r"^(\d+)-(\d+)-(\d+)-(\d+)\.parquet$")  # milliseconds and sequence, twice


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a log stream: `row` is the JSON of a row of `policies.records`, `ledger` what the store adds."""

    stream_id: str
    at: float
    row: bytes
    embedding: bytes = b""
    ledger: bytes = b""


def _arrow_type(hint: Any) -> "pa.DataType":
    import pyarrow as pa

    known: dict[Any, pa.DataType] = {
        str: pa.string(),
        str | None: pa.string(),
        int: pa.int64(),
        int | None: pa.int64(),
        float: pa.float64(),
        float | None: pa.float64(),
        bool: pa.bool_(),
        list[str]: pa.list_(pa.string()),
        list[float]: pa.list_(pa.float64()),
        list[float | None]: pa.list_(pa.float64()),
        dict[str, str]: pa.map_(pa.string(), pa.string()),
    }
    return known.get(hint, pa.string())  # JSON


def _is_json(hint: Any) -> bool:
    return hint not in (str, str | None) and str(_arrow_type(hint)) == "string"


@cache
def schema(kind: str) -> "pa.Schema":
    """Columns of one kind of partition: ``decisions``, ``outcomes`` or ``feedback``."""
    import pyarrow as pa

    hints = get_type_hints(ROWS[kind])
    columns: list[tuple[str, pa.DataType]] = [("stream_id", pa.string()), ("at", pa.float64())]
    columns += [(column.name, _arrow_type(hints[column.name])) for column in fields(ROWS[kind])]
    if kind == "decisions":
        columns.append(("embedding", pa.binary()))
    return pa.schema(columns)


def to_table(kind: str, entries: Sequence[Entry]) -> "pa.Table":
    """Entries as a table; a field that a row lacks is null, one that this version does not know is left out.

    Raises:
        ValueError: A row is no JSON object or a value has the wrong type (pyarrow's ArrowInvalid is one).
        TypeError: Likewise (pyarrow's ArrowTypeError is one).
    """
    import pyarrow as pa

    rows = [orjson.loads(entry.row) for entry in entries]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("a log row is no JSON object")
    hints = get_type_hints(ROWS[kind])
    columns: dict[str, list[Any]] = {
        "stream_id": [entry.stream_id for entry in entries],
        "at": [entry.at for entry in entries],
        "embedding": [entry.embedding or None for entry in entries],
    }
    for name, hint in hints.items():
        values = [row.get(name) for row in rows]
        if _is_json(hint):
            values = [None if value is None else orjson.dumps(value).decode() for value in values]
        elif hint == dict[str, str]:
            values = [None if value is None else list(value.items()) for value in values]
        columns[name] = values
    if kind == "outcomes":  # the store writes it beside the row
        columns["ledger"] = [entry.ledger.decode() if entry.ledger else None for entry in entries]
    wanted = schema(kind)
    arrays = [pa.array(columns[column.name], type=column.type) for column in wanted]
    return pa.Table.from_arrays(arrays, schema=wanted)


class DamagedPartition(ValueError):
    """A file of the archive cannot be read."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            f"{path}: no readable partition ({why}); restore it from a copy, or move it out of the archive"
        )
        self.path = path


def read_partition(path: Path, kind: str, *, columns: Sequence[str] | None = None) -> "pa.Table":
    """One partition with today's columns, or those named: what an older version did not write is null.

    Raises:
        DamagedPartition: The file is no whole Parquet file, or a column has another type.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = schema(kind) if columns is None else pa.schema([schema(kind).field(name) for name in columns])
    try:
        # Not by dataset discovery: it would make the folder name shard=NN a column.
        with path.open("rb") as file, pq.ParquetFile(file) as partition:
            there = set(partition.schema_arrow.names)
            table = partition.read([name for name in wanted.names if name in there])
            n = partition.metadata.num_rows
        arrays = [
            table[column.name].cast(column.type) if column.name in there else pa.nulls(n, column.type)
            for column in wanted
        ]
    except (pa.ArrowException, OSError) as problem:
        raise DamagedPartition(
            path, str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        ) from problem
    return pa.Table.from_arrays(arrays, schema=wanted)


def partitions(
    directory: Path, kind: str, *, since: float | None = None, until: float | None = None
) -> dict[int, list[Path]]:
    """Shard -> its partitions, oldest first; those that ended before `since` or begin well after `until` stay out."""
    found: dict[int, list[tuple[list[int], Path]]] = {}
    for path in directory.glob(f"archive/{kind}/shard=*/*.parquet"):
        named = _PARTITION.match(path.name)
        if named is None or (since is not None and int(named[3]) < int(since * 1000)):
            continue
        if until is not None and int(named[1]) > (until + LATE_S) * 1000:
            continue
        shard = int(path.parent.name.removeprefix("shard="))
        found.setdefault(shard, []).append(([int(part) for part in named.groups()], path))
    return {shard: [path for _, path in sorted(paths)] for shard, paths in found.items()}


def files_of(directory: Path) -> frozenset[Path]:
    """Every partition that there is now, of all kinds: for `read_log`, where a log is read more than once."""
    return frozenset(path for kind in ROWS for paths in partitions(directory, kind).values() for path in paths)


def read_log(
    directory: Path,
    *,
    since: float | None = None,
    until: float | None = None,
    live: "Mapping[int, Mapping[str, Sequence[pa.Table]]] | None" = None,
    columns: Iterable[str] | None = None,
    only: Collection[Path] | None = None,
) -> "Iterator[pa.Table]":
    """The log, joined: one table per partition of decisions, one row per request, no record twice.

    A row has the decision's columns, the outcome's as ``outcome_<column>`` (null while the request is open) and
    ``feedback`` (metric -> value, the last wins; feedback belongs to the decision, so all its requests carry it).
    At the end of each shard come outcomes whose decision the log does not hold: their ``kind`` is null.
    Memory grows with the largest shard: by some 60 bytes a request with a few columns, not by what decisions carry.

    Args:
        directory: The data directory, above ``archive``.
        since: Only requests that began at or after this POSIX time.
        until: Only requests that began before this POSIX time.
        live: Shard -> kind -> tables of what is not archived yet. Read it before calling this: rows that move to the
            archive in between are then seen twice and dropped once, never missed.
        columns: Names of the columns to read; None for all.
        only: Partitions to read, as `files_of` told them; None for all that there are.

    Raises:
        DamagedPartition: A file cannot be read.
        ValueError: There is no such column.
    """
    from policies.archive_join import Parts, Wanted, Window, joined

    live, wanted, window = live or {}, Wanted.of(columns), Window(since, until)
    files = {kind: partitions(directory, kind, since=since) for kind in ROWS}
    files["decisions"] = partitions(directory, "decisions", since=since, until=until)
    for shard in sorted(set(live).union(*files.values())):
        decisions, outcomes, feedback = (
            Parts(
                kind,
                [path for path in files[kind].get(shard, ()) if only is None or path in only],
                live.get(shard, {}).get(kind, ()),
            )
            for kind in ROWS
        )
        yield from joined(decisions, outcomes, feedback, wanted=wanted, window=window)
