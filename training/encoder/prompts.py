"""Reads prompts to fit an encoder to: text, JSON lines, CSV, Parquet, or the queries of an outcome set or a pool."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from training.encoder.weights import EncoderFitError

LEAST_PROMPTS = 200
COLUMNS = ("prompt", "text")  # the first that a file has


def read_prompts(place: Path, *, pools_file: Path | None = None, pool: str | None = None) -> tuple[str, ...]:
    """The distinct prompts of a file or folder, in order, those without a visible character left out.

    Args:
        place: ``.txt`` (one prompt per line), ``.jsonl``, ``.csv`` or ``.parquet`` (column ``prompt`` or ``text``), a
            folder with ``queries.parquet``, or a data directory, of which ``pool`` names the part.
        pools_file / pool: Needed for a data directory.

    Raises:
        EncoderFitError: The file cannot be read, has no such column, or holds fewer than 200 prompts.
        PoolError: The pool cannot be read.
    """
    return distinct_prompts(_texts(place, pools_file, pool), place=place)


def distinct_prompts(texts: Iterable[str], *, place: Path) -> tuple[str, ...]:
    """Distinct texts in order, those without a visible character left out; ``place`` is where they came from.

    Raises:
        EncoderFitError: Fewer than 200 remain.
    """
    found = dict.fromkeys(text for text in texts if text.strip())
    if len(found) < LEAST_PROMPTS:
        raise EncoderFitError(
            f"{place}: {len(found)} distinct prompts with text; an encoder needs at least {LEAST_PROMPTS}, better "
            "thousands; add prompts, or serve the distilled encoder as it is"
        )
    return tuple(found)


def _texts(place: Path, pools_file: Path | None, pool: str | None) -> Iterator[str]:
    if place.is_dir():
        return _of_folder(place, pools_file, pool)
    readers: dict[str, Callable[[Path], Iterator[str]]] = {
        ".txt": _lines, ".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet,
    }  # fmt: skip
    if place.suffix not in readers:
        known = ", ".join(readers)
        raise EncoderFitError(f"{place}: prompts are read from {known} or a folder, not from {place.suffix!r}")
    return _guarded(place, readers[place.suffix])


def _guarded(file: Path, read: Callable[[Path], Iterator[str]]) -> Iterator[str]:
    try:
        yield from read(file)
    except (OSError, ValueError, csv.Error) as problem:
        if isinstance(problem, EncoderFitError):
            raise
        reason = problem.strerror if isinstance(problem, OSError) else type(problem).__name__
        raise EncoderFitError(f"{file}: not readable as {file.suffix[1:]} ({reason})") from problem


def _of_folder(folder: Path, pools_file: Path | None, pool: str | None) -> Iterator[str]:
    if pool is not None and pools_file is not None:
        from policies.tables import load_pool

        return iter(load_pool(folder, pools_file, pool).prompts)
    queries = folder / "queries.parquet"
    if not queries.is_file():
        raise EncoderFitError(f"{folder}: no queries.parquet; for a data directory give --pools and --pool")
    return _guarded(queries, _parquet)


def _lines(file: Path) -> Iterator[str]:
    with file.open(encoding="utf-8") as stream:
        for line in stream:
            yield line.rstrip("\n")


def _jsonl(file: Path) -> Iterator[str]:
    with file.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                row: Any = json.loads(line)
            except ValueError:
                raise EncoderFitError(f"{file}, line {number}: not JSON") from None
            if not isinstance(row, dict):
                raise EncoderFitError(f"{file}, line {number}: expected an object with a field {_choice()}")
            yield _field(row, file, f"line {number}")


def _csv(file: Path) -> Iterator[str]:
    with file.open(encoding="utf-8", newline="") as stream:
        for number, row in enumerate(csv.DictReader(stream), start=2):
            yield _field(row, file, f"row {number}")


def _field(row: dict[str, Any], file: Path, where: str) -> str:
    name = next((name for name in COLUMNS if name in row), None)
    if name is None:
        raise EncoderFitError(f"{file}, {where}: no field {_choice()}")
    if not isinstance(row[name], str):
        raise EncoderFitError(f"{file}, {where}, {name}: expected text")
    return str(row[name])


def _parquet(file: Path) -> Iterator[str]:
    import pyarrow.parquet as pq

    columns = pq.read_schema(file).names
    name = next((name for name in COLUMNS if name in columns), None)
    if name is None:
        raise EncoderFitError(f"{file}: no column {_choice()}; it has {', '.join(columns)}")
    for value in pq.read_table(file, columns=[name]).column(0).to_pylist():
        yield str(value or "")


def _choice() -> str:
    return " or ".join(f"'{name}'" for name in COLUMNS)
