"""RouterBench (withmartian/routerbench, arXiv 2403.12031): one wide row per prompt, three columns per model.

Upstream publishes pickles, which run code when they are opened; a CSV or Parquet export of them is read here.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from policies.features import estimate_tokens
from training.records.containers import rows_of
from training.records.plain import text_id
from training.records.record import OutcomeRecord
from training.records.rows import Row

_COST, _RESPONSE = "|total_cost", "|model_response"


def is_routerbench(columns: frozenset[str]) -> bool:
    """Whether these are the columns of the wide table."""
    return {"prompt", "eval_name"} <= columns and bool(models_in(columns))


def models_in(columns: frozenset[str] | tuple[str, ...]) -> list[str]:
    """Models with a score column and a cost or answer column; the oracle's columns are none."""
    marked = {column.removesuffix(end) for column in columns for end in (_COST, _RESPONSE) if column.endswith(end)}
    return [column for column in columns if column in marked and not column.startswith("oracle")]


def read_routerbench(file: Path) -> Iterator[OutcomeRecord]:
    """One record for each prompt and model.

    ``score`` is the model's own column, ``usd`` its ``|total_cost``. Tokens are not recorded: those of the output are
    estimated from ``|model_response`` where the export has it.
    """
    for row in rows_of(file):
        prompt = _prompt(row)
        query_id = row.maybe_text("sample_id") or text_id(row.text("eval_name"), prompt)
        for model in models_in(tuple(row.cells)):
            yield _record(row, model, query_id=query_id, prompt=prompt)


def _record(row: Row, model: str, *, query_id: str, prompt: str) -> OutcomeRecord:
    domain, response = row.text("eval_name"), row.maybe_text(model + _RESPONSE)
    return OutcomeRecord(
        query_id=query_id,
        prompt=prompt,
        model=model,
        mode="instant",
        score=row.score(model),
        domain=domain,
        benchmark="mmlu" if domain.startswith("mmlu-") else domain,
        output_tokens=estimate_tokens(response) if response else None,
        usd=row.amount(model + _COST, "USD"),
    )


def _prompt(row: Row) -> str:
    """The text; upstream writes it as a Python list of turns."""
    text = row.text("prompt")
    if text.startswith("[") and text.endswith("]"):
        try:
            turns = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return text
        if isinstance(turns, list) and turns and all(isinstance(turn, str) for turn in turns):
            return "\n\n".join(turns)
    return text
