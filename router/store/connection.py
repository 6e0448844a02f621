"""One connection to the store that costs little per call.

redis-py's asyncio client spends 80–140 µs of CPU on a call, a fifth of the gateway's whole budget. Here a call is a
packed command and a future: calls of one turn of the event loop leave in one write, replies are matched in order.
"""

import asyncio
from collections import deque
from typing import cast

import hiredis


class ReplyError(Exception):
    """The server understood and refused; the message is its own."""


class ConnectionLost(Exception):
    """The connection ended, or stood still for too long; calls under way may or may not have been carried out."""


_MORE = object()


class Connection(asyncio.Protocol):
    """A pipelined RESP connection.

    Args:
        timeout_s: With calls under way and no reply for this long, or up to half as long again, it is given up.
    """

    def __init__(self, *, timeout_s: float) -> None:
        self._reader = hiredis.Reader(replyError=ReplyError, protocolError=ConnectionLost, notEnoughData=_MORE)
        self._waiting: deque[asyncio.Future[object]] = deque()
        self._out: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._half_timeout_s = timeout_s / 2
        self._timer: asyncio.TimerHandle | None = None
        self._quiet_halves = 0
        self.closed: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def send(self, command: bytes) -> asyncio.Future[object]:
        """Queue a packed command; the future ends with its reply, ReplyError or ConnectionLost."""
        future: asyncio.Future[object] = self._loop.create_future()
        if self._transport is None or self.closed.done():
            future.set_exception(ConnectionLost("the connection to the store is closed"))
            return future
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(command)
        self._waiting.append(future)
        if self._timer is None:
            self._quiet_halves = 0
            self._timer = self._loop.call_later(self._half_timeout_s, self._watch)
        return future

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self._transport is not None and out:
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))

    def data_received(self, data: bytes) -> None:
        self._quiet_halves = 0
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets(False)) is not _MORE:
                self._resolve(reply)
        except ConnectionLost:
            self.abort()

    def _resolve(self, reply: object) -> None:
        future = self._waiting.popleft()
        if future.done():  # its caller was cancelled
            return
        if isinstance(reply, ReplyError):
            future.set_exception(reply)
        else:
            future.set_result(reply)

    def _watch(self) -> None:
        # One timer for all calls: a timer per call costs as much as the call.
        self._timer = None
        if not self._waiting:
            return
        self._quiet_halves += 1
        if self._quiet_halves > 2:
            self.abort()
            return
        self._timer = self._loop.call_later(self._half_timeout_s, self._watch)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        if not self.closed.done():
            self.closed.set_result(None)
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_exception(ConnectionLost("the connection to the store was lost"))

    def abort(self) -> None:
        """Give up at once; every call under way ends with ConnectionLost."""
        if self._transport is not None:
            self._transport.abort()
