"""Every upstream answers and fails alike; the scripted server and its in-process twin are the reference."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
import pytest_asyncio

from router.config.schema import Deployment, Timeouts
from router.upstreams.base import Call, Upstream, UpstreamError
from router.upstreams.fake import FAULTS, FakeServer, FakeUpstream
from router.upstreams.openai import OpenAIUpstream, open_session

PATIENT = Timeouts()
QUICK = Timeouts(connect_s=0.5, first_byte_s=0.15, between_chunks_s=0.15, total_s=0.6)


@pytest_asyncio.fixture(params=["openai", "fake"])
async def upstream(request: pytest.FixtureRequest) -> AsyncIterator[Upstream]:
    if request.param == "fake":
        yield FakeUpstream("m#0", Deployment(upstream="fake"))
        return
    async with FakeServer() as server, open_session() as session:
        yield OpenAIUpstream("m#0", Deployment(base_url=server.base_url, api_key="k"), session)


def call(*, stream: bool = False, path: str = "/chat/completions", request_id: str = "r1", **more: Any) -> Call:
    body = {"model": "m", "messages": [{"role": "user", "content": "say something"}], "stream": stream, **more}
    if stream:
        body["stream_options"] = {"include_usage": True}
    return Call(body=body, raw=orjson.dumps(body), stream=stream, request_id=request_id, path=path)


def events(raw: bytes) -> list[dict[str, Any]]:
    lines = [line[6:] for line in raw.splitlines() if line.startswith(b"data: ")]
    assert lines[-1] == b"[DONE]"
    return [orjson.loads(line) for line in lines[:-1]]


async def streamed(upstream: Upstream, asked: Call, timeouts: Timeouts = QUICK) -> bytes:
    reply = await upstream.send(asked, timeouts)
    return b"".join([chunk async for chunk in reply.chunks()])


@pytest.mark.asyncio
async def test_a_plain_answer_is_whole(upstream: Upstream) -> None:
    reply = await upstream.send(call(), QUICK)
    answer = orjson.loads(await reply.read())
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] > 0


@pytest.mark.asyncio
async def test_a_stream_ends_with_finish_usage_and_done(upstream: Upstream) -> None:
    seen = events(await streamed(upstream, call(stream=True)))
    assert seen[-2]["choices"][0]["finish_reason"] == "stop"
    assert seen[-1]["choices"] == []
    assert seen[-1]["usage"]["completion_tokens"] > 0


@pytest.mark.asyncio
async def test_parallel_tool_calls_arrive_in_pieces(upstream: Upstream) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {}}}}}
    seen = events(await streamed(upstream, call(stream=True, tools=[tool], fake={"tool_calls": 2})))
    pieces = [part for event in seen for choice in event["choices"] for part in choice["delta"].get("tool_calls", [])]
    arguments = ["".join(p["function"]["arguments"] for p in pieces if p["index"] == at) for at in (0, 1)]
    assert [orjson.loads(text) for text in arguments] == [{"a": "fake"}, {"a": "fake"}]


@pytest.mark.asyncio
async def test_embeddings_pass(upstream: Upstream) -> None:
    body = {"model": "m", "input": ["one", "two"]}
    asked = Call(body=body, raw=orjson.dumps(body), stream=False, request_id="r", path="/embeddings")
    data = orjson.loads(await (await upstream.send(asked, QUICK)).read())["data"]
    assert [len(row["embedding"]) for row in data] == [8, 8]


@pytest.mark.asyncio
async def test_closing_twice_is_harmless(upstream: Upstream) -> None:
    reply = await upstream.send(call(stream=True), QUICK)
    await reply.aclose()
    await reply.aclose()


def sad_faults() -> list[tuple[str, bool]]:
    return [(name, stream) for name, fault in FAULTS.items() for stream in (False, True) if fault.fits(stream=stream)]


@pytest.mark.asyncio
@pytest.mark.parametrize(("fault", "stream"), sad_faults())
async def test_a_fault_is_an_upstream_error_of_the_right_kind(upstream: Upstream, fault: str, stream: bool) -> None:
    """What the bytes alone can tell: senseless JSON inside a sound body is the relay's to find."""
    expect, asked = FAULTS[fault].expect, call(stream=stream, fake={"fault": fault})
    kind = "none"
    try:
        async with asyncio.timeout(3):
            reply = await upstream.send(asked, PATIENT if "slow" in fault else QUICK)
            _ = [chunk async for chunk in reply.chunks()] if stream else await reply.read()
    except UpstreamError as error:
        kind = error.kind
    wanted = kind_expected(fault)
    seen_later = not wanted and (stream or fault.startswith(("body_", "error_200", "length_too_short")))
    assert kind == wanted or (wanted is None and kind != "none") or (kind == "none" and (expect == "ok" or seen_later))


def kind_expected(fault: str) -> str | None:
    prefixes = {"status_204": "garbage", "redirect": "garbage", "html_200": "garbage", "gzip": "garbage"}
    prefixes |= {
        "drip": "timeout",
        "reset_": "cut",
        "status_": "status",
        "empty_": "status",
        "retry_after": "status",
        "hang_": "timeout",
        "cut_": "cut",
    }
    return next((kind for prefix, kind in prefixes.items() if fault.startswith(prefix)), None)


@pytest.mark.asyncio
async def test_the_clients_own_mistake_is_handed_on(upstream: Upstream) -> None:
    with pytest.raises(UpstreamError) as caught:
        await upstream.send(call(fake={"fault": "context_length"}), QUICK)
    assert caught.value.client_error is not None
    assert caught.value.client_error["code"] == "context_length_exceeded"
    assert not caught.value.retryable


@pytest.mark.asyncio
async def test_html_never_reaches_a_message(upstream: Upstream) -> None:
    with pytest.raises(UpstreamError) as caught:
        await upstream.send(call(fake={"fault": "html_502"}), QUICK)
    assert "secret" not in str(caught.value)
    assert caught.value.client_error is None
    assert caught.value.retryable


@pytest.mark.asyncio
async def test_a_second_attempt_of_the_same_request_can_succeed(upstream: Upstream) -> None:
    asked = call(fake={"fault": ["status_500", None]})
    with pytest.raises(UpstreamError):
        await upstream.send(asked, QUICK)
    assert (await upstream.send(asked, QUICK)).status == 200
