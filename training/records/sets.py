"""Outcome sets: a folder with ``queries.parquet`` and ``outcomes.parquet``, as `policies.tables.load_pool` reads."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from policies.pools import EFFORT_VARIANT
from policies.tables import COUNTS_HIDDEN_REASONING
from training.records.record import OutcomeRecord
from training.records.rows import Row, parquet_rows

QUERIES, OUTCOMES = "queries.parquet", "outcomes.parquet"


def is_set(folder: Path) -> bool:
    """Whether the folder holds a set."""
    return (folder / QUERIES).is_file() and (folder / OUTCOMES).is_file()


def read_set(folder: Path) -> Iterator[OutcomeRecord]:
    """Every outcome of a set; its queries are held in memory, its outcomes are not.

    A variant ``effort=…`` is the arm's effort, ``turn…`` a sample of one outcome, any other the option ``variant``.
    Output tokens are left out where the set did not count hidden reasoning.
    """
    queries = {row.text("query_id"): row for row in parquet_rows(folder / QUERIES)}
    for row in parquet_rows(folder / OUTCOMES):
        query = queries.get(row.text("query_id"))
        if query is None:
            raise row.wrong("query_id", f"add this query to {QUERIES}")
        yield _record(row, query)


def _record(row: Row, query: Row) -> OutcomeRecord:
    effort, options = _variant(row.cells)
    mode = row.mode()
    hidden = mode != "instant" and row.cells.get("token_source") not in COUNTS_HIDDEN_REASONING
    return OutcomeRecord(
        query_id=row.text("query_id"),
        prompt=query.text("prompt"),
        model=row.text("model"),
        mode=mode,
        effort=effort,
        options=options,
        score=row.score("score"),
        domain=query.maybe_text("subject") or query.maybe_text("benchmark"),
        benchmark=query.maybe_text("benchmark"),
        n_samples=row.count("n_samples") or 1,
        input_tokens=row.count("prompt_tokens"),
        output_tokens=None if hidden else row.count("completion_tokens"),
        usd=row.amount("cost_usd", "USD"),
        latency_s=row.amount("latency_s", "seconds"),
        split=query.maybe_text("group"),
    )


def _variant(cells: Mapping[str, Any]) -> tuple[str, str]:
    variant = str(cells.get("variant") or "")
    effort = variant.removeprefix(EFFORT_VARIANT)
    if variant.startswith(EFFORT_VARIANT) and effort in {"off", "minimal", "low", "medium", "high"}:
        return effort, ""
    if not variant or variant.startswith("turn"):
        return "", ""
    return "", "variant=" + variant.replace("+", "&")  # a plus would begin the arm's next option
