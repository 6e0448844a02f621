"""The folder's table of outcomes, written anew from the journal whenever a run ends: what training reads."""

import os
from pathlib import Path
from typing import Any

import orjson

from training.collect.journal import Past
from training.records.record import arm_fields

NAME = "outcomes.jsonl"
FACTS = ("score", "input_tokens", "cached_input_tokens", "output_tokens", "usd", "latency_s", "at")


def write_outcomes(past: Past, folder: Path) -> Path:
    """One JSON line per prompt and arm, in the order in which both were first met; replaced as a whole.

    A call that failed is a row too: its ``status`` says how, and its ``score`` is null. Columns are those of
    docs/data.md, and ``status``, ``reason``, ``request_id`` and, where it was kept, ``answer``.
    """
    order = {query_id: place for place, query_id in enumerate(past.tasks)}
    cells = sorted(past.cells.values(), key=lambda cell: order[cell["query_id"]])  # stable: arms keep theirs
    file, temporary = folder / NAME, folder / f"{NAME}.part"
    with temporary.open("wb") as out:
        for cell in cells:
            out.write(orjson.dumps(_row(cell, past.tasks[cell["query_id"]])) + b"\n")
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(file)
    return file


def _row(cell: dict[str, Any], task: dict[str, Any]) -> dict[str, Any]:
    model, mode, effort, options = arm_fields(cell["arm"])
    arm = {"model": model, "mode": mode, "effort": effort, "options": options}
    facts = {name: cell[name] for name in FACTS}
    extra: dict[str, Any] = {name: cell[name] for name in ("status", "reason", "request_id", "answer") if name in cell}
    asked = {"query_id": task["query_id"], "prompt": task["prompt"], "domain": task["domain"]}
    return {**asked, **arm, **facts, "n_samples": 1, **extra}
