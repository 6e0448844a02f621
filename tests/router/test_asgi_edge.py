"""The edge around the app: bodies are bounded in size and time, and whatever escapes is an OpenAI error object."""

import asyncio
import logging
from typing import Any

import orjson
import pytest
from fastapi import FastAPI, HTTPException

from router.config.schema import Limits
from router.errors import ApiError, BodyTooLarge, BodyTooSlow, RateLimited
from router.http.asgi import ClientGone, end_stream, read_body, send_body, send_chunk, send_error, start_stream
from router.http.boundary import ErrorBoundary, install_error_handlers

pytestmark = pytest.mark.asyncio


class Client:
    """Plays the messages of a client and keeps what it is sent; after the last message it waits for ever."""

    def __init__(self, *pieces: bytes | None) -> None:
        self.sent: list[Any] = []
        self._messages = [
            {"type": "http.disconnect"}
            if piece is None
            else {"type": "http.request", "body": piece, "more_body": at < len(pieces) - 1}
            for at, piece in enumerate(pieces)
        ]

    async def receive(self) -> Any:
        if self._messages:
            return self._messages.pop(0)
        return await asyncio.get_running_loop().create_future()

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    def answer(self) -> tuple[int, dict[bytes, bytes], Any]:
        start, body = self.sent
        headers = dict(start["headers"])
        assert int(headers[b"content-length"]) == len(body["body"])
        return start["status"], headers, orjson.loads(body["body"])


async def test_a_body_is_put_together() -> None:
    assert await read_body(Client(b"ab", b"", b"c").receive, {b"content-length": b"3"}, Limits()) == b"abc"


@pytest.mark.parametrize("declared", [b"11", b"9" * 5000])
async def test_a_body_declared_too_long_is_not_waited_for(declared: bytes) -> None:
    with pytest.raises(BodyTooLarge):
        await read_body(Client().receive, {b"content-length": declared}, Limits(body_bytes=10))


async def test_a_body_is_counted_whatever_was_declared() -> None:
    with pytest.raises(BodyTooLarge):
        await read_body(Client(b"x" * 6, b"x" * 6).receive, {b"content-length": b"1"}, Limits(body_bytes=10))


async def test_a_slow_body_is_cut() -> None:
    client = Client(b"x", b"")
    client._messages.pop()
    with pytest.raises(BodyTooSlow):
        await read_body(client.receive, {}, Limits(body_s=0.02))


async def test_a_client_that_leaves_is_gone() -> None:
    with pytest.raises(ClientGone):
        await read_body(Client(b"x", None).receive, {}, Limits())


async def test_a_compressed_body_is_415() -> None:
    with pytest.raises(ApiError) as caught:
        await read_body(Client(b"x").receive, {b"content-encoding": b"gzip"}, Limits())
    assert caught.value.status == 415


async def test_an_error_says_when_to_come_back() -> None:
    client = Client()
    await send_error(client.send, RateLimited("slow down", retry_after_s=1.2), [(b"x-request-id", b"r")])
    status, headers, body = client.answer()
    assert (status, headers[b"retry-after"], headers[b"x-request-id"]) == (429, b"2", b"r")
    assert body["error"]["type"] == "rate_limit_error"


async def test_a_stream_begins_goes_on_and_ends() -> None:
    client = Client()
    await start_stream(client.send, [(b"x", b"y")])
    await send_chunk(client.send, b"a")
    await end_stream(client.send, b"b")
    assert [message.get("more_body", False) for message in client.sent] == [False, True, False]
    assert dict(client.sent[0]["headers"])[b"content-type"].startswith(b"text/event-stream")


async def through(app: Any, *, method: str = "GET", path: str = "/") -> Client:
    client = Client(b"")
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "headers": [], "state": {}}
    scope |= {"query_string": b"", "root_path": "", "scheme": "http", "server": ("x", 1), "http_version": "1.1"}
    await ErrorBoundary(app)(scope, client.receive, client.send)
    return client


def raising(error: Exception, *, after_start: bool = False) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if after_start:
            await start_stream(send)
        raise error

    return app


async def test_an_escaped_error_is_a_500_whose_text_goes_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        client = await through(raising(KeyError("canary")))
    status, _, body = client.answer()
    assert (status, body["error"]["type"]) == (500, "server_error")
    assert "canary" not in caplog.text + body["error"]["message"]
    assert "KeyError escaped" in caplog.text


async def test_our_own_error_keeps_its_status_and_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    assert (await through(raising(RateLimited("slow down")))).answer()[0] == 429
    assert not caplog.records


async def test_a_begun_answer_is_not_begun_again() -> None:
    assert len((await through(raising(RateLimited("late"), after_start=True))).sent) == 1


async def test_a_client_that_left_is_told_nothing() -> None:
    assert (await through(raising(ClientGone()))).sent == []


def framework_app() -> FastAPI:
    app = FastAPI()
    install_error_handlers(app)

    @app.get("/number")
    async def number(n: int) -> int:
        return n

    @app.get("/teapot")
    async def teapot() -> None:
        raise HTTPException(418, "short and stout")

    @app.get("/ours")
    async def ours() -> None:
        raise RateLimited("slow down", retry_after_s=3)

    @app.get("/bug")
    async def bug() -> None:
        raise ZeroDivisionError("canary")

    return app


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("POST", "/number", 405, "method_not_allowed"),
        ("GET", "/number", 400, "invalid_request"),
        ("GET", "/teapot", 418, "invalid_request"),
        ("GET", "/ours", 429, "rate_limit_exceeded"),
        ("GET", "/bug", 500, "internal_error"),
    ],
)
async def test_every_error_of_the_framework_is_an_error_object(method: str, path: str, status: int, code: str) -> None:
    got, _, body = (await through(framework_app(), method=method, path=path)).answer()
    assert (got, body["error"]["code"]) == (status, code)
    assert "canary" not in body["error"]["message"]


async def test_the_framework_keeps_its_headers_and_names_the_param() -> None:
    assert (await through(framework_app(), method="POST", path="/number")).answer()[1][b"allow"] == b"GET"
    assert (await through(framework_app(), path="/number")).answer()[2]["error"]["param"] == "n"
    assert (await through(framework_app(), path="/ours")).answer()[1][b"retry-after"] == b"3"


async def test_a_whole_answer_has_its_length() -> None:
    client = Client()
    await send_body(client.send, 200, b"{}")
    assert client.answer()[0] == 200
