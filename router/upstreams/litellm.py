"""Providers that do not speak the OpenAI wire, through the litellm SDK, turned back into the bytes OpenAI would send.

The SDK takes seconds and 180 MB to import, so it is imported in a thread by the first call, never at start.
"""

import asyncio
import importlib
import os
from collections.abc import AsyncIterator, Mapping
from types import ModuleType
from typing import Any

import orjson

from router.config.schema import Deployment, Timeouts
from router.upstreams.base import Call, UpstreamError
from router.upstreams.wire import HANDED_ON, MESSAGE_CHARS, retry_after_s

INSTALL = "pip install 'gearshift[litellm]'"
# What a request may tell the SDK. Among its other arguments are where to send the key, which models to try instead,
# what to pretend for an answer, and what to charge: they are the operator's, never the client's.
MEMBERS = frozenset(
    (
        "audio", "chat_template_kwargs", "dimensions", "encoding_format", "frequency_penalty", "function_call",
        "functions", "input", "length_penalty", "logit_bias", "logprobs", "max_completion_tokens", "max_tokens",
        "messages", "min_p", "modalities", "model", "n", "parallel_tool_calls", "prediction", "presence_penalty",
        "prompt_cache_key", "reasoning_effort", "repetition_penalty", "response_format", "safety_identifier",
        "seed", "service_tier", "stop", "store", "stream", "stream_options", "temperature", "thinking",
        "tool_choice", "tools", "top_k", "top_logprobs", "top_p", "user", "verbosity", "web_search_options",
    )
)  # fmt: skip
DONE = b"data: [DONE]\n\n"


class LiteLLMMissing(UpstreamError):
    """litellm is not installed; every other upstream works without it."""

    def __init__(self, upstream: str, module: str = "litellm") -> None:
        super().__init__(upstream, "connect", reached=False)
        remedy = INSTALL if module == "litellm" else f"pip install {module} (litellm asks for it here)"
        self.args = (f"upstream {upstream!r} needs {module}, which is not installed: {remedy}",)


class LiteLLMUpstream:
    """One deployment behind litellm; `deployment.model` carries the provider, e.g. ``anthropic/claude-haiku-4-5``."""

    def __init__(self, name: str, deployment: Deployment) -> None:
        self.name = name
        self._fixed: dict[str, Any] = {"num_retries": 0, "max_retries": 0}
        if deployment.api_key:
            self._fixed["api_key"] = deployment.api_key
        if deployment.base_url:
            self._fixed["api_base"] = deployment.base_url
        self._headers = deployment.headers
        self._sdk: ModuleType | None = None

    async def send(self, call: Call, timeouts: Timeouts) -> "LiteLLMReply":
        """Call the provider and wait for its first sign. Raises UpstreamError; litellm's own retries are off."""
        sdk = await self._load()
        started = asyncio.get_running_loop().time()
        headers = {**self._headers, "x-request-id": call.request_id}
        function = sdk.aembedding if call.path.endswith("/embeddings") else sdk.acompletion
        # The SDK's own timeout is only a net below ours: it cannot tell first byte, pause and total apart.
        asked = {name: value for name, value in call.body.items() if name in MEMBERS}
        arguments = {**asked, **self._fixed, "extra_headers": headers, "timeout": timeouts.total_s}
        try:
            async with asyncio.timeout_at(started + min(timeouts.first_byte_s, timeouts.total_s)):
                answer = await function(**arguments)
        except TimeoutError as error:
            raise UpstreamError(self.name, "timeout", retryable=True) from error
        except Exception as error:  # the SDK raises what its provider clients raise
            raise from_litellm(self.name, error) from error
        return LiteLLMReply(self.name, answer, timeouts, started=started, stream=call.stream)

    async def probe(self) -> None:
        """Whether litellm is there; a provider's key cannot be tried without paying for a completion."""
        await self._load()

    async def aclose(self) -> None:
        """Close the SDK's HTTP clients, if it was ever loaded."""
        if self._sdk is not None:
            await self._sdk.close_litellm_async_clients()

    async def _load(self) -> ModuleType:
        if self._sdk is None:
            try:
                self._sdk = await asyncio.to_thread(load_litellm)
            except ImportError as error:
                raise LiteLLMMissing(self.name) from error
        return self._sdk


