"""How `gearshift log export` writes its lines: JSON lines, CSV or Parquet, all as a stream."""

import csv
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    import pyarrow as pa

Row = Mapping[str, Any]

BATCH_ROWS = 8192
TEXT = (
    "client_request_id", "request_id", "decision_id", "organisation", "tenant", "key_id", "end_user", "session",
    "status", "kind", "policy", "state", "config", "requested_model", "arm", "served_arm", "usage_source",
    "fallback_reason", "error", "prompt", "prices",
)  # fmt: skip
REAL = ("at", "ended_at", "propensity", "seconds", "ttft_s", "overhead_s")
YES_NO = ("late", "far")
NESTED = ("finish_reasons", "attempts", "feedback", "tags", "usage_flags")


def write(rows: Iterable[Row], form: str, out: Path | None) -> None:
    """Write rows of `router.store.logbook.line`; `form` is ``jsonl``, ``csv`` or ``parquet`` (which needs `out`)."""
    if form == "parquet":
        assert out is not None
        _write_parquet(rows, out)
        return
    with _opened(out) as file:
        if form == "jsonl":
            for row in rows:
                file.write(json_line(row))
        else:
            _write_csv(rows, file)


@contextmanager
def _opened(out: Path | None) -> Iterator[IO[bytes]]:
    if out is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with out.open("wb") as file:
        yield file


def json_line(row: Row) -> bytes:
    """One JSON object and a line feed; `usd` is a number with exactly the digits of the nano-dollars."""
    usd = None if row["usd"] is None else orjson.Fragment(row["usd"])
    return orjson.dumps({**row, "usd": usd}, option=orjson.OPT_APPEND_NEWLINE)


def _write_csv(rows: Iterable[Row], file: IO[bytes]) -> None:
    """A header and one record per row; lists and objects are JSON."""
    text = _Utf8(file)
    writer: Any = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(text, fieldnames=list(row), lineterminator="\n")
            writer.writeheader()
        nested = {name: orjson.dumps(row[name]).decode() for name in NESTED}
        writer.writerow({**row, **nested})


class _Utf8:
    """What csv writes to."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, text: str) -> int:
        return self._file.write(text.encode())


def _column_type(name: str) -> "pa.DataType":
    import pyarrow as pa

    if name == "usd":
        return pa.decimal128(28, 9)
    if name in TEXT or name in NESTED:
        return pa.string()
    if name in REAL:
        return pa.float64()
    return pa.bool_() if name in YES_NO else pa.int64()


def _write_parquet(rows: Iterable[Row], out: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    stream, writer = iter(rows), None
    try:
        while batch := list(islice(stream, BATCH_ROWS)):
            schema = pa.schema([(name, _column_type(name)) for name in batch[0]])
            table = pa.Table.from_pylist([_flat(row) for row in batch], schema=schema)
            writer = writer or pq.ParquetWriter(out, schema, compression="zstd")
            writer.write_table(table)
        if writer is None:  # nothing logged yet: a file without rows
            pq.write_table(pa.table({}), out)
    finally:
        if writer is not None:
            writer.close()


def _flat(row: Row) -> dict[str, Any]:
    nested = {name: orjson.dumps(row[name]).decode() for name in NESTED}
    return {**row, **nested, "usd": None if row["usd"] is None else Decimal(row["usd"])}
