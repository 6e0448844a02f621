"""What a fault does to the sound plan of an answer: cut it, stall it, garble it, lie about its usage."""

import gzip
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

import orjson

from router.upstreams.fake_plan import DONE, JSON, Part, Plan, error_plan, json_plan

Change = Callable[[Plan], Plan]


def always(plan: Plan) -> Change:
    return lambda _: plan


def with_retry_after(status: int, value: str) -> Plan:
    return replace(error_plan(status, f"scripted {status}"), headers={**JSON, "retry-after": value})


def context_length() -> Plan:
    message = "This model's maximum context length is 10 tokens."
    error = {
        "message": message,
        "type": "invalid_request_error",
        "param": "messages",
        "code": "context_length_exceeded",
    }
    return json_plan({"error": error}, status=400)


def with_body(raw: bytes) -> Change:
    return lambda _: Plan((Part(raw),), length=len(raw))


def compressed(plan: Plan) -> Plan:
    raw = gzip.compress(plan.body)
    return replace(plan, parts=(Part(raw),), length=len(raw), headers={**plan.headers, "content-encoding": "gzip"})


def stop(events: int, *, end: Literal["complete", "close", "reset", "hang", "bad_chunk"], half: bool = False) -> Change:
    def change(plan: Plan) -> Plan:
        kept = plan.parts[:events]
        if half:
            raw = plan.parts[events].data
            kept = (*kept, Part(raw[: len(raw) // 2]))
        return replace(plan, parts=kept, end=end)

    return change


def half_of_it(*, end: Literal["close", "hang"]) -> Change:
    def change(plan: Plan) -> Plan:
        return replace(plan, parts=(Part(plan.body[: len(plan.body) // 2]),), end=end)

    return change


def with_length_off_by(by: int) -> Change:
    return lambda plan: replace(plan, length=len(plan.body) + by, end="close")


def is_finish(part: Part) -> bool:
    return b'"finish_reason":"' in part.data


def before_finish(end: Literal["complete", "close", "reset"]) -> Change:
    def change(plan: Plan) -> Plan:
        first = next(at for at, part in enumerate(plan.parts) if is_finish(part))
        return replace(plan, parts=plan.parts[:first], end=end)

    return change


def after_finish(end: Literal["complete", "close", "reset"]) -> Change:
    def change(plan: Plan) -> Plan:
        last = max(at for at, part in enumerate(plan.parts) if is_finish(part))
        return replace(plan, parts=plan.parts[: last + 1], end=end)

    return change


def duplicate_finish(plan: Plan) -> Plan:
    parts = [copy for part in plan.parts for copy in ((part, part) if is_finish(part) else (part,))]
    return replace(plan, parts=tuple(parts))


def each_event(change: Callable[[bytes], bytes]) -> Change:
    return lambda plan: replace(plan, parts=tuple(replace(part, data=change(part.data)) for part in plan.parts))


def bytewise(plan: Plan) -> Plan:
    body = plan.body
    return replace(plan, parts=tuple(Part(body[at : at + 1], wait_s=1e-6) for at in range(len(body))))


def with_event(raw: bytes) -> Change:
    return lambda plan: replace(plan, parts=(*plan.parts[:3], Part(raw), *plan.parts[3:]))


def huge(plan: Plan) -> Plan:
    def change(data: dict[str, Any]) -> None:
        if data["choices"] and data["choices"][0]["delta"].get("content"):
            data["choices"][0]["delta"]["content"] += "x" * 1_000_000

    return rewritten_events(plan, change, limit=3)


def drip(plan: Plan) -> Plan:
    return replace(plan, parts=tuple(Part(b": keep-alive\n\n", wait_s=0.05) for _ in range(12_000)))


def with_usage(value: Any) -> Change:
    def change(data: dict[str, Any]) -> None:
        if data.get("usage"):
            data["usage"] = value

    return lambda plan: rewritten_events(plan, change)


def without_usage(plan: Plan) -> Plan:
    if plan.stream:
        return replace(plan, parts=tuple(part for part in plan.parts if b'"choices":[]' not in part.data))
    return rewritten_events(plan, lambda data: data.pop("usage", None))


def rewritten_events(plan: Plan, change: Callable[[dict[str, Any]], object], *, limit: int | None = None) -> Plan:
    """The plan with `change` made to the JSON of its body, or of its first `limit` events."""

    def rewritten(part: Part) -> Part:
        if part.data == DONE or b"{" not in part.data:
            return part
        data = orjson.loads(part.data.removeprefix(b"data: "))
        change(data)
        raw = event_json(data)
        return replace(part, data=b"data: " + raw + b"\n\n" if plan.stream else raw)

    parts = tuple(rewritten(part) if limit is None or at < limit else part for at, part in enumerate(plan.parts))
    return replace(plan, parts=parts, length=None if plan.stream else sum(len(part.data) for part in parts))


def event_json(data: Mapping[str, Any]) -> bytes:
    import json  # orjson refuses integers beyond 64 bits, which is what one of the faults sends

    return json.dumps(data, separators=(",", ":")).encode()
