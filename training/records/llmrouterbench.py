"""LLMRouterBench (ynulihao/LLMRouterBench, arXiv 2601.07206): one JSON file per dataset, split, model and run."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from training.records.record import OutcomeRecord, RecordError
from training.records.rows import Row

_STAMP = re.compile(r"(\d{8}_\d{6})\.json$")


def is_run(keys: frozenset[str]) -> bool:
    """Whether a JSON object with these keys is a run's file."""
    return {"records", "performance"} <= keys


def latest_runs(files: Sequence[Path]) -> list[Path]:
    """Of several runs in one folder ``<dataset>/<split>/<model>/`` the latest by the time in its name."""
    latest: dict[Path, Path] = {}
    for file in sorted(files, key=_stamp):
        latest[file.parent] = file
    return sorted(latest.values())


def _stamp(file: Path) -> tuple[str, str]:
    found = _STAMP.search(file.name)
    return (found[1] if found else "", file.name)


def read_run(file: Path) -> Iterator[OutcomeRecord]:
    """Records of one run, which is held whole; trial runs (``demo``) hold none.

    A cost of 0 is that of a model run on one's own machines: unknown, not free.
    """
    run = _run(file)
    if run.get("demo"):
        return
    dataset, split, model = (_named(run, key, file) for key in ("dataset_name", "split", "model_name"))
    records = run.get("records")
    if not isinstance(records, list):
        raise RecordError("holds no list of records", file=file, column="records")
    for number, cells in enumerate(records, start=1):
        row = Row(file, number, cells if isinstance(cells, dict) else {})
        yield OutcomeRecord(
            query_id=f"{dataset}/{split}/{row.text('index')}",
            prompt=_text(row),
            model=model,
            mode="instant",
            score=row.score("score"),
            domain=dataset,
            benchmark=dataset,
            input_tokens=row.count("prompt_tokens"),
            output_tokens=row.count("completion_tokens"),
            usd=row.amount("cost", "USD") or None,
            split=split,
        )


def keys_of(file: Path) -> list[str]:
    """Keys of the run's object."""
    return list(_run(file))


def _run(file: Path) -> dict[str, Any]:
    try:
        run = orjson.loads(file.read_bytes())
    except ValueError as problem:
        raise RecordError(f"no JSON: {problem}", file=file) from problem
    if not isinstance(run, dict):
        raise RecordError("is no JSON object with records", file=file)
    return run


def _named(run: dict[str, Any], key: str, file: Path) -> str:
    """A name of the run: its own, else that of the folder ``<dataset>/<split>/<model>/<time>.json``."""
    folder = {"model_name": 0, "split": 1, "dataset_name": 2}[key]
    name = run.get(key) or (file.parents[folder].name if len(file.parents) > folder else "")
    if not name:
        raise RecordError("is missing; keep upstream's folders <dataset>/<split>/<model>/", file=file, column=key)
    return str(name)


def _text(row: Row) -> str:
    column = "prompt" if row.cells.get("prompt") else "origin_query"
    value = row.cells.get(column)
    return row.text(column) if not isinstance(value, list | dict) else orjson.dumps(value).decode()
