"""A stream on its way to the client: one id for every chunk, and no end before the money and the log are settled."""

from collections.abc import Mapping
from typing import Any

import orjson

from policies.prices import Usage
from router.errors import ApiError
from router.http.generated import Generated
from router.http.midway import midway_error
from router.http.sse import EventBlocks, EventTooLong, event_data
from router.http.usage import client_usage
from router.upstreams.base import UpstreamError

_DONE = b"data: [DONE]\n\n"
_NULL_USAGE = b',"usage":null'
_OF_EVERY_CHUNK = ("object", "created", "model", "system_fingerprint", "service_tier")


class StreamRelay:
    """Bytes of an upstream's chat stream in, bytes for the client out; the same for any split of the input.

    Every chunk keeps all it has but the id, and `usage`, which is null or absent as the client asked. Chunks from a
    choice's `finish_reason` on are held back until `tail`; those of other choices flow on. The upstream's own usage
    chunk is swallowed.

    Attributes:
        usage: What the upstream reported, unchecked (see `router.http.usage`), or None.
        finish_reasons: By choice index, of the choices that finished.
        generated: Text and tool calls that went by, also where usage never came.
        done: Nothing more is wanted from the upstream: it said [DONE], or broke its promise and `end` will raise.
        said: More than a role was returned for the client. Before that the caller may keep what it got to itself, and
            another attempt is possible.
    """

    def __init__(self, request_id: str, *, include_usage: bool, upstream: str = "upstream") -> None:
        self.usage: Any = None
        self.finish_reasons: dict[int, str] = {}
        self.generated = Generated()
        self.done = self.said = False
        self._id, self._include_usage, self._upstream = request_id, include_usage, upstream
        self._id_prefix = b'{"id":' + orjson.dumps(request_id)
        self._their_prefix: bytes | None = None  # how the upstream's chunks begin, if they begin with its id
        self._blocks = EventBlocks()
        self._seen: set[int] = set()
        self._closed: set[int] = set()  # choices with a chunk among the held ones
        self._held: list[bytes] = []
        self._pattern: dict[str, Any] = {}  # of the usage chunk
        self._failure: UpstreamError | None = None

    @property
    def tool_call_ids(self) -> tuple[str, ...]:
        """Ids of the tool calls the answer makes, in order."""
        return tuple(self.generated.tool_call_ids)

    def feed(self, data: bytes) -> bytes:
        """What the client may see now of ``data``; often one event, sometimes none or many.

        Raises:
            UpstreamError: ``garbage`` or, for an error event, ``status``; only once everything before it is returned.
        """
        if self._failure is not None:
            raise self._failure
        out: list[bytes] = []
        try:
            for block in self._blocks.feed(data):
                if block and not self.done:
                    out.append(self._read_block(block))
        except EventTooLong:
            self._failure = self._broken("garbage")
        except UpstreamError as error:
            self._failure = error
        ready = b"".join(out)
        if self._failure is not None:
            self.done = True
            self._failure.retryable = self._failure.retryable and not self.said
            if not ready:
                raise self._failure
        return ready

    def end(self) -> None:
        """Say that the upstream closed, or that `done` was reached. A missing [DONE] after a finish is forgiven.

        Raises:
            UpstreamError: A choice did not finish (``cut``), even when [DONE] came; or what `feed` still had to raise.
        """
        if self._failure is not None:
            raise self._failure
        last = self._blocks.leftover()
        if last and not self.done:
            self._read_leftover(last)
        if not self.finish_reasons or self._seen - self.finish_reasons.keys():
            raise self._broken("cut")

    def tail(
        self,
        *,
        usage: Usage | None = None,
        cost_usd: float | None = None,
        gearshift: Mapping[str, Any] | None = None,
    ) -> bytes:
        """The held chunks, the usage chunk and [DONE]: to be sent when the request is settled.

        Args:
            usage: What is billed; None shows what the upstream reported.
            cost_usd: Shown in the usage chunk as `usage.cost`.
            gearshift: The decision, told in the usage chunk; given, there is such a chunk even without being asked.
        """
        shown = client_usage(usage, self.usage, cost_usd=cost_usd)
        if (self._include_usage and shown is not None) or gearshift is not None:
            chunk = {"id": self._id, **self._pattern, "choices": [], "usage": shown}
            chunk["id"] = self._id
            if gearshift is not None:
                chunk["gearshift"] = gearshift
            self._held.append(b"data: " + orjson.dumps(chunk) + b"\n\n")
        return b"".join((*self._held, _DONE))

    def _read_block(self, block: bytes) -> bytes:
        if block[:6] == b"data: " and b"\n" not in block:
            return self._read_event(block[6:], one_line=True)
        data = event_data(block)
        return self._read_event(data, one_line=False) if data else b""

    def _read_leftover(self, block: bytes) -> None:
        """Take a last event that lacks its blank line: whole JSON cannot be the beginning of longer JSON."""
        data = event_data(block)
        if data and data[:6] != b"[DONE]":
            try:
                orjson.loads(data)
            except orjson.JSONDecodeError:
                raise self._broken("cut") from None
            self._read_event(data, one_line=False)

    def _read_event(self, data: bytes, *, one_line: bool) -> bytes:
        if data[:6] == b"[DONE]":
            self.done = True
            return b""
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError:
            raise self._broken("garbage") from None
        if type(chunk) is not dict:
            raise self._broken("garbage")
        if chunk.get("error"):
            raise midway_error(self._upstream, chunk["error"])
        usage, choices = chunk.get("usage"), chunk.get("choices")
        if usage is not None:
            self.usage = usage
            if not choices:
                self._pattern = chunk
                return b""
        if type(choices) is not list:
            raise self._broken("garbage")
        if not self._pattern:
            self._pattern = {name: chunk[name] for name in _OF_EVERY_CHUNK if name in chunk}
        hold = self._observe(choices)
        event = self._rewritten(data, chunk, one_line=one_line)
        if hold:
            self._held.append(event)
            return b""
        return event

    def _observe(self, choices: list[Any]) -> bool:
        """Note what the choices hold; True if the chunk must wait for `tail`."""
        hold = not choices and bool(self.finish_reasons)
        for choice in choices:
            if type(choice) is not dict or type(index := choice.get("index", 0)) is not int:
                raise self._broken("garbage")
            self._seen.add(index)
            delta, finish = choice.get("delta"), choice.get("finish_reason")
            if delta:
                if type(delta) is not dict:
                    raise self._broken("garbage")
                self.generated.add(delta)
            if finish:
                if type(finish) is not str:
                    raise self._broken("garbage")
                self.finish_reasons[index] = finish
                hold = True
            elif index in self._closed:
                hold = True
        if hold:
            self._closed.update(choice.get("index", 0) for choice in choices)
        elif not self.said:
            self.said = any(value for choice in choices for value in _beyond_role(choice.get("delta") or {}))
        return hold

    def _rewritten(self, data: bytes, chunk: dict[str, Any], *, one_line: bool) -> bytes:
        """The event with our id: spliced into the bytes where they begin with theirs, else encoded anew."""
        if one_line:
            prefix = self._their_prefix
            if prefix is None or not data.startswith(prefix):
                prefix = self._their_prefix = _id_prefix(data, chunk)
            rest = data[len(prefix) :] if prefix is not None else None
            if rest is not None and (rest := self._usage_spliced(rest, chunk)) is not None:
                return b"data: " + self._id_prefix + rest + b"\n\n"
        chunk["id"] = self._id
        if self._include_usage:
            chunk["usage"] = None
        else:
            chunk.pop("usage", None)
        return b"data: " + orjson.dumps(chunk) + b"\n\n"

    def _usage_spliced(self, rest: bytes, chunk: dict[str, Any]) -> bytes | None:
        """``rest`` with `usage` null or absent, as OpenAI has it; None where bytes alone do not decide it."""
        if "usage" not in chunk:
            if not self._include_usage:
                return rest
            return rest[:-1] + _NULL_USAGE + b"}" if rest[-1:] == b"}" else None
        if chunk["usage"] is not None:
            return None
        if self._include_usage:
            return rest
        # In valid JSON these bytes cannot lie in a string, so a single one is the chunk's own.
        return rest.replace(_NULL_USAGE, b"", 1) if rest.count(b'"usage"') == 1 and _NULL_USAGE in rest else None

    def _broken(self, kind: str) -> UpstreamError:
        return UpstreamError(self._upstream, kind, retryable=not self.said)


def _beyond_role(delta: Mapping[str, Any]) -> list[Any]:
    return [value for name, value in delta.items() if name != "role"]


def _id_prefix(data: bytes, chunk: dict[str, Any]) -> bytes | None:
    """How ``data`` begins if its first member is its id."""
    theirs = chunk.get("id")
    if type(theirs) is str and data.count(b'"id"') == 1:
        for opening in (b'{"id":', b'{"id": '):
            prefix = opening + orjson.dumps(theirs)
            if data.startswith(prefix):
                return prefix
    return None


def error_event(error: ApiError) -> bytes:
    """The last event of a stream that broke: the error object, after which the connection closes without [DONE]."""
    return b"data: " + error.body() + b"\n\n"
