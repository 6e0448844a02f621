"""Rows of CSV, JSONL, JSON and Parquet files, one at a time, with cells that say where they are when they are wrong."""

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import orjson

from policies.arms import MODES
from training.records.record import RecordError, check_effort

_TRUE = {"true": 1.0, "false": 0.0}
_READ_CHARS = 1 << 20
_SHOWN_CHARS = 16
_BETWEEN = re.compile(r"[\s,]*")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file; ``number`` counts from 1 (in JSONL it is the line)."""

    file: Path
    number: int
    cells: Mapping[str, Any]

    def wrong(self, column: str, want: str) -> RecordError:
        """An error that names this cell and what it holds (long texts only by their length)."""
        value = self.cells.get(column)
        if column not in self.cells:
            found = "the column is missing"
        elif value is None or value == "":
            found = "is empty"
        elif isinstance(value, str) and len(value) > _SHOWN_CHARS:
            found = f"holds a text of {len(value)} characters"
        else:
            found = f"holds {value!r}" if isinstance(value, str | int | float) else f"holds a {type(value).__name__}"
        return RecordError(f"{found}; {want}", file=self.file, row=self.number, column=column)

    def text(self, column: str) -> str:
        """A text that must be there; a number is taken as its text."""
        value = self.cells.get(column)
        if value is None or value == "" or not isinstance(value, str | int | float):
            raise self.wrong(column, "write a text")
        return str(value)

    def maybe_text(self, column: str) -> str:
        """A text, empty if the cell or its column is."""
        value = self.cells.get(column)
        return self.text(column) if value is not None and value != "" else ""

    def number_in(self, column: str, *, least: float, most: float, want: str) -> float | None:
        """A number within bounds, None if the cell is empty; true is 1 and false 0."""
        value = self.cells.get(column)
        if value is None or value == "":
            return None
        try:
            number = _TRUE[value.lower()] if isinstance(value, str) and value.lower() in _TRUE else float(value)
        except (TypeError, ValueError):
            raise self.wrong(column, want) from None
        if number != number:  # NaN is how dataframes write an empty cell
            return None
        if not (isfinite(number) and least <= number <= most):
            raise self.wrong(column, want)
        return number

    def score(self, column: str, *, scale: float = 1.0) -> float | None:
        """Quality on 0..``scale``, as 0..1."""
        want = f"write a number from 0 to {scale:g}, or true/false"
        number = self.number_in(column, least=0.0, most=scale, want=want)
        return None if number is None else number / scale

    def amount(self, column: str, unit: str) -> float | None:
        """A quantity that cannot be negative."""
        return self.number_in(column, least=0.0, most=1e18, want=f"write {unit}, a number from 0 on, or leave it empty")

    def count(self, column: str) -> int | None:
        """A whole number from 0 on."""
        number = self.amount(column, "a count")
        if number is not None and number != int(number):
            raise self.wrong(column, "write a whole number")
        return None if number is None else int(number)

    def mode(self, column: str = "mode") -> str:
        """One of the modes; instant if the cell is empty."""
        value = self.maybe_text(column) or "instant"
        if value not in MODES:
            raise self.wrong(column, f"write one of {', '.join(MODES)}")
        return value

    def effort(self, column: str = "effort") -> str:
        """An effort, empty if the cell is."""
        value = self.maybe_text(column)
        try:
            check_effort(value)
        except RecordError as problem:
            raise self.wrong(column, str(problem)) from problem
        return value


def csv_rows(file: Path) -> Iterator[Row]:
    """Rows of a CSV file with a header, UTF-8."""
    csv.field_size_limit(2**31 - 1)  # the module's 128 KiB is less than a long answer
    number = 0
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, strict=True)
            for number, cells in enumerate(reader, start=1):
                if None in cells or None in cells.values():
                    want = f"has another number of cells than the header's {len(reader.fieldnames or [])}"
                    raise RecordError(f"{want}; quote texts that hold commas or line breaks", file=file, row=number)
                yield Row(file, number, cells)
    except csv.Error as problem:
        raise RecordError(f"no CSV: {problem}; quote texts as RFC 4180 says", file=file, row=number + 1) from problem
    except UnicodeDecodeError as problem:
        raise RecordError("no UTF-8 from there on; save it as UTF-8", file=file, row=number + 1) from problem


def jsonl_rows(file: Path) -> Iterator[Row]:
    """Objects of a file with one JSON object per line; empty lines are skipped."""
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.isspace():
                continue
            try:
                cells = orjson.loads(line)
            except ValueError as problem:
                raise RecordError(f"no JSON ({problem}); write one object per line", file=file, row=number) from problem
            if not isinstance(cells, dict):
                raise RecordError(f"holds a {type(cells).__name__}; write one object per line", file=file, row=number)
            yield Row(file, number, cells)


def json_array_rows(file: Path) -> Iterator[Row]:
    """Objects of a file that is one JSON array; a megabyte or one object is held at a time, whichever is more."""
    decoder, number = json.JSONDecoder(), 0
    with file.open(encoding="utf-8-sig") as source:
        text = source.read(_READ_CHARS)
        start = _BETWEEN.match(text).end()  # type: ignore[union-attr]  # it matches the empty text too
        if text[start : start + 1] != "[":
            raise RecordError("is no JSON array; expected [ at the start", file=file)
        start += 1
        while True:
            start = _BETWEEN.match(text, start).end()  # type: ignore[union-attr]
            if text[start : start + 1] == "]":
                return
            try:
                cells, start = decoder.raw_decode(text, start)
            except ValueError as problem:
                text, start = text[start:], 0
                more = source.read(max(_READ_CHARS, len(text)))
                if not more:
                    what = "is no whole JSON value; is the file cut?"
                    raise RecordError(what, file=file, row=number + 1) from problem
                text += more
                continue
            number += 1
            if not isinstance(cells, dict):
                raise RecordError(f"holds a {type(cells).__name__}; expected an object", file=file, row=number)
            yield Row(file, number, cells)


def parquet_rows(file: Path) -> Iterator[Row]:
    """Rows of a Parquet file, read 1,024 at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with file.open("rb") as source:
            for batch in pq.ParquetFile(source).iter_batches(batch_size=1024):
                for cells in batch.to_pylist():
                    number += 1
                    yield Row(file, number, cells)
    except (pa.ArrowInvalid, OSError) as problem:
        raise RecordError(f"cannot be read as Parquet: {problem}", file=file) from problem
