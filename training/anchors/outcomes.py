"""Reads what a new arm made of the anchors: a folder of ``gearshift collect``, its JSON lines, or a Parquet file."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from policies.arms import Arm
from training.anchors.exam import AnchorError, Exam
from training.anchors.select import FEWEST

Reals = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class AnchorOutcomes:
    """The answered part of an exam.

    Attributes:
        exam: The anchors that have a score.
        scores: 0..1, shape (k,).
        output_tokens: Mean tokens of an answer over the table's queries, None where none were counted.
    """

    exam: Exam
    scores: Reals
    output_tokens: float | None


def read_outcomes(file: Path, exam: Exam, *, arm: Arm) -> AnchorOutcomes:
    """Scores of ``arm`` on the anchors; several for one anchor count as their mean.

    A row has ``query_id`` (or ``id``) and ``score`` in 0..1; it may have ``output_tokens`` (or ``completion_tokens``),
    and ``model``, ``mode``, ``effort`` or ``arm``, without which it is of this arm. A row whose ``status`` tells of a
    failed call has a null score and is passed over. A folder is one of ``gearshift collect``.

    Raises:
        AnchorError: The file cannot be read, a score is missing or out of range, or too few anchors were answered.
    """
    place = file / "outcomes.jsonl" if file.is_dir() else file
    wanted, scores, tokens = set(exam.ids), dict[str, list[float]](), dict[str, list[float]]()
    for where, row in _rows(place):
        if not _is_of(row, arm):
            continue
        query_id = str(row.get("query_id", row.get("id", "")))
        if query_id not in wanted or _has_failed(row):
            continue
        scores.setdefault(query_id, []).append(_score(row, where=where))
        counted = row.get("output_tokens", row.get("completion_tokens"))
        if isinstance(counted, int | float):
            tokens.setdefault(query_id, []).append(float(counted))
    n_answered = sum(name in scores for name in exam.ids)
    if n_answered < FEWEST:
        raise AnchorError(
            f"{place}: {n_answered} of {len(exam)} anchors have a score of {arm.name}; "
            f"run at least {FEWEST} of them, e.g. with `gearshift collect`"
        )
    return answered_part(exam, scores, tokens)


def answered_part(
    exam: Exam, scores: Mapping[str, Sequence[float]], tokens: Mapping[str, Sequence[float]]
) -> AnchorOutcomes:
    """The anchors that have a score, at least one of them.

    Args:
        scores: 0..1, by query id; several for one anchor count as their mean.
        tokens: Output tokens of the same answers, where they were counted.
    """
    part = exam.only(np.array([name in scores for name in exam.ids]))
    values = np.array([np.mean(scores[name]) for name in part.ids])
    return AnchorOutcomes(part, values, _mean_tokens(part, tokens))


def _mean_tokens(exam: Exam, tokens: Mapping[str, Sequence[float]]) -> float | None:
    counted = np.array([np.mean(tokens[name]) if name in tokens else np.nan for name in exam.ids])
    known = np.isfinite(counted)
    return float(np.average(counted[known], weights=exam.weight[known])) if known.any() else None


def _has_failed(row: Mapping[str, Any]) -> bool:
    return "status" in row and row.get("score") is None


def _is_of(row: Mapping[str, Any], arm: Arm) -> bool:
    if "arm" in row:
        return bool(row["arm"] == arm.name)
    if "model" not in row:
        return True
    effort = str(row.get("effort") or row.get("variant") or "").removeprefix("effort=")
    # A set whose variants are no efforts names them otherwise; model and mode then tell the arm.
    return bool(row["model"] == arm.model and row.get("mode") == arm.mode and (not arm.effort or effort == arm.effort))


def _score(row: Mapping[str, Any], *, where: str) -> float:
    score = row.get("score")
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0.0 <= score <= 1.0:
        raise AnchorError(f"{where}: column 'score' must be a number in 0..1, got {score!r}; grade the answers first")
    return float(score)


def _rows(file: Path) -> Iterable[tuple[str, Mapping[str, Any]]]:
    if file.suffix == ".parquet":
        yield from _parquet_rows(file)
        return
    try:
        lines = file.read_bytes().splitlines()
    except OSError as problem:
        raise AnchorError(f"{file}: cannot be read: {problem.strerror}") from problem
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except ValueError as problem:
            raise AnchorError(f"{file}: line {number}: is no JSON: {problem}") from problem
        if not isinstance(row, dict):
            raise AnchorError(f"{file}: line {number}: expected a JSON object")
        yield f"{file}: line {number}", row


def _parquet_rows(file: Path) -> Iterable[tuple[str, Mapping[str, Any]]]:
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(file).to_pylist()
    except (OSError, ValueError) as problem:
        raise AnchorError(f"{file}: not readable as Parquet: {problem}") from problem
    for number, row in enumerate(rows, start=1):
        yield f"{file}: row {number}", row
