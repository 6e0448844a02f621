"""What a file is made of, told by its first bytes and never by its name, and the rows in it."""

from collections.abc import Iterator
from pathlib import Path

import orjson

from training.records.record import RecordError
from training.records.rows import Row, csv_rows, json_array_rows, jsonl_rows, parquet_rows

_HEAD_BYTES = 1 << 16
_PICKLE, _PARQUET, _ZIP, _GZIP = b"\x80", b"PAR1", b"PK\x03\x04", b"\x1f\x8b"


def rows_of(file: Path) -> Iterator[Row]:
    """Rows of a file in whatever container it is; an object that is one whole run has none of its own.

    Raises:
        RecordError: As `container`, or it is a single JSON object.
    """
    readers = {"csv": csv_rows, "jsonl": jsonl_rows, "json-array": json_array_rows, "parquet": parquet_rows}
    kind = container(file)
    if kind not in readers:
        raise RecordError("is one JSON object; write a row per line, or a list of rows", file=file)
    return readers[kind](file)


def container(file: Path) -> str:
    """``csv``, ``jsonl``, ``json-array``, ``json`` or ``parquet``, by the first bytes.

    Raises:
        RecordError: It is empty, a pickle or packed.
    """
    with file.open("rb") as source:
        head = source.read(_HEAD_BYTES)
    if head.startswith(_PARQUET):
        return "parquet"
    if head.startswith(_PICKLE) or file.suffix in (".pkl", ".pickle"):
        raise RecordError("is a pickle, which runs code when opened; export it as CSV or Parquet first", file=file)
    if head.startswith((_ZIP, _GZIP)):
        raise RecordError("is packed; unpack it first", file=file)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text:
        raise RecordError("is empty", file=file)
    if text.startswith(b"["):
        return "json-array"
    return _object_or_lines(text, file) if text.startswith(b"{") else "csv"


def _object_or_lines(head: bytes, file: Path) -> str:
    """A line that is an object of its own makes it JSONL, unless that object is a whole run."""
    line, end, _ = head.partition(b"\n")
    try:
        cells = orjson.loads(line)
    except ValueError:
        return "jsonl" if not end and file.suffix == ".jsonl" else "json"  # one line longer than the head
    return "json" if "records" in cells else "jsonl"
