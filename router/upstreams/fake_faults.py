"""Named ways in which an upstream can break, each with what a correct gateway makes of it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from router.upstreams.fake_changes import (
    Change,
    after_finish,
    always,
    before_finish,
    bytewise,
    compressed,
    context_length,
    drip,
    duplicate_finish,
    each_event,
    half_of_it,
    huge,
    stop,
    with_body,
    with_event,
    with_length_off_by,
    with_retry_after,
    with_usage,
    without_usage,
)
from router.upstreams.fake_plan import DONE, Part, Plan, error_plan, json_plan, sse

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
        found[f"status_{status}"] = Fault(always(plan), f"error {seen}", retry=again)
    for status in (400, 401, 404, 429, 500, 502, 503):
        html = Plan((Part(HTML),), status=status, headers={"content-type": "text/html"}, length=len(HTML))
        empty = Plan((), status=status, headers={}, length=0)
        expect = f"error {429 if status == 429 else 502}"
        found[f"html_{status}"] = Fault(always(html), expect, retry=status >= 429)
        found[f"empty_{status}"] = Fault(always(empty), expect, retry=status >= 429)
    for status in (429, 503):
        short, long = (with_retry_after(status, value) for value in ("0.2", "30"))
        expect = f"error {status}"
        found[f"retry_after_short_{status}"] = Fault(always(short), expect, retry=True)
        found[f"retry_after_long_{status}"] = Fault(always(long), expect)
    for status in (204, 301, 302, 307, 308):
        away = Plan((), status=status, headers={"location": REDIRECT_TO}, length=0)
        found[f"redirect_{status}" if status > 300 else "status_204"] = Fault(always(away), "error 502")
    return {**found, "context_length": Fault(always(context_length()), "error 400")}


def _bodies() -> dict[str, Fault]:
    """A 200 that is not an answer."""
    bodies = {"empty": b"", "null": b"null", "array": b"[1]", "string": b'"hello"', "no_choices": b'{"id": "x"}'}
    bodies |= {"not_json": b"{oops", "not_utf8": b'{"choices": [{"message": {"content": "\xff\xfe"}}]}'}
    found = {f"body_{name}": Fault(with_body(raw), "error 502", on="plain") for name, raw in bodies.items()}
    html = Plan((Part(HTML),), headers={"content-type": "text/html"}, length=len(HTML))
    return found | {
        "html_200": Fault(always(html), "error 502", retry=True),
        "wrong_content_type": Fault(lambda plan: replace(plan, headers={"content-type": "text/plain"}), "error 502"),
        "no_content_type": Fault(lambda plan: replace(plan, headers={}), "error 502"),
        "gzip_unasked": Fault(compressed, "error 502"),
        "json_for_stream": Fault(always(json_plan({"choices": []})), "error 502", on="stream"),
        "error_200": Fault(always(json_plan({"error": {"message": "no"}})), "error 502"),
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
        "cut_before_body": Fault(stop(0, end="reset"), "error 502", on="plain", retry=True),
        "cut_in_body": Fault(half_of_it(end="close"), "error 502", on="plain", retry=True),
        "hang_in_body": Fault(half_of_it(end="hang"), "error 504", on="plain"),
        "length_too_long": Fault(with_length_off_by(+50), "error 502", on="plain"),
        "length_too_short": Fault(with_length_off_by(-20), "error 502", on="plain"),
        "bad_chunk_plain": Fault(lambda plan: replace(plan, length=None, end="bad_chunk"), "error 502", on="plain"),
        "hang_before_first_event": Fault(stop(0, end="hang"), "error 504|stream error event", on="stream"),
        "hang_after_events": Fault(stop(3, end="hang"), broken, on="stream"),
        "bad_chunk": Fault(stop(3, end="bad_chunk"), early, on="stream"),
        "drip_comments": Fault(drip, "error 504|stream error event", on="stream"),
    }
    ends: tuple[tuple[str, Literal["reset", "close", "complete"]], ...]
    ends = (("reset", "reset"), ("cut", "close"), ("eof", "complete"))
    for word, end in ends:
        found[f"{word}_before_first_event"] = Fault(stop(0, end=end), "error 502", on="stream", retry=True)
        found[f"{word}_after_1_event"] = Fault(stop(1, end=end), "error 502", on="stream", retry=True)
        found[f"{word}_after_3_events"] = Fault(stop(3, end=end), broken, on="stream")
        found[f"{word}_in_event"] = Fault(stop(3, end=end, half=True), broken, on="stream")
        found[f"{word}_before_finish"] = Fault(before_finish(end), broken, on="stream")
        # Everything the client needs came; whether the missing [DONE] counts as broken is the gateway's choice.
        found[f"{word}_after_finish"] = Fault(after_finish(end), f"ok|{broken}", on="stream")
        found[f"{word}_before_done"] = Fault(stop(-1, end=end), f"ok|{broken}", on="stream")
    return found


def _events() -> dict[str, Fault]:
    """Odd events; CRLF, comments and several data lines are legal, and so is any split into packets."""
    error = sse({"error": {"message": "scripted", "type": "server_error", "param": None, "code": None}})
    ok, broken = "ok", "stream error event"
    changes: dict[str, tuple[Change, str]] = {
        "crlf_and_comments": (each_event(lambda raw: b": hi\r\nevent: message\r\n" + raw.replace(b"\n", b"\r\n")), ok),
        "no_space_after_data": (each_event(lambda raw: raw.replace(b"data: ", b"data:")), ok),
        "multi_line_data": (each_event(lambda raw: raw.replace(b',"choices"', b',\ndata: "choices"')), ok),
        "byte_by_byte": (bytewise, ok),
        "all_in_one_packet": (lambda plan: replace(plan, parts=(Part(plan.body, 1),)), ok),
        "huge_event": (huge, ok),
        "slow_chunks": (lambda plan: replace(plan, parts=tuple(replace(p, wait_s=0.05) for p in plan.parts)), ok),
        "keepalive_comments": (each_event(lambda raw: b": keep-alive\n\n" + raw), ok),
        "duplicate_finish": (duplicate_finish, ok),
        "error_event": (lambda plan: replace(plan, parts=(*plan.parts[:3], Part(error))), broken),
        "error_event_then_done": (lambda plan: replace(plan, parts=(*plan.parts[:3], Part(error), Part(DONE))), broken),
        "not_json_event": (with_event(b"data: {oops\n\n"), broken),
        "no_data_prefix": (with_event(b'{"choices": []}\n\n'), f"{ok}|{broken}"),
        "html_event": (with_event(HTML + b"\n\n"), f"{ok}|{broken}"),
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
        "other_cost": {**sound, "cost": 0.5},
        "prompt_far_over": {**sound, "prompt_tokens": 60_000, "total_tokens": 60_007},
        "more_cached_than_prompt": {**sound, "prompt_tokens_details": {"cached_tokens": 9}},
        "more_reasoning_than_completion": {**sound, "completion_tokens_details": {"reasoning_tokens": 9}},
    }
    found = {f"usage_{name}": Fault(with_usage(value), "ok") for name, value in values.items()}
    return found | {"usage_missing": Fault(without_usage, "ok")}


FAULTS: Mapping[str, Fault] = faults()
