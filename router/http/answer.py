"""A plain answer on its way to the client: checked, given our id, and completed where OpenAI's schema wants a null."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from policies.prices import Usage
from router.http.generated import Generated
from router.http.midway import midway_error
from router.http.usage import client_usage
from router.upstreams.base import UpstreamError


@dataclass(frozen=True, slots=True)
class Answer:
    """A chat completion.

    Attributes:
        body: The whole object, with our id; unknown members are in it.
        usage: What the upstream reported, unchecked (see `router.http.usage`), or None.
        finish_reasons: By choice index.
        generated: Text and tool calls of all choices.
    """

    body: dict[str, Any]
    usage: Any
    finish_reasons: dict[int, str]
    generated: Generated

    @property
    def tool_call_ids(self) -> tuple[str, ...]:
        """Ids of the tool calls the answer makes, in order."""
        return tuple(self.generated.tool_call_ids)


def read_answer(raw: bytes, *, request_id: str, upstream: str = "upstream") -> Answer:
    """Read what an upstream sent as a chat completion.

    Raises:
        UpstreamError: ``garbage``: not a finished chat completion; ``status``: an error object in its place.
    """
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise UpstreamError(upstream, "garbage", retryable=True) from None
    if type(body) is dict and body.get("error"):
        raise midway_error(upstream, body["error"])
    if type(body) is not dict or body.get("object", "chat.completion") != "chat.completion":
        raise UpstreamError(upstream, "garbage", retryable=True)
    choices = body.get("choices")
    if type(choices) is not list or not choices:
        raise UpstreamError(upstream, "garbage", retryable=True)
    generated, finish_reasons = Generated(), {}
    for position, choice in enumerate(choices):
        index, finish = _complete_choice(choice, position, upstream)
        finish_reasons[index] = finish
        generated.add(choice["message"])
    body["id"], body["object"] = request_id, "chat.completion"
    body.setdefault("created", int(time.time()))
    return Answer(body, body.get("usage"), finish_reasons, generated)


def _complete_choice(choice: Any, position: int, upstream: str) -> tuple[int, str]:
    """Check one choice and add the members a client may rely on; its index and finish reason."""
    message = choice.get("message") if type(choice) is dict else None
    finish = choice.get("finish_reason") if type(choice) is dict else None
    if type(message) is not dict or type(finish) is not str or not finish:
        raise UpstreamError(upstream, "garbage", retryable=True)
    index = choice.setdefault("index", position)
    if type(index) is not int:
        raise UpstreamError(upstream, "garbage", retryable=True)
    choice.setdefault("logprobs", None)
    message.setdefault("role", "assistant")
    message.setdefault("content", None)
    message.setdefault("refusal", None)
    return index, finish


def render(
    answer: Answer,
    *,
    usage: Usage | None = None,
    cost_usd: float | None = None,
    gearshift: Mapping[str, Any] | None = None,
) -> bytes:
    """The body for the client, with its usage (`cost` included) and, if asked for, the decision.

    Args:
        usage: What is billed; None shows what the upstream reported.
    """
    body = dict(answer.body)
    shown = client_usage(usage, answer.usage, cost_usd=cost_usd)
    if shown is None:
        body.pop("usage", None)
    else:
        body["usage"] = shown
    if gearshift is not None:
        body["gearshift"] = gearshift
    return orjson.dumps(body)
