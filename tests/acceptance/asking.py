"""Clients for acceptance tests: bytes over a socket as they are, chat requests over HTTP, and what came back."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

ERROR_KEYS = {"message", "type", "param", "code"}
CHAT = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Got:
    """An answer as far as it came.

    Attributes:
        whole: The HTTP message ended as it promised; False for a connection that broke in the middle.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float
    whole: bool = True

    @property
    def error(self) -> dict[str, Any]:
        """The OpenAI error object of the body; fails if there is none or it lacks a key."""
        found: dict[str, Any] = orjson.loads(self.body)["error"]
        assert found.keys() == ERROR_KEYS, found
        assert isinstance(found["message"], str)
        assert isinstance(found["type"], str)
        return found

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The data of a stream's events: JSON, and "[DONE]" as it is."""
        data = [block.removeprefix(b"data: ") for block in self.body.split(b"\n\n") if block]
        return ["[DONE]" if each == b"[DONE]" else orjson.loads(each) for each in data]

    @property
    def finish_reasons(self) -> list[str]:
        """Every finish reason of a stream, in the order they came."""
        choices = [choice for event in self.events if isinstance(event, dict) for choice in event.get("choices") or ()]
        return [choice["finish_reason"] for choice in choices if choice.get("finish_reason")]

    @property
    def text(self) -> str:
        """The answer's text, plain or streamed."""
        if not self.headers.get("content-type", "").startswith("text/event-stream"):
            return str(self.json["choices"][0]["message"]["content"])
        choices = [choice for event in self.events if isinstance(event, dict) for choice in event.get("choices") or ()]
        return "".join(choice["delta"].get("content") or "" for choice in choices)

    @property
    def is_complete(self) -> bool:
        """What a client calls a success: a whole 200 that says that it is finished."""
        if self.status != 200 or not self.whole:
            return False
        if self.headers.get("content-type", "").startswith("text/event-stream"):
            return self.body.endswith(b"data: [DONE]\n\n")
        return bool(self.json.get("choices"))


@dataclass(slots=True)
class _Parts:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    whole: bool = False


async def chat(
    session: aiohttp.ClientSession, url: str, body: object, *, client_id: str = "", leave_after: int | None = None
) -> Got:
    """POST a chat request and keep what arrives; a connection that breaks is an answer that is not whole.

    Args:
        leave_after: Hang up once so many bytes of a stream's body arrived.
    """
    headers = {"content-type": "application/json"} | ({"x-client-request-id": client_id} if client_id else {})
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    got, began = _Parts(), time.monotonic()
    try:
        async with session.post(url + CHAT, data=raw, headers=headers, allow_redirects=False) as answer:
            got.status, got.headers = answer.status, {name.lower(): value for name, value in answer.headers.items()}
            async for piece in answer.content.iter_any():
                got.body += piece
                if leave_after is not None and len(got.body) >= leave_after:
                    answer.close()
                    break
            else:
                got.whole = True
    except (aiohttp.ClientError, OSError):
        pass
    return Got(got.status, got.headers, got.body, time.monotonic() - began, got.whole)


async def send_raw(port: int, *pieces: bytes, within_s: float, pause_s: float = 0.0) -> Got:
    """Send bytes to the gateway's socket as they are and read one answer.

    Args:
        pieces: Sent one after the other, ``pause_s`` apart, until the gateway answers.

    Raises:
        TimeoutError: Nothing whole came within ``within_s``.
    """
    began = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    sending = asyncio.create_task(_send(writer, pieces, pause_s))
    try:
        async with asyncio.timeout(within_s):
            status, headers = _head(await reader.readuntil(b"\r\n\r\n"))
            body = await reader.readexactly(int(headers.get("content-length", 0)))
    finally:
        sending.cancel()
        writer.transport.abort()
    return Got(status, headers, body, time.monotonic() - began)


async def _send(writer: asyncio.StreamWriter, pieces: tuple[bytes, ...], pause_s: float) -> None:
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause_s)
    except OSError:
        pass  # the gateway refused and closed; its answer is being read


def _head(raw: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = raw.decode("latin-1").strip().split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return int(first.split(" ")[1]), {name.lower(): value.strip() for name, _, value in pairs}


def post(body: bytes, *headers: str) -> bytes:
    """A whole POST of the chat route."""
    lines = [f"POST {CHAT} HTTP/1.1", "host: gateway", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def asked(model: str = "auto", **more: Any) -> dict[str, Any]:
    """A sound chat request."""
    return {"model": model, "messages": [{"role": "user", "content": "What is 2 + 2?"}], **more}


async def until(condition: Callable[[], bool], *, within_s: float, what: str) -> None:
    """Wait for something that other processes bring about; fails with ``what`` when it does not come."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        await asyncio.sleep(0.02)


async def eventually(condition: Callable[[], Awaitable[bool]], *, within_s: float, what: str) -> None:
    """`until` for a condition that has to be awaited."""
    deadline = time.monotonic() + within_s
    while not await condition():
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        await asyncio.sleep(0.05)
