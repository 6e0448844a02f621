"""Deadlines of one reply for the price of a clock reading per chunk."""

import asyncio
from collections.abc import Callable

from router.config.schema import Timeouts

LOOK_S = 1.0


class Watchdog:
    """Calls `expire` once when the body is late (first byte, pause between chunks, in total) or its connection is gone.

    One timer lives per reply; `fed` only notes the time, and the timer re-arms itself for what is left. Cancelling and
    re-arming a timer for every chunk would cost more than forwarding the chunk.
    """

    __slots__ = ("_alive", "_due", "_expire", "_idle_at", "_idle_s", "_loop", "_timer", "_total_at")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        timeouts: Timeouts,
        *,
        started: float,
        expire: Callable[[], None],
        alive: Callable[[], bool],
    ) -> None:
        self._loop, self._expire, self._alive = loop, expire, alive
        self._idle_s = timeouts.between_chunks_s
        self._total_at = started + timeouts.total_s
        self._idle_at = started + timeouts.first_byte_s
        self._timer: asyncio.TimerHandle | None = None
        self._arm()

    def fed(self) -> None:
        """A chunk has arrived, and the next is waited for."""
        self._idle_at = self._loop.time() + self._idle_s
        if self._idle_at < self._due:
            self._arm()  # only after the first byte, whose deadline is longer

    def pause(self) -> None:
        """The reader is busy elsewhere: only the total counts until `fed` is called again."""
        self._idle_at = self._total_at

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self.stop()
        self._due = min(self._idle_at, self._total_at, self._loop.time() + LOOK_S)
        self._timer = self._loop.call_at(self._due, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._loop.time() < min(self._idle_at, self._total_at) - 0.001 and self._alive():
            self._arm()
        else:
            self._expire()
