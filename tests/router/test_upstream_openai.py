"""The direct client against a real socket: deadlines, cancelling, keys, redirects and connections."""

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest
import pytest_asyncio

from router.config.schema import Deployment, Timeouts
from router.upstreams.base import Call, UpstreamError
from router.upstreams.fake import FakeServer
from router.upstreams.openai import OpenAIUpstream, open_session

PATIENT = Timeouts()


@pytest_asyncio.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with FakeServer() as server:
        yield server


@pytest_asyncio.fixture
async def upstream(server: FakeServer) -> AsyncIterator[OpenAIUpstream]:
    deployment = Deployment(base_url=server.base_url + "/", api_key="key-1", headers={"x-team": "a"})
    async with open_session() as session:
        yield OpenAIUpstream("m#0", deployment, session)


def call(*, stream: bool = False, content: str = "hi", **fake: object) -> Call:
    body = {"model": "m", "messages": [{"role": "user", "content": content}], "stream": stream, "fake": fake}
    return Call(body=body, raw=orjson.dumps(body), stream=stream, request_id="req-1")


async def whole(upstream: OpenAIUpstream, asked: Call, timeouts: Timeouts) -> bytes:
    reply = await upstream.send(asked, timeouts)
    return b"".join([chunk async for chunk in reply.chunks()])


@pytest.mark.asyncio
async def test_a_request_carries_key_headers_and_request_id_and_nothing_of_a_browser(
    server: FakeServer, upstream: OpenAIUpstream
) -> None:
    await (await upstream.send(call(), PATIENT)).read()
    headers = server.requests[0].headers
    assert set(headers) == {
        *("host", "authorization", "x-team", "x-request-id", "content-type", "content-length", "accept-encoding")
    }
    assert (headers["authorization"], headers["x-request-id"]) == ("Bearer key-1", "req-1")
    assert headers["accept-encoding"] == "identity"


@pytest.mark.asyncio
async def test_bytes_arrive_as_they_were_sent(upstream: OpenAIUpstream) -> None:
    raw = await whole(upstream, call(stream=True, fault="crlf_and_comments"), PATIENT)
    assert raw.count(b": hi\r\nevent: message\r\n") == raw.count(b"data: ")


@pytest.mark.asyncio
async def test_a_body_of_megabytes_arrives_whole(server: FakeServer, upstream: OpenAIUpstream) -> None:
    await (await upstream.send(call(content="x" * 3_000_000), PATIENT)).read()
    assert len(server.requests[0].body["messages"][0]["content"]) == 3_000_000
    assert "transfer-encoding" not in server.requests[0].headers


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("late", "timeouts"),
    [
        ({"fault": "hang_before_status"}, Timeouts(first_byte_s=0.1)),
        ({"fault": "hang_before_first_event"}, Timeouts(first_byte_s=0.1)),
        ({"fault": "hang_after_events"}, Timeouts(between_chunks_s=0.1)),
        ({"pace_s": 0.05, "chunks": 100, "text": "word " * 100}, Timeouts(total_s=0.3)),
    ],
)
async def test_each_deadline_holds(upstream: OpenAIUpstream, late: dict[str, object], timeouts: Timeouts) -> None:
    loop = asyncio.get_running_loop()
    started = loop.time()
    with pytest.raises(UpstreamError) as caught:
        await whole(upstream, call(stream=True, **late), timeouts)
    assert caught.value.kind == "timeout"
    assert 0.09 < loop.time() - started < 1.0


@pytest.mark.asyncio
async def test_a_stream_longer_than_its_pauses_lives(upstream: OpenAIUpstream) -> None:
    timeouts = Timeouts(first_byte_s=0.15, between_chunks_s=0.15, total_s=5)
    raw = await whole(upstream, call(stream=True, pace_s=0.03, chunks=12, text="word " * 12), timeouts)
    assert raw.endswith(b"[DONE]\n\n")


