"""What the pipeline asks of an upstream: one call, one reply, and errors that say whether trying again is safe."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from router.config.schema import Timeouts


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt as it goes out.

    Attributes:
        body: The OpenAI chat body, already adapted to the arm (model name, mode, effort); upstreams do not change it.
        raw: The same body as bytes, ready to send.
        stream: Whether server-sent events are asked for.
        request_id: Sent upstream as ``x-request-id``.
    """

    body: Mapping[str, Any]
    raw: bytes
    stream: bool
    request_id: str
    path: str = "/chat/completions"


class Reply(Protocol):
    """An upstream's answer whose status is 200; the body is still to come."""

    status: int
    headers: Mapping[str, str]

    async def read(self) -> bytes:
        """The whole body. Raises UpstreamError when it is cut or late."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Bytes as they arrive, of any size. Raises UpstreamError when they are cut or late."""
        ...

    async def aclose(self) -> None:
        """Let go; an unfinished reply closes its connection, which cancels the generation upstream. Idempotent."""
        ...


class Upstream(Protocol):
    """A model endpoint we can call; one object per deployment, closed once."""

    name: str  # "<model>#<index>", e.g. "gpt-5-mini#0": safe to log, holds no key

    async def send(self, call: Call, timeouts: Timeouts) -> Reply:
        """Send and wait for the status line (connect and first-byte deadlines hold here).

        Raises:
            UpstreamError: Anything but a 200.
        """
        ...

    async def probe(self) -> None:
        """Raise UpstreamError unless the endpoint is there and accepts our key; never costs a completion."""
        ...

    async def aclose(self) -> None: ...


class UpstreamError(Exception):
    """An attempt that failed.

    Attributes:
        kind: ``connect``, ``timeout``, ``cut``, ``status``, ``garbage`` (not what the wire promises), ``loading``.
        status: The upstream's HTTP status, 0 if there was none.
        retryable: A further attempt could succeed, and none of the answer was handed on.
        retry_after_s: What the upstream asked for, if anything.
        client_error: The upstream's own OpenAI error object for a 400/404/409/413/422/429, safe to hand on; else None.
        busy: 429: the deployment is healthy but full (does not open the breaker).
    """

    def __init__(
        self,
        upstream: str,
        kind: str,
        *,
        status: int = 0,
        retryable: bool = False,
        retry_after_s: float | None = None,
        client_error: dict[str, Any] | None = None,
        reached: bool = True,
    ) -> None:
        super().__init__(f"upstream {upstream!r}: {kind}" + (f" (HTTP {status})" if status else ""))
        self.upstream, self.kind, self.status = upstream, kind, status
        self.retryable, self.retry_after_s, self.client_error = retryable, retry_after_s, client_error
        self.reached = reached  # False: the request certainly never arrived, so it costs nothing

    @property
    def busy(self) -> bool:
        return self.status == 429
