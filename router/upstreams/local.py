"""The built-in model's endpoint: an OpenAI-wire process beside the gateway that may still load, or be restarting."""

import asyncio
from dataclasses import dataclass

import aiohttp

from router.config.schema import Deployment, Timeouts
from router.upstreams.base import Call, Reply, UpstreamError
from router.upstreams.openai import OpenAIUpstream

PROBE_EVERY_S = 0.1


@dataclass(slots=True)
class LocalNews:
    """What the supervisor last said of the local model's process.

    Attributes:
        problem: Why it does not run; empty while it loads or answers.
    """

    problem: str = ""


class LocalUpstream:
    """An `OpenAIUpstream` that says "loading" until its process answers, and again when that process is gone; or, where
    the supervisor knows, why there is none."""

    def __init__(
        self, name: str, deployment: Deployment, session: aiohttp.ClientSession, *, news: LocalNews | None = None
    ) -> None:
        self.name, self._news = name, news or LocalNews()
        self._inner = OpenAIUpstream(name, deployment, session)
        self._ready = False
        self._waiting: asyncio.Task[None] | None = None
        self._await_ready()

    def unready(self) -> str | None:
        """Why it cannot be called now, or None."""
        return None if self._ready else self._news.problem or "the local model is still loading"

    async def send(self, call: Call, timeouts: Timeouts) -> Reply:
        """As `OpenAIUpstream.send`; a refused connection means that the process is starting again."""
        try:
            return await self._inner.send(call, timeouts)
        except UpstreamError as error:
            if error.kind != "connect":
                raise
            self._ready = False
            self._await_ready()
            raise UpstreamError(self.name, "loading", retry_after_s=1.0, reached=False) from error

    async def probe(self) -> None:
        await self._inner.probe()
        self._ready = True

    async def aclose(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        await self._inner.aclose()

    def _await_ready(self) -> None:
        if self._waiting is None or self._waiting.done():
            self._waiting = asyncio.create_task(self._probe_until_ready(), name=f"{self.name}-loading")

    async def _probe_until_ready(self) -> None:
        while not self._ready:
            try:
                await self.probe()
            except UpstreamError:
                await asyncio.sleep(PROBE_EVERY_S)
