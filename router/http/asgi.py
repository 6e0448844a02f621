"""Plain ASGI, read and written with as little as the hot route can do with."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

from router.config.schema import Limits
from router.errors import ApiError, BadRequest, BodyTooLarge, BodyTooSlow, HeadersTooLarge

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]

_JSON = (b"content-type", b"application/json")
_STREAM = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would hold events back
)
_CLOSE = (b"connection", b"close")
_LENGTH_DIGITS = 15


class ClientGone(Exception):
    """The client closed before its request was whole; nobody is left to answer."""


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], limits: Limits) -> bytes:
    """The whole body.

    Raises:
        BodyTooLarge: By what `content-length` declares, else by the bytes counted.
        BodyTooSlow: Not whole within ``limits.body_s``.
        BadRequest: It is compressed (415).
        ClientGone: The client closed first.
    """
    if declares_more(headers.get(b"content-length"), limits.body_bytes):
        raise too_large(limits)
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise BadRequest("the body is compressed; send it without content-encoding", param="body", status=415)
    try:
        async with asyncio.timeout(limits.body_s):
            return await _collect(receive, limits)
    except TimeoutError:
        raise BodyTooSlow(f"the body was not whole within {limits.body_s:g} s; send it faster", param="body") from None


async def _collect(receive: Receive, limits: Limits) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        piece = message.get("body", b"")
        size += len(piece)
        if size > limits.body_bytes:
            raise too_large(limits)
        pieces.append(piece)
        if not message.get("more_body", False):
            return b"".join(pieces) if len(pieces) > 1 else piece


def declares_more(content_length: bytes | None, limit: int) -> bool:
    """Whether a `content-length` is over ``limit``; one that is no number is the HTTP parser's business."""
    if content_length is None or not content_length.isdigit():
        return False
    return len(content_length) > _LENGTH_DIGITS or int(content_length) > limit


def too_large(limits: Limits) -> BodyTooLarge:
    return BodyTooLarge(f"the body is over {limits.body_bytes} bytes; send a shorter one", param="body")


async def send_body(send: Send, status: int, body: bytes, headers: Iterable[Header] = ()) -> None:
    """Send a whole JSON answer."""
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [_JSON, length, *headers]})
    await send({"type": "http.response.body", "body": body})


def error_headers(error: ApiError) -> list[Header]:
    """Its own, `retry-after` in whole seconds, rounded up, and `connection: close` where unread bytes may follow."""
    headers: list[Header] = list(error.headers)
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % max(0, -int(-error.retry_after_s // 1))))
    if isinstance(error, BodyTooLarge | BodyTooSlow | HeadersTooLarge):
        headers.append(_CLOSE)
    return headers


async def send_error(send: Send, error: ApiError, headers: Iterable[Header] = ()) -> None:
    """Send an error as its OpenAI error object."""
    await send_body(send, error.status, error.body(), [*headers, *error_headers(error)])


async def start_stream(send: Send, headers: Iterable[Header] = ()) -> None:
    """Begin a stream of events."""
    await send({"type": "http.response.start", "status": 200, "headers": [*_STREAM, *headers]})


async def send_chunk(send: Send, data: bytes) -> None:
    """Hand on some events; waits while the client does not read (the protocol cuts it off when that takes too long)."""
    await send({"type": "http.response.body", "body": data, "more_body": True})


async def end_stream(send: Send, data: bytes = b"") -> None:
    """The last events, and the end of the answer."""
    await send({"type": "http.response.body", "body": data})
