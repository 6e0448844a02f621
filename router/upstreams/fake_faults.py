"""Named ways in which an upstream can break, each with what a correct gateway makes of it."""

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import orjson

from router.upstreams.fake_plan import DONE, JSON, Part, Plan, error_plan, json_plan, sse

Change = Callable[[Plan], Plan]
HTML = b"<html><body><h1>Bad gateway</h1> fake-upstream-secret</body></html>"
REDIRECT_TO = "http://127.0.0.1:9/stolen"


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to break.

    Attributes:
        apply: The broken plan made of the sound one.
        expect: What the client must see when every attempt breaks so: ``ok``, ``error <status>``, or
            ``stream error event`` (the part before it arrives, no finish_reason, no [DONE]); alternatives with ``|``.
        on: Which requests it can befall.
        retry: When only the first attempt breaks, the client must see a whole answer.
    """

    apply: Change
    expect: str
    on: Literal["both", "plain", "stream"] = "both"
    retry: bool = False

    def fits(self, *, stream: bool) -> bool:
        """Whether it can befall a request that is (or is not) streamed."""
        return self.on == "both" or (self.on == "stream") == stream


def faults() -> dict[str, Fault]:
    """All faults by name."""
    return {**_statuses(), **_bodies(), **_connections(), **_cuts(), **_events(), **_usages()}


def _statuses() -> dict[str, Fault]:
    own = {400: 400, 404: 404, 409: 409, 413: 413, 422: 422, 429: 429}  # the client's own business
    found: dict[str, Fault] = {}
    for status in (400, 401, 402, 403, 404, 405, 408, 409, 413, 418, 422, 429, 500, 501, 502, 503, 504, 529, 599):
        seen = own.get(status, 504 if status in (408, 504) else 502)
        plan = error_plan(status, f"scripted {status}")
        again = status in (408, 429) or status >= 500
        found[f"status_{status}"] = Fault(_always(plan), f"error {seen}", retry=again)
    for status in (400, 401, 404, 429, 500, 502, 503):
        html = Plan((Part(HTML),), status=status, headers={"content-type": "text/html"}, length=len(HTML))
        empty = Plan((), status=status, headers={}, length=0)
        expect = f"error {429 if status == 429 else 502}"
        found[f"html_{status}"] = Fault(_always(html), expect, retry=status >= 429)
        found[f"empty_{status}"] = Fault(_always(empty), expect, retry=status >= 429)
    for status in (429, 503):
        short, long = (_with_retry_after(status, value) for value in ("0.2", "30"))
        expect = f"error {status}"
        found[f"retry_after_short_{status}"] = Fault(_always(short), expect, retry=True)
        found[f"retry_after_long_{status}"] = Fault(_always(long), expect)
    for status in (204, 301, 302, 307, 308):
        away = Plan((), status=status, headers={"location": REDIRECT_TO}, length=0)
        found[f"redirect_{status}" if status > 300 else "status_204"] = Fault(_always(away), "error 502")
    return {**found, "context_length": Fault(_always(_context_length()), "error 400")}


def _bodies() -> dict[str, Fault]:
    """A 200 that is not an answer."""
    bodies = {"empty": b"", "null": b"null", "array": b"[1]", "string": b'"hello"', "no_choices": b'{"id": "x"}'}
    bodies |= {"not_json": b"{oops", "not_utf8": b'{"choices": [{"message": {"content": "\xff\xfe"}}]}'}
    found = {f"body_{name}": Fault(_body(raw), "error 502", on="plain") for name, raw in bodies.items()}
    html = Plan((Part(HTML),), headers={"content-type": "text/html"}, length=len(HTML))
    return found | {
        "html_200": Fault(_always(html), "error 502", retry=True),
        "wrong_content_type": Fault(lambda plan: replace(plan, headers={"content-type": "text/plain"}), "error 502"),
        "no_content_type": Fault(lambda plan: replace(plan, headers={}), "error 502"),
        "gzip_unasked": Fault(_gzip, "error 502"),
        "json_for_stream": Fault(_always(json_plan({"choices": []})), "error 502", on="stream"),
        "error_200": Fault(_always(json_plan({"error": {"message": "no"}})), "error 502"),
    }


def _connections() -> dict[str, Fault]:
    return {
        "reset_before_status": Fault(lambda plan: replace(plan, before="reset"), "error 502", retry=True),
        "close_before_status": Fault(lambda plan: replace(plan, before="close"), "error 502", retry=True),
        "hang_before_status": Fault(lambda plan: replace(plan, before="hang"), "error 504", retry=True),
        "cut_in_headers": Fault(lambda plan: replace(plan, before="half_headers"), "error 502", retry=True),
        "not_http": Fault(lambda plan: replace(plan, before="not_http"), "error 502", retry=True),
        "slow_status": Fault(lambda plan: replace(plan, first_s=0.3), "ok"),
    }


def _cuts() -> dict[str, Fault]:
    """The body ends where it should not."""
    broken, early = "stream error event", "error 502|stream error event"
    found = {
        "cut_before_body": Fault(_stop(0, end="reset"), "error 502", on="plain", retry=True),
        "cut_in_body": Fault(_half(end="close"), "error 502", on="plain", retry=True),
        "hang_in_body": Fault(_half(end="hang"), "error 504", on="plain"),
        "length_too_long": Fault(_length(+50), "error 502", on="plain"),
        "length_too_short": Fault(_length(-20), "error 502", on="plain"),
        "bad_chunk_plain": Fault(lambda plan: replace(plan, length=None, end="bad_chunk"), "error 502", on="plain"),
        "hang_before_first_event": Fault(_stop(0, end="hang"), "error 504|stream error event", on="stream"),
        "hang_after_events": Fault(_stop(3, end="hang"), broken, on="stream"),
        "bad_chunk": Fault(_stop(3, end="bad_chunk"), early, on="stream"),
        "drip_comments": Fault(_drip, "error 504|stream error event", on="stream"),
    }
    ends: tuple[tuple[str, Literal["reset", "close", "complete"]], ...]
    ends = (("reset", "reset"), ("cut", "close"), ("eof", "complete"))
    for word, end in ends:
        found[f"{word}_before_first_event"] = Fault(_stop(0, end=end), early, on="stream")
        found[f"{word}_after_1_event"] = Fault(_stop(1, end=end), early, on="stream")
        found[f"{word}_after_3_events"] = Fault(_stop(3, end=end), broken, on="stream")
        found[f"{word}_in_event"] = Fault(_stop(3, end=end, half=True), broken, on="stream")
        found[f"{word}_before_finish"] = Fault(_before_finish(end), broken, on="stream")
        # Everything the client needs came; whether the missing [DONE] counts as broken is the gateway's choice.
        found[f"{word}_after_finish"] = Fault(_after_finish(end), f"ok|{broken}", on="stream")
        found[f"{word}_before_done"] = Fault(_stop(-1, end=end), f"ok|{broken}", on="stream")
    return found


def _events() -> dict[str, Fault]:
    """Odd events; CRLF, comments and several data lines are legal, and so is any split into packets."""
    error = sse({"error": {"message": "scripted", "type": "server_error", "param": None, "code": None}})
    ok, broken = "ok", "stream error event"
    changes: dict[str, tuple[Change, str]] = {
        "crlf_and_comments": (_each(lambda raw: b": hi\r\nevent: message\r\n" + raw.replace(b"\n", b"\r\n")), ok),
        "no_space_after_data": (_each(lambda raw: raw.replace(b"data: ", b"data:")), ok),
        "multi_line_data": (_each(lambda raw: raw.replace(b',"choices"', b',\ndata: "choices"')), ok),
        "byte_by_byte": (_bytewise, ok),
        "all_in_one_packet": (lambda plan: replace(plan, parts=(Part(plan.body, 1),)), ok),
        "huge_event": (_huge, ok),
        "slow_chunks": (lambda plan: replace(plan, parts=tuple(replace(p, wait_s=0.05) for p in plan.parts)), ok),
        "keepalive_comments": (_each(lambda raw: b": keep-alive\n\n" + raw), ok),
        "duplicate_finish": (_duplicate_finish, ok),
        "error_event": (lambda plan: replace(plan, parts=(*plan.parts[:3], Part(error))), broken),
        "error_event_then_done": (lambda plan: replace(plan, parts=(*plan.parts[:3], Part(error), Part(DONE))), broken),
        "not_json_event": (_insert(b"data: {oops\n\n"), broken),
        "no_data_prefix": (_insert(b'{"choices": []}\n\n'), f"{ok}|{broken}"),
        "html_event": (_insert(HTML + b"\n\n"), f"{ok}|{broken}"),
    }
    return {name: Fault(change, expect, on="stream") for name, (change, expect) in changes.items()}


def _usages() -> dict[str, Fault]:
    """A usage that is absent or senseless: the answer is good, the count must come from elsewhere."""
    sound = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
    values: dict[str, Any] = {
        "null": None,
        "empty": {},
        "negative": {**sound, "completion_tokens": -5},
        "huge": {**sound, "completion_tokens": 10**15},
        "beyond_int64": {**sound, "completion_tokens": 10**30},
        "string": {**sound, "completion_tokens": "7"},
        "float": {**sound, "completion_tokens": 7.5},
        "list": [5, 7],
        "wrong_total": {**sound, "total_tokens": 1},
    }
    found = {f"usage_{name}": Fault(_usage(value), "ok") for name, value in values.items()}
    return found | {"usage_missing": Fault(_without_usage, "ok")}


def _always(plan: Plan) -> Change:
    return lambda _: plan


def _with_retry_after(status: int, value: str) -> Plan:
    return replace(error_plan(status, f"scripted {status}"), headers={**JSON, "retry-after": value})


def _context_length() -> Plan:
    message = "This model's maximum context length is 10 tokens."
    error = {
        "message": message,
        "type": "invalid_request_error",
        "param": "messages",
        "code": "context_length_exceeded",
    }
    return json_plan({"error": error}, status=400)


def _body(raw: bytes) -> Change:
    return lambda _: Plan((Part(raw),), length=len(raw))


def _gzip(plan: Plan) -> Plan:
    raw = gzip.compress(plan.body)
    return replace(plan, parts=(Part(raw),), length=len(raw), headers={**plan.headers, "content-encoding": "gzip"})


def _stop(
    events: int, *, end: Literal["complete", "close", "reset", "hang", "bad_chunk"], half: bool = False
) -> Change:
    def change(plan: Plan) -> Plan:
        kept = plan.parts[:events]
        if half:
            raw = plan.parts[events].data
            kept = (*kept, Part(raw[: len(raw) // 2]))
        return replace(plan, parts=kept, end=end)

    return change


def _half(*, end: Literal["close", "hang"]) -> Change:
    def change(plan: Plan) -> Plan:
        return replace(plan, parts=(Part(plan.body[: len(plan.body) // 2]),), end=end)

    return change


def _length(by: int) -> Change:
    return lambda plan: replace(plan, length=len(plan.body) + by, end="close")


def _is_finish(part: Part) -> bool:
    return b'"finish_reason":"' in part.data


def _before_finish(end: Literal["complete", "close", "reset"]) -> Change:
    def change(plan: Plan) -> Plan:
        first = next(at for at, part in enumerate(plan.parts) if _is_finish(part))
        return replace(plan, parts=plan.parts[:first], end=end)

    return change


def _after_finish(end: Literal["complete", "close", "reset"]) -> Change:
    def change(plan: Plan) -> Plan:
        last = max(at for at, part in enumerate(plan.parts) if _is_finish(part))
        return replace(plan, parts=plan.parts[: last + 1], end=end)

    return change


def _duplicate_finish(plan: Plan) -> Plan:
    parts = [copy for part in plan.parts for copy in ((part, part) if _is_finish(part) else (part,))]
    return replace(plan, parts=tuple(parts))


def _each(change: Callable[[bytes], bytes]) -> Change:
    return lambda plan: replace(plan, parts=tuple(replace(part, data=change(part.data)) for part in plan.parts))


def _bytewise(plan: Plan) -> Plan:
    body = plan.body
    return replace(plan, parts=tuple(Part(body[at : at + 1], wait_s=1e-6) for at in range(len(body))))


def _insert(raw: bytes) -> Change:
    return lambda plan: replace(plan, parts=(*plan.parts[:3], Part(raw), *plan.parts[3:]))


def _huge(plan: Plan) -> Plan:
    def change(data: dict[str, Any]) -> None:
        if data["choices"] and data["choices"][0]["delta"].get("content"):
            data["choices"][0]["delta"]["content"] += "x" * 1_000_000

    return _rewrite(plan, change, limit=3)


def _drip(plan: Plan) -> Plan:
    return replace(plan, parts=tuple(Part(b": keep-alive\n\n", wait_s=0.05) for _ in range(12_000)))


def _usage(value: Any) -> Change:
    def change(data: dict[str, Any]) -> None:
        if data.get("usage"):
            data["usage"] = value

    return lambda plan: _rewrite(plan, change)


def _without_usage(plan: Plan) -> Plan:
    if plan.stream:
        return replace(plan, parts=tuple(part for part in plan.parts if b'"choices":[]' not in part.data))
    return _rewrite(plan, lambda data: data.pop("usage", None))


def _rewrite(plan: Plan, change: Callable[[dict[str, Any]], object], *, limit: int | None = None) -> Plan:
    """The plan with `change` made to the JSON of its body, or of its first `limit` events."""

    def rewritten(part: Part) -> Part:
        if part.data == DONE or b"{" not in part.data:
            return part
        data = orjson.loads(part.data.removeprefix(b"data: "))
        change(data)
        raw = _dumps(data)
        return replace(part, data=b"data: " + raw + b"\n\n" if plan.stream else raw)

    parts = tuple(rewritten(part) if limit is None or at < limit else part for at, part in enumerate(plan.parts))
    return replace(plan, parts=parts, length=None if plan.stream else sum(len(part.data) for part in parts))


def _dumps(data: Mapping[str, Any]) -> bytes:
    import json  # orjson refuses integers beyond 64 bits, which is what one of the faults sends

    return json.dumps(data, separators=(",", ":")).encode()


FAULTS: Mapping[str, Fault] = faults()
