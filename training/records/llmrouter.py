"""LLMRouter (ulab-uiuc/LLMRouter): routing data, one JSON line for each query and model."""

from collections.abc import Iterator
from pathlib import Path

from training.records.plain import text_id
from training.records.record import OutcomeRecord
from training.records.rows import jsonl_rows


def is_llmrouter(columns: frozenset[str]) -> bool:
    """Whether these are the fields of routing data."""
    return {"task_name", "query", "model_name", "performance"} <= columns


def read_llmrouter(file: Path) -> Iterator[OutcomeRecord]:
    """One record per line; a query is what upstream takes for one: task, text, reference and metric together."""
    for row in jsonl_rows(file):
        task, query = row.text("task_name"), row.text("query")
        yield OutcomeRecord(
            query_id=text_id(task, query, str(row.cells.get("ground_truth")), row.maybe_text("metric")),
            prompt=query,
            model=row.text("model_name"),
            mode="instant",
            score=row.score("performance"),
            domain=task,
            benchmark=task,
            input_tokens=row.count("input_tokens"),
            output_tokens=row.count("output_tokens"),
            latency_s=row.amount("response_time", "seconds"),
            split=_split(file),
        )


def _split(file: Path) -> str:
    return next((name for name in ("train", "test") if name in file.stem.split("_")), "")
