"""The gateway's own log as records: decision, outcome and feedback of a turn together."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policies.archive_schema import DamagedPartition, read_log
from policies.prices import NANO
from training.records.record import OutcomeRecord, RecordError, arm_fields

METRICS = ("score", "tests_passed", "accept", "thumbs")  # the gateway's own, the most telling first
_OPEN = (None, "unknown_after_crash")
_COLUMNS = (
    "kind", "request_id", "decision_id", "tenant", "at", "tags", "prompt", "encoder_id", "embedding", "feedback",
    "outcome_status", "outcome_served_arm", "outcome_nano_usd", "outcome_seconds", "outcome_input_tokens",
    "outcome_cached_input_tokens", "outcome_output_tokens",
)  # fmt: skip


@dataclass(slots=True)
class _Sums:
    """What the later requests of one turn add to its first."""

    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    nano_usd: int | None = 0
    seconds: float = 0.0

    def add(self, row: Mapping[str, Any]) -> None:
        nano_usd = row["outcome_nano_usd"]
        self.nano_usd = None if nano_usd is None or self.nano_usd is None else self.nano_usd + nano_usd
        self.input_tokens += row["outcome_input_tokens"]
        self.cached_input_tokens += row["outcome_cached_input_tokens"]
        self.output_tokens += row["outcome_output_tokens"]
        self.seconds += row["outcome_seconds"]


def is_archive(folder: Path) -> bool:
    """Whether the folder is a gateway's data directory."""
    return (folder / "archive" / "outcomes").is_dir() or (folder / "archive" / "decisions").is_dir()


def read_archive(folder: Path, *, metric: str | None = None) -> Iterator[OutcomeRecord]:
    """One record per decision: the arm that served, what it cost, and feedback as its score.

    The log is read twice, a partition at a time: first for turns of several requests, whose tokens, USD and seconds are
    summed. Requests still open or refused before an arm served are left out, and so are outcomes that lost their
    decision and have no feedback.

    Args:
        folder: The data directory, above ``archive``.
        metric: Feedback that is the score, within 0..1; None takes the first there is of ``METRICS``.
    """
    sums = _later_requests(folder)
    for row in _ended(folder):
        score = _score(row, metric, folder)
        later = row["kind"] == "sticky" and row["decision_id"] in sums
        if later or (row["kind"] is None and score is None):
            continue
        yield _record(row, score, sums.get(row["decision_id"], _Sums()), folder)


def _ended(folder: Path) -> Iterator[dict[str, Any]]:
    try:
        for table in read_log(folder, columns=_COLUMNS):
            for row in table.to_pylist():
                if row["outcome_status"] not in _OPEN and row["outcome_served_arm"]:
                    yield row
    except DamagedPartition as damaged:
        raise RecordError("no readable partition; restore it from a copy", file=damaged.path) from damaged


def _later_requests(folder: Path) -> dict[str, _Sums]:
    sums: dict[str, _Sums] = {}
    for row in _ended(folder):
        if row["kind"] == "sticky":
            sums.setdefault(row["decision_id"], _Sums()).add(row)
    return sums


def _score(row: Mapping[str, Any], metric: str | None, folder: Path) -> float | None:
    values = dict(row["feedback"] or ())
    found = next((name for name in ((metric,) if metric else METRICS) if name in values), None)
    if found is None:
        return None
    if not 0.0 <= values[found] <= 1.0:
        what = f"request {row['request_id']}: {values[found]!r} is not within 0..1; choose another metric"
        raise RecordError(what, file=folder / "archive" / "feedback", column=found)
    return float(values[found])


def _record(row: Mapping[str, Any], score: float | None, later: _Sums, folder: Path) -> OutcomeRecord:
    try:
        model, mode, effort, options = arm_fields(row["outcome_served_arm"])
    except RecordError as problem:
        what = f"request {row['request_id']}: {problem}"
        raise RecordError(what, file=folder / "archive" / "outcomes", column="served_arm") from problem
    tags, nano_usd = dict(row["tags"] or ()), row["outcome_nano_usd"]
    known = nano_usd is not None and later.nano_usd is not None
    return OutcomeRecord(
        query_id=row["decision_id"],
        prompt=row["prompt"],
        model=model,
        mode=mode,
        effort=effort,
        options=options,
        score=score,
        domain=tags.get("domain", ""),
        benchmark=tags.get("benchmark", ""),
        at=row["at"],
        input_tokens=row["outcome_input_tokens"] + later.input_tokens,
        cached_input_tokens=row["outcome_cached_input_tokens"] + later.cached_input_tokens,
        output_tokens=row["outcome_output_tokens"] + later.output_tokens,
        usd=(nano_usd + later.nano_usd) / NANO if known else None,
        latency_s=row["outcome_seconds"] + later.seconds,
        tenant=row["tenant"],
        embedding=row["embedding"],
        encoder_id=row["encoder_id"] or "",
    )
