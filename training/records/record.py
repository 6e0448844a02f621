"""The one record of learning: how one arm answered one query, whichever log, table or benchmark it comes from."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policies.arms import EFFORTS, MODES, Arm

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 8192
EMBEDDING_COLUMNS = ("embedding", "encoder_id")
_ARM = re.compile(rf"^(.+)/({'|'.join(MODES)})(?::([^+/]*))?(?:\+(.*))?$", re.DOTALL)


class RecordError(ValueError):
    """Something to read does not hold what it must.

    The message names file, row and column, what was found there and what to do; never a prompt or an answer.
    """

    def __init__(self, what: str, *, file: Path | None = None, row: int | None = None, column: str = "") -> None:
        place = "" if row is None else f", row {row}"
        place += f", column {column!r}" if column else ""
        super().__init__(f"{file}{place}: {what}" if file is not None else what)
        self.file, self.row, self.column = file, row, column


@dataclass(frozen=True, slots=True)
class OutcomeRecord:
    """How one arm answered one query. None, or an empty text, means that the source does not say.

    Attributes:
        query_id: Names the query; its records, one or more for each arm, share it.
        prompt: What the user asked; None where the log was not allowed to keep it.
        model / mode / effort / options: The arm, as in its name ``model/mode[:effort][+key=value]``.
        score: Quality 0..1, the mean over ``n_samples``; None if nobody judged the answer.
        domain / benchmark: Labels for reports and splits; ``domain`` also tells a learner what topics there are. What
            serves reads neither.
        at: When it was asked, POSIX seconds.
        input_tokens: Billed prompt tokens; ``cached_input_tokens`` are a part of them.
        output_tokens: Billed completion tokens, hidden reasoning included; None where the source omits a part of them.
        usd: Recorded cost in USD.
        latency_s: Seconds to the whole answer.
        split: The source's own name of a part, e.g. ``test`` or ``contaminated``.
        embedding / encoder_id: Logged float16 vector of the prompt as bytes, and the encoder that made it.
    """

    query_id: str
    prompt: str | None
    model: str
    mode: str
    score: float | None
    effort: str = ""
    options: str = ""
    domain: str = ""
    benchmark: str = ""
    at: float | None = None
    n_samples: int = 1
    input_tokens: int | None = None
    cached_input_tokens: int | None = None
    output_tokens: int | None = None
    usd: float | None = None
    latency_s: float | None = None
    tenant: str = ""
    split: str = ""
    embedding: bytes | None = None
    encoder_id: str = ""


def record_schema(*, embeddings: bool = False) -> "pa.Schema":
    """Columns of a batch: the fields of `OutcomeRecord`; those of the embedding only if asked for."""
    import pyarrow as pa

    plain: dict[Any, pa.DataType] = {str: pa.string(), int: pa.int64(), float: pa.float64(), bytes: pa.binary()}
    types = plain | {kind | None: arrow for kind, arrow in plain.items()}
    kept = [field for field in fields(OutcomeRecord) if embeddings or field.name not in EMBEDDING_COLUMNS]
    return pa.schema([(field.name, types[field.type]) for field in kept])


def to_batches(
    records: Iterable[OutcomeRecord], *, rows: int = BATCH_ROWS, embeddings: bool = False
) -> "Iterator[pa.RecordBatch]":
    """Records as batches of at most ``rows``; no more than one batch of records is held at a time."""
    schema, left = record_schema(embeddings=embeddings), iter(records)
    while held := list(islice(left, rows)):
        yield _batch(held, schema)


def _batch(records: Sequence[OutcomeRecord], schema: "pa.Schema") -> "pa.RecordBatch":
    import pyarrow as pa

    arrays = [pa.array([getattr(record, each.name) for record in records], type=each.type) for each in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def arm_fields(name: str) -> tuple[str, str, str, str]:
    """Model, mode, effort and options of an arm's name; the last ``/mode`` ends the model.

    Raises:
        RecordError: It is no ``model/mode[:effort][+key=value]``.
    """
    found = _ARM.match(name)
    if found is None:
        raise RecordError(f"arm {name!r} is not written model/mode[:effort][+key=value], mode {', '.join(MODES)}")
    model, mode, effort, options = found[1], found[2], found[3] or "", found[4] or ""
    check_effort(effort)
    return model, mode, effort, options


def check_effort(effort: str) -> None:
    """Raises `RecordError` unless it is empty, a known effort or a token budget in digits."""
    if effort and effort not in EFFORTS and not effort.isdecimal():
        raise RecordError(f"effort {effort!r} is none of {', '.join(EFFORTS)} and no token budget in digits")


def arm_of(model: str, mode: str, effort: str = "", options: str = "") -> Arm:
    """The arm of a record's four columns."""
    pairs = (pair.partition("=") for pair in options.split("+") if pair)
    kept = tuple(sorted((key, value) for key, _, value in pairs))
    return Arm(model=model, mode=mode, effort=effort, options=kept)  # type: ignore[arg-type]
