"""The archive: Parquet partitions of decisions, outcomes and feedback, and the reader that joins them.

Layout: ``<dir>/archive/{decisions,outcomes,feedback}/shard=NN/<first>-<last>.parquet``, named by the first and last
stream id the partition covers. A crash may leave two partitions that share rows; readers drop repeated record ids.
Columns are the fields of `policies.records`, after ``stream_id`` and ``at`` (POSIX seconds by the store's clock);
decisions also carry ``embedding`` (raw float16). What has no Parquet type of its own is a JSON string.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import orjson

from policies.records import DecisionRow, FeedbackRow, OutcomeRow

if TYPE_CHECKING:
    import pyarrow as pa

ROWS: Mapping[str, type] = {"decisions": DecisionRow, "outcomes": OutcomeRow, "feedback": FeedbackRow}
RECORD_ID = {"decisions": "request_id", "outcomes": "request_id", "feedback": "feedback_id"}
SHARED = ("request_id", "decision_id", "client_request_id", "organisation", "tenant")  # of decisions and outcomes
_PARTITION = re.compile(r"^(\d+)-(\d+)-(\d+)-(\d+)\.parquet$")  # milliseconds and sequence, twice


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a log stream: `row` is the JSON of a row of `policies.records`."""

    stream_id: str
    at: float
    row: bytes
    embedding: bytes = b""


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
    wanted = schema(kind)
    arrays = [pa.array(columns[column.name], type=column.type) for column in wanted]
    return pa.Table.from_arrays(arrays, schema=wanted)


def read_partition(path: Path, kind: str) -> "pa.Table":
    """One partition with today's columns: those an older version did not write are null."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # Not by dataset discovery: it would make the folder name shard=NN a column.
    with path.open("rb") as file:
        table = pq.ParquetFile(file).read()
    wanted = schema(kind)
    arrays = [
        table[column.name].cast(column.type)
        if column.name in table.column_names
        else pa.nulls(table.num_rows, column.type)
        for column in wanted
    ]
    return pa.Table.from_arrays(arrays, schema=wanted)


def partitions(directory: Path, kind: str, *, since: float | None = None) -> dict[int, list[Path]]:
    """Shard -> its partitions, oldest first; those that ended before `since` (POSIX seconds) are left out."""
    found: dict[int, list[tuple[list[int], Path]]] = {}
    for path in directory.glob(f"archive/{kind}/shard=*/*.parquet"):
        named = _PARTITION.match(path.name)
        if named is None or (since is not None and int(named[3]) < int(since * 1000)):
            continue
        shard = int(path.parent.name.removeprefix("shard="))
        found.setdefault(shard, []).append(([int(part) for part in named.groups()], path))
    return {shard: [path for _, path in sorted(paths)] for shard, paths in found.items()}


def read_log(
    directory: Path,
    *,
    since: float | None = None,
    live: "Mapping[int, Mapping[str, Sequence[pa.Table]]] | None" = None,
) -> "Iterator[pa.Table]":
    """The log, joined: one table per partition of decisions, one row per request, no record twice.

    A row has the decision's columns, the outcome's as ``outcome_<column>`` (null while the request is open) and
    ``feedback`` (metric -> value, the last wins; feedback belongs to the decision, so all its requests carry it).
    At the end of each shard come outcomes whose decision the log does not hold: their ``kind`` is null.

    Args:
        directory: The data directory, above ``archive``.
        since: Only requests that began at or after this POSIX time.
        live: Shard -> kind -> tables of what is not archived yet. Read it before calling this: rows that move to the
            archive in between are then seen twice and dropped once, never missed.
    """
    live = live or {}
    files = {kind: partitions(directory, kind, since=since) for kind in ROWS}
    for shard in sorted(set(live).union(*files.values())):
        tables = {kind: _tables(kind, files[kind].get(shard, ()), live.get(shard, {}).get(kind, ())) for kind in ROWS}
        yield from _join_shard(tables["decisions"], _whole("outcomes", tables), _whole("feedback", tables), since)


def _tables(kind: str, paths: Iterable[Path], live: "Iterable[pa.Table]") -> "Iterator[pa.Table]":
    for path in paths:
        yield read_partition(path, kind)
    yield from live


def _whole(kind: str, tables: "Mapping[str, Iterator[pa.Table]]") -> "pa.Table":
    import pyarrow as pa

    whole = pa.concat_tables([schema(kind).empty_table(), *tables[kind]])
    return _unseen(whole, RECORD_ID[kind], set())


def _unseen(table: "pa.Table", column: str, seen: set[str]) -> "pa.Table":
    """The rows whose id is new; adds their ids to `seen`."""
    import pyarrow as pa

    keep = []
    for record_id in map(str, table[column].to_pylist()):
        keep.append(record_id not in seen)
        seen.add(record_id)
    return table if all(keep) else table.filter(pa.array(keep))


def _join_shard(
    decisions: "Iterator[pa.Table]", outcomes: "pa.Table", feedback: "pa.Table", since: float | None
) -> "Iterator[pa.Table]":
    import pyarrow as pa
    import pyarrow.compute as pc

    metrics = _last_values(feedback)
    seen: set[str] = set()
    for table in decisions:
        fresh = _unseen(table, "request_id", seen)
        wanted = fresh if since is None else fresh.filter(pc.greater_equal(fresh["at"], pa.scalar(since)))
        if wanted.num_rows:
            rows = pc.index_in(wanted["request_id"], value_set=outcomes["request_id"].combine_chunks())
            yield _joined(wanted, outcomes.take(rows), metrics)
    alone = outcomes.filter(
        pc.invert(pc.is_in(outcomes["request_id"], value_set=pa.array(list(seen), type=pa.string())))
    )
    if alone.num_rows and since is None:  # with `since`, their decisions may just be older than the window
        yield _joined(_without_decision(alone), alone, metrics)


def _last_values(feedback: "pa.Table") -> dict[str, dict[str, float]]:
    rows = feedback.select(["at", "decision_id", "metric", "value"]).sort_by("at").to_pylist()
    values: dict[str, dict[str, float]] = {}
    for row in rows:
        values.setdefault(row["decision_id"], {})[row["metric"]] = row["value"]
    return values


def _without_decision(outcomes: "pa.Table") -> "pa.Table":
    """Decision columns for outcomes that have none: what both kinds say, else null."""
    import pyarrow as pa

    wanted, known = schema("decisions"), {*SHARED, "at", "stream_id"}
    arrays = [
        outcomes[column.name] if column.name in known else pa.nulls(outcomes.num_rows, column.type) for column in wanted
    ]
    return pa.Table.from_arrays(arrays, schema=wanted)


def _joined(decisions: "pa.Table", outcomes: "pa.Table", metrics: Mapping[str, Mapping[str, float]]) -> "pa.Table":
    """Tables of equal length side by side, with the feedback of each row's decision."""
    import pyarrow as pa

    joined = decisions
    for name in outcomes.column_names:
        joined = joined.append_column(f"outcome_{name}", outcomes[name])
    feedback = [list(metrics.get(str(decision), {}).items()) for decision in decisions["decision_id"].to_pylist()]
    return joined.append_column("feedback", pa.array(feedback, type=pa.map_(pa.string(), pa.float64())))
