"""What the scripted upstream answers: OpenAI bodies and stream events made from the request and a script."""

import base64
import hashlib
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import orjson

from router.upstreams.fake_values import instance_of

CREATED = 1_700_000_000


@dataclass(frozen=True, slots=True)
class Answer:
    """How the fake behaves. A request overrides any of it with a body field ``fake: {...}`` of the same keys.

    Attributes:
        text: The answer; None: a sentence made from the request, or an instance of its json_schema.
        chunks: Pieces a streamed text is cut into; the whole stream goes out in one burst when `pace_s` is 0.
        first_s / pace_s: Seconds before the status line, and between events.
        tool_calls: How many tools are called; None: one when tools are offered by a user turn or demanded.
        reasoning / refusal: Texts of ``reasoning_content`` and ``refusal``.
        fault: Name in ``FAULTS``, or a list of them by attempt (None = no fault), the last one staying.
    """

    text: str | None = None
    chunks: int = 4
    first_s: float = 0.0
    pace_s: float = 0.0
    tool_calls: int | None = None
    reasoning: str | None = None
    refusal: str | None = None
    fault: str | tuple[str | None, ...] | None = None

    def fault_of(self, attempt: int) -> str | None:
        """The fault of the `attempt`-th attempt of a request, from 0."""
        if not isinstance(self.fault, tuple):
            return self.fault
        return self.fault[min(attempt, len(self.fault) - 1)] if self.fault else None


@dataclass(frozen=True, slots=True)
class Script:
    """Answers by the request's model name; `default` for all others."""

    by_model: Mapping[str, Answer]
    default: Answer = Answer()

    def answer(self, body: Mapping[str, Any]) -> Answer:
        """The answer for a request, its ``fake`` field applied. Raises ValueError for a key that is not one."""
        answer = self.by_model.get(str(body.get("model")), self.default)
        own = body.get("fake")
        return _override(answer, own) if isinstance(own, dict) and own else answer


def load_script(raw: bytes) -> Script:
    """A script from JSON: ``{"default": {...}, "models": {"name": {...}}}``.

    Raises:
        ValueError: It is no JSON, or holds another key.
    """
    data = orjson.loads(raw)
    if (
        not isinstance(data, dict)
        or not isinstance(data.get("models", {}), dict)
        or data.keys() - {"default", "models"}
    ):
        raise ValueError('a script is an object: {"default": {...}, "models": {"name": {...}}}')
    default = _override(Answer(), data.get("default", {}))
    return Script({name: _override(default, own) for name, own in data.get("models", {}).items()}, default)


def read_script(url: str) -> Script:
    """The script of a ``file:///…`` address.

    Raises:
        OSError: There is no such file. ValueError: It is no script, or the address is another.
    """
    if not url.startswith("file:///"):
        raise ValueError("the address does not begin with file:///")
    return load_script(Path(unquote(url.removeprefix("file://"))).read_bytes())


def _override(answer: Answer, own: object) -> Answer:
    if not isinstance(own, Mapping):
        raise ValueError("fake: an answer is an object")
    unknown = set(own) - {entry.name for entry in fields(Answer)}
    if unknown:
        raise ValueError(f"fake: unknown keys {sorted(unknown)}; use {[entry.name for entry in fields(Answer)]}")
    values = dict(own)
    if isinstance(values.get("fault"), list):
        values["fault"] = tuple(values["fault"])
    return replace(answer, **values)


@dataclass(frozen=True, slots=True)
class Event:
    """One stream event's JSON and the tokens it serves."""

    data: dict[str, Any]
    tokens: int = 0


def tokens_of(text: str) -> list[str]:
    """The fake's tokens: words with the space after them."""
    return re.findall(r"\S+\s*|\s+", text)


