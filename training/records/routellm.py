"""RouteLLM (lm-sys/RouteLLM, arXiv 2406.18665): the outcomes behind its evaluation.

MMLU and GSM8K are CSV files with a prompt and a true/false column per model; MT-Bench is judgements in JSONL, whose
questions lie beside them. Prompts that ``contaminated_prompts.jsonl`` names get the split ``contaminated``: the
published evaluation leaves them out.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from policies.features import estimate_tokens
from training.records.record import OutcomeRecord, RecordError
from training.records.rows import Row, csv_rows, jsonl_rows

CONTAMINATED = "contaminated_prompts.jsonl"
QUESTIONS = "question.jsonl"
_RESPONSE = "_response"
_BESIDE_MODELS = frozenset({"prompt", "domain", "benchmark", "split", "query_id"})


def is_routellm(columns: frozenset[str]) -> bool:
    """Whether these are a prompt and one column per model; a cell that is no true, false or 0..1 is then an error."""
    known = {"score", "arm", "model", "mode", "eval_name", "performance", "prediction", "query"}
    return "prompt" in columns and not known & columns and len(_models(columns)) >= 2


def is_judgements(columns: frozenset[str]) -> bool:
    """Whether these are MT-Bench judgements."""
    return {"question_id", "model", "score", "turn"} <= columns


def _models(columns: frozenset[str] | tuple[str, ...]) -> list[str]:
    answers = {column for column in columns if column.removesuffix(_RESPONSE) in columns and column.endswith(_RESPONSE)}
    return [column for column in columns if column not in _BESIDE_MODELS and column not in answers and column]


def read_routellm(file: Path) -> Iterator[OutcomeRecord]:
    """One record for each prompt and model; no tokens but an estimate from ``<model>_response`` where there is one."""
    dropped = _contaminated(file)
    benchmark = file.stem.split("_")[0]
    for row in csv_rows(file):
        prompt = row.text("prompt")
        for model in _models(tuple(row.cells)):
            response = row.maybe_text(model + _RESPONSE)
            yield OutcomeRecord(
                query_id=f"{file.stem}/{row.number}",
                prompt=prompt,
                model=model,
                mode="instant",
                score=row.score(model),
                domain=file.stem.removeprefix("mmlu_") if benchmark == "mmlu" else benchmark,
                benchmark=benchmark,
                output_tokens=estimate_tokens(response) if response else None,
                split="contaminated" if prompt in dropped else "eval",
            )


def read_judgements(file: Path) -> Iterator[OutcomeRecord]:
    """One record for each judged turn, score / 10, routed on the question's first turn as upstream does."""
    dropped, questions = _contaminated(file), _questions(file)
    for row in jsonl_rows(file):
        question = questions.get(row.text("question_id"))
        if question is None:
            raise row.wrong("question_id", f"add this question to {QUESTIONS}")
        turns = _turns(question)
        yield OutcomeRecord(
            query_id=f"mt-bench/{row.text('question_id')}",
            prompt=turns[0],
            model=row.text("model"),
            mode="instant",
            score=None if row.cells.get("score") == -1 else row.score("score", scale=10.0),  # -1: the judge failed
            domain=question.maybe_text("category"),
            benchmark="mt-bench",
            split="contaminated" if dropped & set(turns) else "eval",
        )


def _questions(file: Path) -> Mapping[str, Row]:
    beside = file.parent / QUESTIONS
    if not beside.is_file():
        raise RecordError(f"{QUESTIONS} must lie beside it: judgements hold no prompt of their own", file=file)
    return {row.text("question_id"): row for row in jsonl_rows(beside)}


def _turns(question: Row) -> list[str]:
    turns = question.cells.get("turns")
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, str) for turn in turns):
        raise question.wrong("turns", "write a list of texts")
    return turns


def _contaminated(file: Path) -> frozenset[str]:
    for folder in (file.parent, file.parent.parent):  # MMLU keeps its answers one folder deeper
        if (folder / CONTAMINATED).is_file():
            return frozenset(row.text("eval_prompt") for row in jsonl_rows(folder / CONTAMINATED))
    return frozenset()
