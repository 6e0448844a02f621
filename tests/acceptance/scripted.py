"""The scripted upstream in a thread of its own, for tests whose client blocks."""

import asyncio
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from router.upstreams.fake import FakeServer, Seen


class ScriptedUpstream:
    """A `FakeServer` that answers while the test waits for the gateway."""

    def __init__(self) -> None:
        self.server = FakeServer()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def base_url(self) -> str:
        return self.server.base_url

    @property
    def last(self) -> Seen:
        """The request that reached it last."""
        return self.server.requests[-1]

    def until(self, condition: Callable[[], bool], *, within_s: float) -> None:
        """Wait for something on record. Raises TimeoutError."""
        self._run(self.server.until(condition), within_s=within_s)

    def _run(self, step: Any, *, within_s: float = 10.0) -> None:
        asyncio.run_coroutine_threadsafe(asyncio.wait_for(step, within_s), self._loop).result()

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self.server.start())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._run(self.server.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
