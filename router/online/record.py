"""What the learner reads of the log: an entry of a stream or a row of the archive, the same either way."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from policies.archive_schema import read_partition
from router.store.archive import KINDS

log = logging.getLogger(__name__)

# Of an archived row only these are read.
COLUMNS = {
    "decisions": (
        *("request_id", "decision_id", "organisation", "tenant", "encoder_id", "features", "embedding"),
        *("kind", "policy", "arm", "arms", "quality", "usd", "seconds", "trade_off"),
    ),
    "outcomes": ("request_id", "decision_id", "status", "served_arm", "nano_usd"),
    "feedback": ("decision_id", "organisation", "tenant", "metric", "value"),
}


@dataclass(frozen=True, slots=True, order=True)
class StreamId:
    """A stream entry's id: milliseconds and sequence, so that ids compare as they were given."""

    ms: int
    number: int

    @classmethod
    def parse(cls, text: str | bytes) -> "StreamId":
        """Read ``ms-number``."""
        ms, _, number = (text.decode() if isinstance(text, bytes) else text).partition("-")
        return cls(int(ms), int(number or 0))

    def __str__(self) -> str:
        return f"{self.ms}-{self.number}"


START = StreamId(0, 0)


@dataclass(frozen=True, slots=True)
class Record:
    """One row of the log.

    Attributes:
        kind: ``decisions``, ``outcomes`` or ``feedback``.
        row: At least `COLUMNS` of its kind, where the row has them.
        embedding: Raw float16, empty for none.
    """

    stream_id: StreamId
    at: float
    kind: str
    row: Mapping[str, Any]
    embedding: bytes = b""


def of_stream(entries: list[Any]) -> Iterator[Record]:
    """Records of a stream's entries; what is no row is left out, as the archiver sets it aside."""
    for stream_id, fields in entries:
        try:
            kind, row, at = KINDS[fields[b"t"]], orjson.loads(fields[b"j"]), float(fields[b"at"])
        except (KeyError, ValueError):
            log.warning("entry %s of the log is no row; nothing is learned from it", stream_id.decode())
            continue
        if isinstance(row, dict):
            yield Record(StreamId.parse(stream_id), at, kind, row, fields.get(b"e", b""))


def of_partition(path: Path, kind: str, *, after: StreamId, upto: StreamId) -> Iterator[Record]:
    """Records of a partition whose ids lie in (after, upto]."""
    for row in read_partition(path, kind).select(["stream_id", "at", *COLUMNS[kind]]).to_pylist():
        stream_id = StreamId.parse(row["stream_id"])
        if after < stream_id <= upto:
            yield Record(stream_id, row["at"], kind, row, row.get("embedding") or b"")
