"""A chat request as the pipeline sees it: checked as far as a gateway must know, everything else kept as it came."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from router.config.schema import Limits
from router.errors import BadRequest
from router.http.body import decode_object
from router.http.hints import Hints, read_hints
from router.http.messages import Reading, read_messages, refuse

MAX_TOKENS = 10_000_000  # above any model's window; keeps a bound times a price inside 64 bits
_MODEL_CHARS = 256
_NUMBER, _INTEGER, _FLAG, _TEXT = "a number", "an integer", "true or false", "a string"
_KINDS: Mapping[str, tuple[str, tuple[type, ...]]] = {
    "stream": (_FLAG, (bool,)),
    "stream_options": ("an object", (dict,)),
    "n": (_INTEGER, (int,)),
    "max_tokens": (_INTEGER, (int,)),
    "max_completion_tokens": (_INTEGER, (int,)),
    "temperature": (_NUMBER, (int, float)),
    "top_p": (_NUMBER, (int, float)),
    "presence_penalty": (_NUMBER, (int, float)),
    "frequency_penalty": (_NUMBER, (int, float)),
    "seed": (_INTEGER, (int,)),
    "logprobs": (_FLAG, (bool,)),
    "top_logprobs": (_INTEGER, (int,)),
    "logit_bias": ("an object", (dict,)),
    "stop": ("a string or a list of strings", (str, list)),
    "tools": ("a list of tools", (list,)),
    "functions": ("a list of functions", (list,)),
    "tool_choice": ("a string or an object", (str, dict)),
    "parallel_tool_calls": (_FLAG, (bool,)),
    "response_format": ("an object with a type", (dict,)),
    "reasoning_effort": (_TEXT, (str,)),
    "prompt_cache_key": (_TEXT, (str,)),
    "user": (_TEXT, (str,)),
    "safety_identifier": (_TEXT, (str,)),
    "metadata": ("an object", (dict,)),
    "store": (_FLAG, (bool,)),
    "modalities": ("a list of strings", (list,)),
}
# None of these brings in a text that the request does not hold: samplers and templates of open servers, and what tells
# our own fake endpoint how to answer, are among them.
PLAIN_MEMBERS = _KINDS.keys() | {
    "model", "messages", "thinking", "service_tier", "verbosity", "audio", "ignore_eos", "guided_json",
    "guided_regex", "guided_choice", "guided_grammar", "structured_outputs", "chat_template_kwargs", "top_k", "min_p",
    "repetition_penalty", "length_penalty", "min_tokens", "stop_token_ids", "skip_special_tokens", "fake",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One chat request.

    Attributes:
        body: The JSON object without `gearshift`; unknown fields are in it. Not to be changed: copy first.
        raw: The bytes as they came, `gearshift` included.
        n: Choices asked for, 1 when absent.
        max_tokens: `max_completion_tokens`, else `max_tokens`, else None.
        include_usage: The client streams and asked for the usage chunk.
        is_tool_result: The last messages are tool results; `tool_call_ids` names the calls they answer.
        turn: Number of user messages.
        system_text: System messages before the first user message.
        route_text: What routing looks at: the text of the last user message that has any, else the last text at all.
        all_text: Every text, tool-call argument and tool declaration: what prompt tokens are estimated from.
        prompt_cache_key: Empty when absent.
        end_user: `user`, else `safety_identifier`, its successor at OpenAI; empty when absent.
    """

    body: dict[str, Any]
    raw: bytes
    model: str
    messages: list[dict[str, Any]]
    stream: bool
    include_usage: bool
    n: int
    max_tokens: int | None
    hints: Hints
    needs_tools: bool
    needs_schema: bool
    needs_images: bool
    n_images: int
    wants_logprobs: bool
    is_tool_result: bool
    tool_call_ids: tuple[str, ...]
    turn: int
    system_text: str
    first_user_text: str
    route_text: str
    all_text: str
    prompt_cache_key: str
    end_user: str