class LiteLLMReply:
    """litellm's answer as OpenAI bytes."""

    status = 200

    def __init__(self, name: str, answer: Any, timeouts: Timeouts, *, started: float, stream: bool) -> None:
        kind = "text/event-stream" if stream else "application/json"
        self.headers: Mapping[str, str] = {"content-type": kind}
        self._name, self._answer, self._timeouts, self._stream = name, answer, timeouts, stream
        self._total_at = started + timeouts.total_s
        self._deadline = min(started + timeouts.first_byte_s, self._total_at)

    async def read(self) -> bytes:
        """The whole body."""
        return b"".join([chunk async for chunk in self.chunks()])

    def chunks(self) -> AsyncIterator[bytes]:
        """One event per chunk, [DONE] last. Raises UpstreamError when the provider breaks off or is late."""
        return self._events() if self._stream else self._body()

    async def aclose(self) -> None:
        close = getattr(self._answer, "aclose", None)
        if close is not None:
            await close()

    async def _body(self) -> AsyncIterator[bytes]:
        yield orjson.dumps(self._answer.model_dump(mode="json"))

    async def _events(self) -> AsyncIterator[bytes]:
        events = aiter(self._answer)
        while (event := await self._next(events)) is not None:
            yield b"data: " + orjson.dumps(event.model_dump(mode="json", exclude_unset=True)) + b"\n\n"
        yield DONE

    async def _next(self, events: AsyncIterator[Any]) -> Any | None:
        try:
            async with asyncio.timeout_at(self._deadline):
                event = await anext(events, None)
        except TimeoutError as error:
            raise UpstreamError(self._name, "timeout", status=200) from error
        except Exception as error:  # as in `send`
            raise UpstreamError(self._name, "cut", status=200) from error
        now = asyncio.get_running_loop().time()
        self._deadline = min(now + self._timeouts.between_chunks_s, self._total_at)
        return event


def load_litellm() -> ModuleType:
    """Import the SDK with its price map from the package, its telemetry and its chatter off. Raises ImportError."""
    # Without this the import fetches a price list over the network.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    sdk = importlib.import_module("litellm")
    for name, value in (("telemetry", False), ("suppress_debug_info", True), ("drop_params", False)):
        setattr(sdk, name, value)
    return sdk


def from_litellm(upstream: str, error: Exception) -> UpstreamError:
    """A litellm exception as ours: by its status, the provider's words only for the client's own mistakes."""
    missing = _missing_module(error)
    if missing is not None:
        return LiteLLMMissing(upstream, missing)
    status = getattr(error, "status_code", None)
    if not isinstance(status, int):
        return UpstreamError(upstream, "garbage", retryable=True)
    if type(error).__name__ == "APIConnectionError":
        return UpstreamError(upstream, "connect", retryable=True, reached=False)
    if type(error).__name__ == "Timeout":
        return UpstreamError(upstream, "timeout", status=0, retryable=True)
    response = getattr(error, "response", None)
    headers = getattr(response, "headers", None) or {}
    return UpstreamError(
        upstream,
        "status",
        status=status,
        retryable=status >= 500 or status in (408, 429),
        retry_after_s=retry_after_s(headers.get("retry-after")),
        client_error=_own_mistake(error) if status in HANDED_ON else None,
    )


def _missing_module(error: BaseException | None) -> str | None:
    """The SDK imports some helpers only when a request needs them, and dresses the failure as a connection error."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError):
            return error.name
        error = error.__cause__ or error.__context__
    return None


def _own_mistake(error: Exception) -> dict[str, Any] | None:
    body = getattr(error, "body", None)
    body = body.get("error", body) if isinstance(body, dict) else None
    if not isinstance(body, dict) or not isinstance(body.get("message"), str):
        return None
    texts = {key: body.get(key) if isinstance(body.get(key), str) else None for key in ("type", "param", "code")}
    return {"message": body["message"][:MESSAGE_CHARS], **texts}
