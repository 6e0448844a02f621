"""The scripted upstream as a real HTTP server on the loopback, with a record of every request that reached it."""

import asyncio
import itertools
import socket
import struct
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Self

import orjson

from router.upstreams.fake_faults import FAULTS
from router.upstreams.fake_http import framing, head_of, last_bytes, take_request
from router.upstreams.fake_plan import Part, Plan, error_plan, json_plan, plan_for
from router.upstreams.fake_script import Script

BODY_BYTES = 64_000_000


@dataclass(slots=True)
class Seen:
    """One request that reached the fake, and what became of it.

    Attributes:
        attempt: How many requests with the same x-request-id came before.
        tokens_served: Tokens of the events (or the whole body) that were handed to the socket.
        finished: The whole answer left; closed_early: the peer hung up before that.
    """

    number: int
    path: str
    request_id: str
    model: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    attempt: int
    fault: str | None = None
    status: int = 0
    tokens_served: int = 0
    finished: bool = False
    closed_early: bool = False


class FakeServer:
    """Serve a script: ``async with FakeServer(script) as server: server.base_url``.

    ``GET /__fake/requests`` answers the record, without headers and bodies, for tests in another process.
    """

    def __init__(self, script: Script | None = None, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.script = script or Script({})
        self.requests: list[Seen] = []
        self._host, self._port = host, port
        self._server: asyncio.Server | None = None
        self._attempts: Counter[str] = Counter()
        self._numbers = itertools.count()
        self._connections: set[_Connection] = set()
        self._changed = asyncio.Event()

    @property
    def port(self) -> int:
        """The bound port."""
        return self._port

    @property
    def base_url(self) -> str:
        return f"http://{self._host}:{self._port}/v1"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def start(self) -> None:
        """Bind and listen. Raises OSError when the port is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), self._host, self._port, backlog=1024)
        self._port = self._server.sockets[0].getsockname()[1]

    async def aclose(self) -> None:
        """Stop listening and drop every connection."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.drop()
        if self._server is not None:
            await self._server.wait_closed()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something on record, e.g. ``lambda: server.requests[0].closed_early``."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    def changed(self) -> None:
        """The record has changed: whoever waits looks again."""
        self._changed.set()

    def plan(self, method: str, path: str, headers: Mapping[str, str], raw: bytes) -> tuple[Plan, Seen | None]:
        """What to answer to a request; a model request is put on record."""
        if path == "/__fake/requests":
            hidden = ("headers", "body")
            rows = [{key: value for key, value in asdict(seen).items() if key not in hidden} for seen in self.requests]
            return json_plan(rows), None
        if method == "GET" and path.endswith("/models"):
            return json_plan(
                {"object": "list", "data": [{"id": name, "object": "model"} for name in self._models()]}
            ), None
        try:
            body = orjson.loads(raw)
            answer = self.script.answer(body)
        except (orjson.JSONDecodeError, ValueError, AttributeError, TypeError):
            return error_plan(400, "the body is not a request the scripted upstream understands"), None
        seen = self._record(path, headers, body)
        seen.fault = answer.fault_of(seen.attempt)
        request_id = seen.request_id or str(seen.number)
        return planned(path, body, answer, fault=seen.fault, request_id=request_id), seen

    def _models(self) -> list[str]:
        return sorted(self.script.by_model) or ["fake"]

    def _record(self, path: str, headers: Mapping[str, str], body: Mapping[str, Any]) -> Seen:
        request_id = headers.get("x-request-id", "")
        seen = Seen(
            number=next(self._numbers),
            path=path,
            request_id=request_id,
            model=str(body.get("model")),
            headers=headers,
            body=body,
            attempt=self._attempts[request_id] if request_id else 0,
        )
        self._attempts[request_id] += 1
        self.requests.append(seen)
        self.changed()
        return seen


def planned(path: str, body: Mapping[str, Any], answer: Any, *, fault: str | None, request_id: str) -> Plan:
    """The answer with its fault; a request the fake cannot answer, or an unknown fault, gets a 400."""
    try:
        plan = plan_for(path, body, answer, request_id=request_id)
    except (KeyError, TypeError, ValueError, AttributeError):
        return error_plan(400, "the body is not a request the scripted upstream understands")
    if fault is None:
        return plan
    if fault not in FAULTS or not FAULTS[fault].fits(stream=plan.stream):
        return error_plan(400, f"no fault {fault!r} for this request")
    return FAULTS[fault].apply(plan)


class _Connection(asyncio.Protocol):
    """Requests of one connection, one after the other."""

    def __init__(self, server: FakeServer) -> None:
        self._server = server
        self._buffer = bytearray()
        self._transport: asyncio.Transport
        self._task: asyncio.Task[None] | None = None
        self._seen: Seen | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server._connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._server._connections.discard(self)
        if self._seen is not None and not self._seen.finished:
            self._seen.closed_early = True
            self._server.changed()
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._task is None:
            self._next()

    def drop(self) -> None:
        """Close without waiting."""
        self._transport.abort()

    def _next(self) -> None:
        request = take_request(self._buffer)
        if request is None:
            if len(self._buffer) > BODY_BYTES:
                self.drop()
            return
        method, path, headers, raw = request
        plan, self._seen = self._server.plan(method, path, headers, raw)
        if plan.before == "" and plan.end == "complete" and not plan.first_s and not any(p.wait_s for p in plan.parts):
            self._answer_at_once(plan)
        else:
            self._task = asyncio.get_running_loop().create_task(self._answer(plan))
            self._task.add_done_callback(_ignore_cancel)

    def _answer_at_once(self, plan: Plan) -> None:
        frame = framing(plan)
        self._transport.write(head_of(plan) + b"".join(frame(part.data) for part in plan.parts) + last_bytes(plan))
        if self._seen is not None:
            self._seen.status, self._seen.finished = plan.status, True
            self._seen.tokens_served = sum(part.tokens for part in plan.parts)
        self._after(plan)

    async def _answer(self, plan: Plan) -> None:
        if plan.first_s:
            await asyncio.sleep(plan.first_s)
        if not await self._begin(plan):
            return
        self._transport.write(head_of(plan))
        frame = framing(plan)
        for part in plan.parts:
            await self._part(part, frame)
        if plan.end == "hang":
            await asyncio.Event().wait()
        if plan.end == "reset":
            await asyncio.sleep(0.02)  # a reset throws away what the peer has not read yet
        if plan.end == "bad_chunk":
            self._transport.write(b"zz\r\nnot a chunk")
        if plan.end == "complete":
            self._transport.write(last_bytes(plan))
        if self._seen is not None:
            self._seen.finished = plan.end == "complete"
        self._after(plan)

    async def _begin(self, plan: Plan) -> bool:
        """Break before the status line if the plan says so; whether the answer goes on."""
        if plan.before == "hang":
            await asyncio.Event().wait()
        if plan.before:
            self._seen = None  # we hang up, not the peer
        if plan.before == "half_headers":
            self._transport.write(head_of(plan)[:30])
        if plan.before == "not_http":
            self._transport.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
        if plan.before == "reset":
            _reset(self._transport)
        elif plan.before:
            self._transport.close()
        return not plan.before

    async def _part(self, part: Part, frame: Callable[[bytes], bytes]) -> None:
        if part.wait_s:
            await asyncio.sleep(part.wait_s if part.wait_s > 1e-4 else 0)
        self._transport.write(frame(part.data))
        if self._seen is not None:
            self._seen.tokens_served += part.tokens

    def _after(self, plan: Plan) -> None:
        if self._seen is not None:
            self._seen.status = plan.status
        self._seen, self._task = None, None
        if plan.end == "reset":
            _reset(self._transport)
        elif plan.end != "complete" or plan.length == -1:
            self._transport.close()
        elif self._buffer:
            self._next()


def _reset(transport: asyncio.Transport) -> None:
    found = transport.get_extra_info("socket")
    if found is not None:
        # No linger: the kernel sends RST, not FIN.
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _ignore_cancel(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.result()
