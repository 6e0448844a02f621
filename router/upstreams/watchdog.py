"""Deadlines of one reply for the price of a clock reading per chunk."""

import asyncio
from collections.abc import Callable

from router.config.schema import Timeouts


class Watchdog:
    """Calls `expire` once when the body is late: first byte, pause between chunks, or in total.

    One timer lives per reply; `fed` only notes the time, and the timer re-arms itself for what is left. Cancelling and
    re-arming a timer for every chunk would cost more than forwarding the chunk.
    """

    __slots__ = ("_expire", "_idle_at", "_idle_s", "_loop", "_timer", "_total_at")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, timeouts: Timeouts, *, started: float, expire: Callable[[], None]
    ) -> None:
        self._loop, self._expire = loop, expire
        self._idle_s = timeouts.between_chunks_s
        self._total_at = started + timeouts.total_s
        self._idle_at = started + timeouts.first_byte_s
        self._timer: asyncio.TimerHandle | None = loop.call_at(min(self._idle_at, self._total_at), self._ring)

    def fed(self) -> None:
        """A chunk has arrived."""
        self._idle_at = self._loop.time() + self._idle_s

    def pause(self) -> None:
        """The reader is busy elsewhere: only the total counts until `fed` is called again."""
        self._idle_at = self._total_at

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        due = min(self._idle_at, self._total_at)
        if self._loop.time() < due - 0.001:
            self._timer = self._loop.call_at(due, self._ring)
        else:
            self._timer = None
            self._expire()
