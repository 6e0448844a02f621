"""RouterArena (RouteWorks/RouterArena, arXiv 2510.00202): a router's predictions, and the cached answers of models."""

from collections.abc import Iterator
from pathlib import Path

from training.records.record import OutcomeRecord
from training.records.rows import Row, json_array_rows, jsonl_rows


def is_predictions(columns: frozenset[str]) -> bool:
    """Whether these are the fields of a prediction."""
    return {"prompt", "prediction"} <= columns and bool({"global index", "global_index"} & columns)


def is_cached(columns: frozenset[str]) -> bool:
    """Whether these are the fields of a cached answer."""
    return {"global_index", "llm_selected", "question"} <= columns


def read_predictions(file: Path) -> Iterator[OutcomeRecord]:
    """The chosen model's answer to each query and those run ``for_optimality``; ungraded ones lack a score."""
    for row in json_array_rows(file):
        index = row.text("global index" if "global index" in row.cells else "global_index")
        usage = _inner(_inner(row, "generated_result"), "token_usage")
        usd = row.amount("cost", "USD")
        texts = (row.text("prompt"), row.text("prediction"))
        yield _record(index, texts, score=row.score("accuracy"), usd=usd, usage=usage)


def read_cached(file: Path) -> Iterator[OutcomeRecord]:
    """A model's answers; repeated runs of a query are samples of one outcome."""
    for row in jsonl_rows(file):
        graded = _inner(row, "evaluation_result")
        usd = graded.amount("inference_cost", "USD")
        texts = (row.text("question"), row.text("llm_selected"))
        usage = _inner(row, "token_usage")
        yield _record(row.text("global_index"), texts, score=graded.score("score"), usd=usd, usage=usage)


def _record(index: str, texts: tuple[str, str], *, score: float | None, usd: float | None, usage: Row) -> OutcomeRecord:
    prompt, model = texts
    benchmark = index.rpartition("_")[0] or index
    return OutcomeRecord(
        query_id=index,
        prompt=prompt,
        model=model,
        mode="instant",
        score=score,
        domain=benchmark,
        benchmark=benchmark,
        input_tokens=usage.count("input_tokens"),
        output_tokens=usage.count("output_tokens"),
        usd=usd,
    )


def _inner(row: Row, column: str) -> Row:
    """An object inside a row, empty if it is null."""
    value = row.cells.get(column)
    if value is not None and not isinstance(value, dict):
        raise row.wrong(column, "write an object or null")
    return Row(row.file, row.number, value or {})