def parse_chat(raw: bytes, limits: Limits) -> ChatRequest:
    """Read a chat body. Ranges a model decides on (temperature…) are left to the upstream; types are not.

    Raises:
        BadRequest: ``param`` names the member, the message says what belongs there.
    """
    body = decode_object(raw, limits)
    hints = read_hints(body.pop("gearshift", None))
    check_kinds(body)
    model = read_model(body)
    reading = read_messages(body.get("messages"), at_most=limits.messages)
    _check_tools(body, limits)
    stream = bool(body.get("stream"))
    return ChatRequest(
        body=body,
        raw=raw,
        model=model,
        messages=body["messages"],
        stream=stream,
        include_usage=stream and _includes_usage(body),
        n=_read_n(body, limits),
        max_tokens=_read_max_tokens(body),
        hints=hints,
        needs_tools=bool(body.get("tools") or body.get("functions")),
        needs_schema=_needs_schema(body),
        needs_images=reading.n_images > 0,
        n_images=reading.n_images,
        wants_logprobs=bool(body.get("logprobs") or body.get("top_logprobs")),
        is_tool_result=reading.is_tool_result,
        tool_call_ids=tuple(reading.tool_results),
        turn=len(reading.user),
        system_text="\n".join(reading.system),
        first_user_text=reading.user[0] if reading.user else "",
        route_text=_route_text(reading),
        all_text=_all_text(reading, body),
        prompt_cache_key=body.get("prompt_cache_key") or "",
        end_user=read_end_user(body),
    )


def parse_decide(raw: bytes, limits: Limits) -> ChatRequest:
    """Read a body for a decision alone: a chat body, whose `stream` means nothing here.

    Raises:
        BadRequest: As `parse_chat`.
    """
    return parse_chat(raw, limits)


def check_kinds(body: Mapping[str, Any]) -> None:
    """Raise BadRequest for a known member of the wrong JSON type. Exact types: true is not an integer."""
    for name, value in body.items():
        kind = _KINDS.get(name)
        if kind is not None and value is not None and type(value) not in kind[1]:
            refuse(name, kind[0], value)


def read_end_user(body: Mapping[str, Any]) -> str:
    """The `user` of a checked body, else its `safety_identifier`; empty where it names nobody."""
    named: str = body.get("user") or body.get("safety_identifier") or ""
    return named


def read_model(body: Mapping[str, Any]) -> str:
    """The model's name. Raises BadRequest unless it is a string of 1 to 256 characters."""
    model = body.get("model")
    if type(model) is not str or not 0 < len(model) <= _MODEL_CHARS:
        refuse("model", f"a string of 1 to {_MODEL_CHARS} characters; use auto to be routed", model)
    return model


def _read_n(body: Mapping[str, Any], limits: Limits) -> int:
    n = body.get("n")
    if n is None:
        return 1
    if not 1 <= n <= limits.n:
        raise BadRequest(f"n: expected 1 to {limits.n}, got {n}", param="n")
    return int(n)


def _read_max_tokens(body: Mapping[str, Any]) -> int | None:
    found: int | None = None
    for name in ("max_completion_tokens", "max_tokens"):
        bound = body.get(name)
        if bound is not None:
            if not 1 <= bound <= MAX_TOKENS:
                raise BadRequest(f"{name}: expected 1 to {MAX_TOKENS}, got {bound}", param=name)
            found = int(bound) if found is None else found
    return found


def _includes_usage(body: Mapping[str, Any]) -> bool:
    options = body.get("stream_options") or {}
    asked = options.get("include_usage")
    if asked is not None and type(asked) is not bool:
        refuse("stream_options.include_usage", _FLAG, asked)
    return bool(asked)


def _check_tools(body: Mapping[str, Any], limits: Limits) -> None:
    for name in ("tools", "functions"):
        declared = body.get(name) or ()
        if len(declared) > limits.tools:
            raise BadRequest(
                f"{name}: {len(declared)} are more than the {limits.tools} allowed; send fewer", param=name
            )
        for index, tool in enumerate(declared):
            if type(tool) is not dict:
                refuse(f"{name}[{index}]", "an object", tool)
    for index, text in enumerate(body["stop"] if type(body.get("stop")) is list else ()):
        if type(text) is not str:
            refuse(f"stop[{index}]", _TEXT, text)


def _needs_schema(body: Mapping[str, Any]) -> bool:
    kind = (body.get("response_format") or {}).get("type", "text")
    if type(kind) is not str:
        refuse("response_format.type", "text, json_object or json_schema", kind)
    return bool(kind != "text")


def _route_text(reading: Reading) -> str:
    for text in reversed(reading.user):
        if text:
            return text
    return reading.every[-1] if reading.every else ""


def _all_text(reading: Reading, body: Mapping[str, Any]) -> str:
    declared = body.get("tools") or body.get("functions")
    if declared:
        return "\n".join((*reading.every, orjson.dumps(declared).decode()))
    return "\n".join(reading.every)
