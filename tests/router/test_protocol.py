"""The bounded HTTP protocol over real sockets: refusals are OpenAI error objects, and no client holds on for ever."""

import asyncio
import runpy
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
import uvicorn

from router.config.schema import Limits
from router.http.asgi import ClientGone, end_stream, read_body, send_body, send_chunk, start_stream
from router.http.boundary import ErrorBoundary
from router.http.protocol import make_protocol

HEADS = runpy.run_path(str(Path(__file__).parents[1] / "malformed.py"))["HEADS"]
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
pytestmark = pytest.mark.asyncio


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the length of the body."""
    body = await read_body(receive, dict(scope["headers"]), Limits())
    await send_body(send, 200, b"%d" % len(body))


@asynccontextmanager
async def serving(app: Any = echo, *, keep_alive_s: int = 5, limits: Limits, **options: Any) -> AsyncIterator[int]:
    """A real server on a free port."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        ErrorBoundary(app),
        http=make_protocol(limits, **options),
        lifespan="off",
        log_config=None,
        timeout_keep_alive=keep_alive_s,
        timeout_graceful_shutdown=1,
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    try:
        yield listener.getsockname()[1]
    finally:
        await server.shutdown(sockets=[listener])


async def talk(port: int, *pieces: bytes) -> bytes:
    """Send pieces and read until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()


def status(wire: bytes) -> int:
    return int(wire.split(b" ", 2)[1])


def error(wire: bytes) -> dict[str, Any]:
    """The error object of one whole answer; its framing and its closing are checked."""
    head, _, body = wire.partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head
    assert b"connection: close" in head
    assert f"content-length: {len(body)}".encode() in head
    found: dict[str, Any] = orjson.loads(body)["error"]
    assert set(found) == {"message", "type", "param", "code"}
    return found


def post(body: bytes, *headers: bytes) -> bytes:
    lines = b"".join(header + b"\r\n" for header in headers)
    return b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n%s\r\n" % (len(body), lines) + body


@pytest.mark.parametrize(
    "wire",
    [
        b"hello\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost x\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nhost: x\r\n\r\n",
    ],
)
async def test_malformed_http_is_an_error_object(wire: bytes) -> None:
    async with serving(limits=Limits()) as port:
        answer = await talk(port, wire)
    assert (status(answer), error(answer)["code"]) == (400, "malformed_http")


@pytest.mark.parametrize("case", [case for case in HEADS if not case.allowed & {404, 405}], ids=lambda case: case.name)
async def test_every_named_head_is_refused_by_the_protocol(case: Any) -> None:
    async with serving(limits=Limits()) as port:
        answer = await talk(port, case.body)
    assert status(answer) in case.allowed
    assert error(answer)["message"]


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    "head", [b"GET /%s HTTP/1.1\r\nhost: x\r\n", b"GET / HTTP/1.1\r\nx: %s\r\n", b"GET / HTTP/1.1\r\nx%s: 1\r\n"]
)
async def test_a_head_over_its_limit_is_431_whole_or_not(head: bytes, whole: bool) -> None:
    wire = head % (b"a" * 3000) + (b"\r\n" if whole else b"")
    async with serving(limits=Limits(header_bytes=2000)) as port:
        answer = await talk(port, *(wire[at : at + 700] for at in range(0, len(wire), 700)))
    assert (status(answer), error(answer)["code"]) == (431, "headers_too_large")


async def test_a_head_under_its_limit_may_come_with_a_long_body() -> None:
    async with serving(limits=Limits(header_bytes=500)) as port:
        answer = await talk(port, post(b"x" * 60_000, b"connection: close"))
    assert status(answer) == 200
    assert answer.endswith(b"60000")


async def test_an_unfinished_head_is_cut_in_time() -> None:
    async with serving(limits=Limits(header_s=0.1)) as port:
        answer = await talk(port, b"GET / HTTP/1.1\r\nhost: ")
    assert (status(answer), error(answer)["code"]) == (408, "request_timeout")


async def test_a_connection_that_says_nothing_is_closed_in_time() -> None:
    async with serving(limits=Limits(header_s=0.1)) as port:
        assert await talk(port) == b""


async def test_line_ends_do_not_keep_a_connection_alive() -> None:
    async with serving(limits=Limits(header_s=0.1)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        await reader.readuntil(b"\r\n\r\n0")
        writer.write(b"\r\n")
        assert status(await asyncio.wait_for(reader.read(), 3)) == 408
        writer.close()


async def test_an_idle_connection_is_closed_after_its_answer() -> None:
    async with serving(limits=Limits(), keep_alive_s=0) as port:
        answer = await talk(port, GET)
    assert status(answer) == 200
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_a_declared_body_over_its_limit_is_413_before_it_is_sent() -> None:
    wire = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 99000000000\r\nexpect: 100-continue\r\n\r\n"
    async with serving(limits=Limits()) as port:
        answer = await talk(port, wire)
    assert (status(answer), error(answer)["code"]) == (413, "request_too_large")


async def test_a_counted_body_over_its_limit_is_413_and_can_be_read() -> None:
    piece = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
    head = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    async with serving(limits=Limits(body_bytes=100_000)) as port:
        answer = await talk(port, head, *([piece] * 40))
    assert (status(answer), error(answer)["code"]) == (413, "request_too_large")


async def test_the_app_learns_that_a_refused_client_is_gone() -> None:
    gone: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await read_body(receive, {}, Limits())
        except ClientGone:
            gone.set_result(True)
            raise

    async with serving(app, limits=Limits()) as port:
        await talk(port, b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n")
        assert await asyncio.wait_for(gone, 5)


async def test_junk_behind_a_request_does_not_spoil_its_answer() -> None:
    async with serving(limits=Limits()) as port:
        answer = await talk(port, GET + b"junk\r\n\r\n")
    assert (status(answer), answer.count(b"HTTP/1.1 ")) == (200, 1)
    assert answer.endswith(b"\r\n\r\n0")


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with serving(limits=Limits()) as port:
        answer = await talk(port, post(b"a") + post(b"bb") + post(b"ccc", b"connection: close"))
    assert [part[-1:] for part in answer.split(b"HTTP/1.1 200 OK")[1:]] == [b"1", b"2", b"3"]


async def test_one_connection_too_many_is_told_503() -> None:
    async with serving(limits=Limits(), connections=1) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        answer = await talk(port)
        writer.close()
    assert (status(answer), error(answer)["code"]) == (503, "overloaded")
    assert b"retry-after: 1\r\n" in answer


async def test_a_client_that_does_not_read_is_cut_off() -> None:
    ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await start_stream(send)
        for _ in range(200):
            await send_chunk(send, b"x" * 100_000)
        await end_stream(send)
        ended.set_result(True)

    async with serving(app, limits=Limits(), write_stall_s=0.2) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(GET)
        assert await asyncio.wait_for(ended, 5)
        writer.close()


async def test_an_upgrade_is_not_taken_up() -> None:
    headers = (b"connection: upgrade", b"upgrade: websocket", b"sec-websocket-key: x", b"sec-websocket-version: 13")
    wire = b"GET / HTTP/1.1\r\nhost: x\r\n" + b"".join(header + b"\r\n" for header in headers) + b"\r\n"
    async with serving(limits=Limits()) as port:
        assert status(await talk(port, wire)) == 200
