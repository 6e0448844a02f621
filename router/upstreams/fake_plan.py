"""How the scripted upstream's answer leaves it, piece by piece: the value that faults change."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from router.upstreams.fake_script import Answer, completion_of, embeddings_of, events_of

JSON = {"content-type": "application/json"}
EVENTS = {"content-type": "text/event-stream; charset=utf-8"}
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of the body that leave together, `wait_s` after the part before; they serve `tokens`."""

    data: bytes
    tokens: int = 0
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """One answer on the wire.

    Attributes:
        before: What happens instead of a status line: nothing special, a reset, a close, silence, half of the
            headers, or bytes that are not HTTP.
        length: The declared content-length; None: chunked; -1: neither, the body ends with the connection.
        end: After the last part: complete, the connection is closed or reset, silence, or a broken chunk header.
    """

    parts: tuple[Part, ...]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)
    before: Literal["", "reset", "close", "hang", "half_headers", "not_http"] = ""
    length: int | None = None
    end: Literal["complete", "close", "reset", "hang", "bad_chunk"] = "complete"
    first_s: float = 0.0

    @property
    def stream(self) -> bool:
        return self.headers.get("content-type", "").startswith("text/event-stream")

    @property
    def body(self) -> bytes:
        return b"".join(part.data for part in self.parts)


def plan_for(path: str, body: Mapping[str, Any], answer: Answer, *, request_id: str) -> Plan:
    """The faultless answer to a request."""
    if path.endswith("/embeddings"):
        return json_plan(embeddings_of(body), first_s=answer.first_s)
    if not body.get("stream"):
        completion = completion_of(body, answer, request_id)
        tokens = completion["usage"]["completion_tokens"]
        return json_plan(completion, tokens=tokens, first_s=answer.first_s)
    events = events_of(body, answer, request_id)
    parts = [Part(sse(event.data), event.tokens, answer.pace_s) for event in events]
    return Plan((*parts, Part(DONE)), headers=EVENTS, first_s=answer.first_s)


def json_plan(value: Any, *, status: int = 200, tokens: int = 0, first_s: float = 0.0) -> Plan:
    """A JSON body with its length."""
    raw = orjson.dumps(value)
    return Plan((Part(raw, tokens),), status=status, length=len(raw), first_s=first_s)


def error_plan(status: int, message: str) -> Plan:
    """An OpenAI error object."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return json_plan({"error": {"message": message, "type": kind, "param": None, "code": None}}, status=status)


def sse(data: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + orjson.dumps(data) + b"\n\n"
