"""Long tables of one's own: CSV, JSONL or Parquet with one row for each query and arm, columns as in docs/data.md."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from training.records.containers import rows_of
from training.records.record import OutcomeRecord, RecordError, arm_fields
from training.records.rows import Row

# Other names of a column: those of the outcome sets.
ALIASES = {"input_tokens": "prompt_tokens", "output_tokens": "completion_tokens", "usd": "cost_usd"}
COLUMNS = (
    *("query_id", "prompt", "arm", "model", "mode", "effort", "options", "score", "domain", "benchmark", "at"),
    *("n_samples", "input_tokens", "cached_input_tokens", "output_tokens", "usd", "latency_s", "tenant", "split"),
)


def is_plain(columns: frozenset[str]) -> bool:
    """Whether these are the columns of a long table."""
    return {"prompt", "score"} <= columns and bool({"arm", "model"} & columns)


def read_plain(file: Path) -> Iterator[OutcomeRecord]:
    """Records of one file; rows without ``query_id`` are of one query where their prompts are equal."""
    for row in rows_of(file):
        yield _record(row)


def text_id(*parts: str) -> str:
    """An id that depends on the texts alone."""
    raw = "\0".join(parts).encode("utf-8", "surrogatepass")
    return "q-" + hashlib.sha256(raw).hexdigest()[:20]


def _record(row: Row) -> OutcomeRecord:
    prompt = row.text("prompt")
    model, mode, effort, options = _arm(row)
    if row.cells.get("score") is None and "score" not in row.cells:
        raise row.wrong("score", "write a number from 0 to 1, or true/false")
    return OutcomeRecord(
        query_id=row.maybe_text("query_id") or text_id(prompt),
        prompt=prompt,
        model=model,
        mode=mode,
        effort=effort,
        options=options,
        score=row.score("score"),
        domain=row.maybe_text("domain"),
        benchmark=row.maybe_text("benchmark"),
        at=row.amount("at", "POSIX seconds"),
        n_samples=row.count("n_samples") or 1,
        input_tokens=row.count(_name(row, "input_tokens")),
        cached_input_tokens=row.count("cached_input_tokens"),
        output_tokens=row.count(_name(row, "output_tokens")),
        usd=row.amount(_name(row, "usd"), "USD"),
        latency_s=row.amount("latency_s", "seconds"),
        tenant=row.maybe_text("tenant"),
        split=row.maybe_text("split"),
    )


def _name(row: Row, column: str) -> str:
    return column if column in row.cells else ALIASES[column]


def _arm(row: Row) -> tuple[str, str, str, str]:
    if not row.maybe_text("arm"):
        return row.text("model"), row.mode(), row.effort(), row.maybe_text("options")
    try:
        return arm_fields(row.text("arm"))
    except RecordError as problem:
        raise row.wrong("arm", str(problem)) from problem