def usage_of(body: Mapping[str, Any], messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Token counts of a chat answer: words, plus 4 for each message of the request."""
    asked = body.get("messages") or []
    prompt = sum(len(tokens_of(text_of(message.get("content")))) + 4 for message in asked)
    reasoning = sum(len(tokens_of(message.get("reasoning_content") or "")) for message in messages)
    completion = reasoning + sum(_completion_tokens(message) for message in messages)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "completion_tokens_details": {"reasoning_tokens": reasoning},
        "prompt_tokens_details": {"cached_tokens": 0},
    }


def messages_of(body: Mapping[str, Any], answer: Answer) -> list[dict[str, Any]]:
    """The assistant messages, one for each of `n` choices, cut at the request's token bound."""
    return [_message(body, answer, index) for index in range(int(body.get("n") or 1))]


def completion_of(body: Mapping[str, Any], answer: Answer, request_id: str) -> dict[str, Any]:
    """A whole `chat.completion`."""
    messages = messages_of(body, answer)
    choices = [
        {
            "index": index,
            "message": {key: value for key, value in message.items() if key != "finish"},
            "logprobs": _logprobs(message["content"] or "") if body.get("logprobs") else None,
            "finish_reason": message["finish"],
        }
        for index, message in enumerate(messages)
    ]
    return {**_head(body, request_id, "chat.completion"), "choices": choices, "usage": usage_of(body, messages)}


def events_of(body: Mapping[str, Any], answer: Answer, request_id: str) -> list[Event]:
    """The events of a stream, without the closing [DONE]; the usage event is there when it was asked for."""
    head = _head(body, request_id, "chat.completion.chunk")
    asked = bool((body.get("stream_options") or {}).get("include_usage"))
    messages = messages_of(body, answer)
    extra = {"usage": None} if asked else {}
    events = []
    for index, message in enumerate(messages):
        for delta, logprobs, tokens, finish in _deltas(body, answer, message):
            choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
            events.append(Event({**head, "choices": [choice], **extra}, tokens))
    if asked:
        events.append(Event({**head, "choices": [], "usage": usage_of(body, messages)}))
    return events


def embeddings_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """Vectors that depend on the text alone: 8 dimensions, or as many as `dimensions` says; floats or base64."""
    texts = body.get("input")
    texts = texts if isinstance(texts, list) else [texts]
    data = []
    for index, text in enumerate(texts):
        seed = hashlib.sha256(orjson.dumps(text)).digest()
        vector = [seed[at % 32] / 255.0 - 0.5 for at in range(int(body.get("dimensions") or 8))]
        packed = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        value = packed if body.get("encoding_format") == "base64" else vector
        data.append({"object": "embedding", "index": index, "embedding": value})
    tokens = sum(len(tokens_of(str(text))) for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": body.get("model"), "usage": usage}


def _head(body: Mapping[str, Any], request_id: str, kind: str) -> dict[str, Any]:
    return {"id": f"fake-{request_id}", "object": kind, "created": CREATED, "model": body.get("model")}


def text_of(content: object) -> str:
    """The text of a message's content, given as a string or as parts."""
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _message(body: Mapping[str, Any], answer: Answer, index: int) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": answer.refusal, "finish": "stop"}
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    calls = _tool_calls(body, answer, index)
    if calls:
        return {**message, "tool_calls": calls, "finish": "tool_calls"}
    if answer.refusal:
        return message
    pieces = tokens_of(answer.text if answer.text is not None else _own_text(body, index))
    bound = body.get("max_completion_tokens") or body.get("max_tokens")
    if isinstance(bound, int) and len(pieces) > bound:
        pieces, message["finish"] = pieces[:bound], "length"
    return {**message, "content": "".join(pieces)}


def _own_text(body: Mapping[str, Any], index: int) -> str:
    form = body.get("response_format") or {}
    if form.get("type") == "json_schema":
        return orjson.dumps(instance_of(form["json_schema"].get("schema", {}))).decode()
    if form.get("type") == "json_object":
        return '{"answer": "fake"}'
    messages = body.get("messages") or [{}]
    asked = len(tokens_of(text_of(messages[-1].get("content"))))
    return f"This is scripted answer {index + 1} of {body.get('model')} to a message of {asked} words."


def _tool_calls(body: Mapping[str, Any], answer: Answer, index: int) -> list[dict[str, Any]]:
    tools, choice = body.get("tools") or [], body.get("tool_choice", "auto")
    if not tools or choice == "none":
        return []
    if isinstance(choice, dict):
        tools = [tool for tool in tools if tool["function"]["name"] == choice["function"]["name"]]
    by_user = (body.get("messages") or [{}])[-1].get("role") == "user"
    count = answer.tool_calls if answer.tool_calls is not None else int(by_user or choice != "auto")
    return [_tool_call(tools[at % len(tools)]["function"], f"call_{index}_{at}") for at in range(count if tools else 0)]


def _tool_call(function: Mapping[str, Any], call_id: str) -> dict[str, Any]:
    arguments = orjson.dumps(instance_of(function.get("parameters") or {})).decode()
    return {"id": call_id, "type": "function", "function": {"name": function["name"], "arguments": arguments}}


def _completion_tokens(message: Mapping[str, Any]) -> int:
    calls = message.get("tool_calls") or []
    arguments = sum(len(tokens_of(call["function"]["arguments"])) + 1 for call in calls)
    return len(tokens_of(message.get("content") or "")) + len(tokens_of(message.get("refusal") or "")) + arguments


def _logprobs(text: str) -> dict[str, Any]:
    entries = [{"token": piece, "logprob": -0.25, "bytes": list(piece.encode())} for piece in tokens_of(text)]
    return {"content": [{**entry, "top_logprobs": [entry]} for entry in entries], "refusal": None}


Delta = tuple[dict[str, Any], dict[str, Any] | None, int, str | None]


def _deltas(body: Mapping[str, Any], answer: Answer, message: Mapping[str, Any]) -> list[Delta]:
    deltas: list[Delta] = [({"role": "assistant", "content": "", "refusal": None}, None, 0, None)]
    for key in ("reasoning_content", "refusal", "content"):
        for piece in _cut(message.get(key) or "", answer.chunks):
            logprobs = _logprobs(piece) if key == "content" and body.get("logprobs") else None
            deltas.append(({key: piece}, logprobs, len(tokens_of(piece)), None))
    for at, call in enumerate(message.get("tool_calls") or []):
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        first = {"index": at, "id": call["id"], "type": "function", "function": {"name": name, "arguments": ""}}
        deltas.append(({"tool_calls": [first]}, None, 1, None))
        half = (len(arguments) + 1) // 2
        for piece in (arguments[:half], arguments[half:]):
            part = {"index": at, "function": {"arguments": piece}}
            deltas.append(({"tool_calls": [part]}, None, len(tokens_of(piece)), None))
    return [*deltas, ({}, None, 0, message["finish"])]


def _cut(text: str, chunks: int) -> list[str]:
    pieces = tokens_of(text)
    size = max(1, -(-len(pieces) // max(chunks, 1)))
    return ["".join(pieces[at : at + size]) for at in range(0, len(pieces), size)]
