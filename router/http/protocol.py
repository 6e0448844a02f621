"""uvicorn's HTTP/1.1 protocol with bounds: slow or huge heads, huge bodies and stuck readers cost a socket and no more.

What is refused here never reaches the app, and is still an OpenAI error object.
"""

import asyncio
from typing import Any, ClassVar

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from router.config.schema import Limits
from router.errors import ApiError, BadRequest, BodyTooSlow, HeadersTooLarge, Unavailable
from router.http.asgi import declares_more, error_headers, too_large

CONNECTIONS = 16_384
_WRITE_STALL_S = 60.0
_LINGER_S = 2.0  # a refused client that is still sending gets this long to read why


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Subclasses carry the limits (`make_protocol`), since uvicorn makes the instances."""

    limits: ClassVar[Limits]
    max_connections: ClassVar[int]
    write_stall_s: ClassVar[float]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._head_due: asyncio.TimerHandle | None = None
        self._write_due: asyncio.TimerHandle | None = None
        self._close_due: asyncio.TimerHandle | None = None
        self._in_head = True  # between the end of one request and the end of the next one's headers
        self._head_bytes = self._body_bytes = 0
        self._why: ApiError | None = None
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            self._refuse(Unavailable("too many connections; try again", code="overloaded", retry_after_s=1))
        else:
            self._head_due = self.loop.call_later(self.limits.header_s, self._head_late)

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._head_due, self._write_due, self._close_due):
            if timer is not None:
                timer.cancel()
        self._head_due = self._write_due = self._close_due = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._unset_keepalive_if_required()
        if self._in_head:
            self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.cycle.keep_alive = False  # the request is served as it is; what follows it is another protocol
            return
        except httptools.HttpParserError:
            self._refuse(self._why or BadRequest("this is not valid HTTP/1.1", code="malformed_http"))
            return
        if self._in_head and self._head_bytes:
            if self._head_bytes > self.limits.header_bytes:
                self._refuse(self._head_too_large())
            elif self._head_due is None and not self._refused:
                self._head_due = self.loop.call_later(self.limits.header_s, self._head_late)

    def on_headers_complete(self) -> None:
        """Decide on the head before any task is made for it. Raising stops the parser; `data_received` refuses."""
        self._in_head = False
        self._body_bytes = 0
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None
        if self._head_bytes > self.limits.header_bytes and self._head_size() > self.limits.header_bytes:
            self._stop(self._head_too_large())
        for name, value in self.headers:
            if name == b"content-length" and declares_more(value, self.limits.body_bytes):
                self._stop(too_large(self.limits))
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > self.limits.body_bytes:
            self._stop(too_large(self.limits))
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_due = self.loop.call_later(self.write_stall_s, self.transport.abort)

    def resume_writing(self) -> None:
        if self._write_due is not None:
            self._write_due.cancel()
            self._write_due = None
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        # Closing waits until the client has read everything, so it needs an end of its own.
        self._close_due = self.loop.call_later(self.write_stall_s, self.transport.abort)

    def _should_upgrade(self) -> bool:
        return False

    def shutdown(self) -> None:
        if self._refused:
            self.transport.close()
        else:
            super().shutdown()

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _head_too_large(self) -> HeadersTooLarge:
        return HeadersTooLarge(f"the request line and headers are over {self.limits.header_bytes} bytes; send fewer")

    def _head_late(self) -> None:
        self._head_due = None
        if self._head_bytes:
            message = f"the headers were not whole within {self.limits.header_s:g} s; send them faster"
            self._refuse(BodyTooSlow(message))
        else:
            self.transport.close()

    def _stop(self, why: ApiError) -> None:
        self._why = why
        raise _Stopped

    def _refuse(self, error: ApiError) -> None:
        """Answer with an error and close; a request that is being answered ends first, and nothing is read after it."""
        self._refused = True
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:  # type: ignore[redundant-expr]  # None before a request
            if not cycle.more_body:
                cycle.keep_alive = False
                self.pipeline.clear()
                return
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started or self.pipeline:
                self.transport.close()
                return
        self._write_last(error)

    def _write_last(self, error: ApiError) -> None:
        self._unset_keepalive_if_required()
        self.transport.write(_wire(error, self.server_state.default_headers))
        self.flow.resume_reading()  # what still comes is dropped, so that the client reaches the answer
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._close_due = self.loop.call_later(_LINGER_S, self.transport.close)
        else:
            self.transport.close()


class _Stopped(Exception):
    """Stops the HTTP parser from inside one of its callbacks."""


def _wire(error: ApiError, default_headers: list[tuple[bytes, bytes]]) -> bytes:
    body = error.body()
    pairs = [
        *default_headers,
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        *((name, value) for name, value in error_headers(error) if name != b"connection"),
        (b"connection", b"close"),
    ]
    return b"".join((STATUS_LINE[error.status], *(b"%s: %s\r\n" % pair for pair in pairs), b"\r\n", body))


def make_protocol(
    limits: Limits, *, connections: int = CONNECTIONS, write_stall_s: float = _WRITE_STALL_S
) -> type[BoundedProtocol]:
    """The protocol class for ``uvicorn.Config(http=…)``; idle connections are closed by its ``timeout_keep_alive``.

    Args:
        connections: Open connections of one process; more are told 503.
        write_stall_s: A client that does not read for this long is cut off.
    """
    attributes = {"limits": limits, "max_connections": connections, "write_stall_s": write_stall_s}
    return type("BoundedProtocol", (BoundedProtocol,), attributes)
