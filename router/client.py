"""The client's side of an exchange: whether it is still there, and how many may be there at once."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Self

from router.errors import RateLimited, Unavailable
from router.metrics import Metrics
from router.tenants import Caller

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class ClientWatch:
    """Cancels the current task when the client goes away, so that the upstream stops working for nobody.

    ``gone`` tells such a cancellation from a shutdown's.
    """

    def __init__(self, receive: Receive) -> None:
        self.gone = False
        self._receive = receive
        self._serving = asyncio.current_task()
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        self._task = asyncio.create_task(self._wait())
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """From here on the client may leave without a consequence."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self._serving is not None and self._task is not None:
            self.gone = True
            self._serving.cancel()


class Admission:
    """Bounds the requests in flight, in all and per tenant: an overloaded gateway says so at once."""

    def __init__(self, metrics: Metrics) -> None:
        self.draining = False
        self._metrics = metrics
        self._total = 0
        self._by_tenant: Counter[str] = Counter()

    @contextmanager
    def enter(self, caller: Caller, *, limit: int) -> Iterator[None]:
        """Hold a place for the length of the request.

        Raises:
            Unavailable: The gateway drains, or has ``limit`` requests in flight.
            RateLimited: The tenant has as many in flight as it may.
        """
        if self.draining:
            raise Unavailable("this gateway is shutting down; ask another one", code="draining", retry_after_s=1)
        if self._total >= limit:
            raise Unavailable(f"{limit} requests are in flight here; try again", code="overloaded", retry_after_s=1)
        most = caller.config.concurrency
        if most is not None and self._by_tenant[caller.tenant] >= most:
            raise RateLimited(f"tenant {caller.tenant!r} has {most} requests in flight, its limit", retry_after_s=1)
        self._count(caller.tenant, 1)
        try:
            yield
        finally:
            self._count(caller.tenant, -1)

    def _count(self, tenant: str, step: int) -> None:
        self._total += step
        self._by_tenant[tenant] += step
        self._metrics.inflight.inc(step)