@pytest.mark.asyncio
async def test_a_slow_reader_is_not_a_slow_upstream(upstream: OpenAIUpstream) -> None:
    timeouts = Timeouts(between_chunks_s=0.05)
    reply = await upstream.send(call(stream=True, pace_s=0.01), timeouts)
    chunks = reply.chunks()
    await anext(chunks)
    await asyncio.sleep(0.15)  # what is measured: a pause on our side
    assert [chunk async for chunk in chunks]


@pytest.mark.asyncio
async def test_nobody_listening_is_connect_and_never_reached() -> None:
    async with FakeServer() as gone:
        url = gone.base_url
    async with open_session() as session:
        with pytest.raises(UpstreamError) as caught:
            await OpenAIUpstream("m#0", Deployment(base_url=url), session).send(call(), PATIENT)
    assert (caught.value.kind, caught.value.reached, caught.value.retryable) == ("connect", False, True)


@pytest.mark.asyncio
async def test_an_unknown_host_is_connect_and_never_reached() -> None:
    async with open_session() as session:
        upstream = OpenAIUpstream("m#0", Deployment(base_url="http://nowhere.invalid/v1"), session)
        with pytest.raises(UpstreamError) as caught:
            await upstream.send(call(), PATIENT)
    assert (caught.value.kind, caught.value.reached) == ("connect", False)


async def hung_up(server: FakeServer) -> float:
    """Seconds until the server notices that its peer left."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with asyncio.timeout(2):
        await server.until(lambda: server.requests[0].closed_early)
    return loop.time() - started


@pytest.mark.asyncio
async def test_closing_a_stream_cancels_the_generation(server: FakeServer, upstream: OpenAIUpstream) -> None:
    reply = await upstream.send(call(stream=True, pace_s=0.01, chunks=1000, text="word " * 1000), PATIENT)
    await anext(reply.chunks())
    await reply.aclose()
    assert await hung_up(server) < 1.0
    assert server.requests[0].tokens_served < 100


@pytest.mark.asyncio
async def test_cancelling_before_the_status_cancels_the_generation(
    server: FakeServer, upstream: OpenAIUpstream
) -> None:
    task = asyncio.create_task(upstream.send(call(first_s=5), PATIENT))
    await server.until(lambda: bool(server.requests))
    task.cancel()
    assert await hung_up(server) < 1.0
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.asyncio
async def test_a_redirect_is_never_followed_so_the_key_stays(server: FakeServer, upstream: OpenAIUpstream) -> None:
    with pytest.raises(UpstreamError) as caught:
        await upstream.send(call(fault="redirect_307"), PATIENT)
    assert (caught.value.kind, len(server.requests)) == ("garbage", 1)


@pytest.mark.asyncio
@pytest.mark.parametrize("stop_at_done", [False, True])
async def test_connections_are_used_again(server: FakeServer, upstream: OpenAIUpstream, stop_at_done: bool) -> None:
    for _ in range(5):
        reply = await upstream.send(call(stream=True, pace_s=0.001), PATIENT)
        async for chunk in reply.chunks():
            if stop_at_done and chunk.endswith(b"[DONE]\n\n"):
                break
        await reply.aclose()
        await asyncio.sleep(0.02)  # lets the end of the chunked body arrive
    assert len(server._connections) == 1


@pytest.mark.asyncio
async def test_probe_costs_no_completion(server: FakeServer, upstream: OpenAIUpstream) -> None:
    await upstream.probe()
    assert server.requests == []


async def broken_chunk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A sound chunk, and in a packet of its own a chunk header that is none."""
    await reader.readuntil(b"\r\n\r\n")
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    writer.write(head + b"5\r\nhello\r\n")
    await asyncio.sleep(0.02)
    writer.write(b"zz\r\nnot a chunk")
    writer.close()


@pytest.mark.asyncio
async def test_a_chunk_that_breaks_later_is_a_cut_and_no_wait_for_the_deadline() -> None:
    server = await asyncio.start_server(broken_chunk, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, open_session() as session:
        reply = await OpenAIUpstream("m#0", Deployment(base_url=url), session).send(call(), PATIENT)
        with pytest.raises(UpstreamError) as caught:
            async with asyncio.timeout(5):
                await reply.read()
    assert caught.value.kind == "cut"
