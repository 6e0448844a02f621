"""Whatever a client sends: 200 or a 4xx with an OpenAI error object, soon, and the gateway goes on."""

import asyncio
import runpy
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import pytest_asyncio
from asking import CHAT, Got, asked, post, send_raw
from running import RunningGateway, fake_config

from router.upstreams.fake import FakeServer

pytestmark = pytest.mark.asyncio(loop_scope="module")
CORPUS = runpy.run_path(str(Path(__file__).parents[1] / "malformed.py"))
good = CORPUS["good"]
ANSWER_S = 2.0
BODY_BYTES, HEADER_BYTES = 2_000_000, 16_384
SLOW_S = 1.0
LIMITS = {"body_bytes": BODY_BYTES, "header_bytes": HEADER_BYTES, "header_s": SLOW_S, "body_s": SLOW_S}
BODIES = (*CORPUS["CASES"], *CORPUS["mutations"](seed=1, n=150))
HEADS = CORPUS["HEADS"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningGateway]:
    async with FakeServer() as upstream:
        config = fake_config(upstream.base_url, server={"limits": LIMITS}, encoder={"name": "static"})
        running = RunningGateway(tmp_path_factory.mktemp("malformed"), config)
        try:
            yield await asyncio.to_thread(running.start)
        finally:
            assert await asyncio.to_thread(running.stop) == 0


def problem_of(case: Any, got: Got) -> str | None:
    """What is wrong with the answer to a case, if anything."""
    # A name that is text but no model's is the one mistake a client may also be told with a 404.
    allowed = case.allowed | {404}
    if got.status not in allowed:
        return f"{case.name}: {got.status}, expected one of {sorted(allowed)}: {got.body[:200]!r}"
    if got.status == 404 and got.error["code"] not in ("model_not_found", "not_found"):
        return f"{case.name}: 404 {got.error['code']}"
    if got.status >= 400 and not got.error["message"]:
        return f"{case.name}: an error without words"
    return None


async def problems_of(gateway: RunningGateway, cases: Sequence[Any], *, bodies: bool) -> list[str]:
    found = []
    for case in cases:
        try:
            got = await send_raw(gateway.port, post(case.body) if bodies else case.body, within_s=ANSWER_S)
        except (TimeoutError, EOFError, OSError) as error:
            found.append(f"{case.name}: no answer ({type(error).__name__})")
        else:
            found += filter(None, [problem_of(case, got)])
    return found


async def still_answers(gateway: RunningGateway) -> None:
    async with aiohttp.ClientSession() as session, session.post(gateway.url + CHAT, json=asked()) as answer:
        assert answer.status == 200
        assert (await answer.json())["choices"][0]["finish_reason"] == "stop"


async def test_there_are_enough_cases() -> None:
    assert len({case.name for case in (*BODIES, *HEADS)}) == len(BODIES) + len(HEADS) >= 250
    assert len({case.body for case in BODIES}) >= 250


async def test_every_odd_body_is_answered_or_refused_as_openai_does(gateway: RunningGateway) -> None:
    assert await problems_of(gateway, BODIES, bodies=True) == []
    await still_answers(gateway)


@pytest.mark.accept
async def test_ten_thousand_mutations_are_answered_or_refused(gateway: RunningGateway) -> None:
    cases = list(CORPUS["mutations"](seed=2, n=10_000))
    assert await problems_of(gateway, cases, bodies=True) == []
    await still_answers(gateway)


async def test_every_odd_head_is_refused(gateway: RunningGateway) -> None:
    assert await problems_of(gateway, HEADS, bodies=False) == []
    await still_answers(gateway)


async def test_odd_bodies_leave_no_row_that_never_ends(gateway: RunningGateway) -> None:
    await problems_of(gateway, BODIES, bodies=True)
    rows = await asyncio.to_thread(gateway.export, "--open")
    assert {row["status"] for row in rows} <= {"ok", "error"}
    assert all(row["http_status"] < 500 for row in rows)


async def test_a_slow_head_is_cut(gateway: RunningGateway) -> None:
    drops = [post(good())[at : at + 1] for at in range(60)]
    got = await send_raw(gateway.port, *drops, pause_s=0.1, within_s=SLOW_S + ANSWER_S)
    assert (got.status, got.error["code"]) == (408, "request_timeout")
    assert got.seconds >= SLOW_S * 0.9
    await still_answers(gateway)


async def test_a_slow_body_is_cut(gateway: RunningGateway) -> None:
    whole = post(good())
    at = whole.index(b"\r\n\r\n") + 4
    drops = [whole[:at], *(whole[at + n : at + n + 1] for n in range(60))]
    got = await send_raw(gateway.port, *drops, pause_s=0.1, within_s=SLOW_S + ANSWER_S)
    assert (got.status, got.error["code"]) == (408, "request_timeout")
    await still_answers(gateway)


async def test_a_body_declared_too_long_is_refused_before_it_is_sent(gateway: RunningGateway) -> None:
    head = post(b"").replace(b"content-length: 0", b"content-length: %d" % (BODY_BYTES + 1))
    got = await send_raw(gateway.port, head, within_s=ANSWER_S)
    assert (got.status, got.error["code"]) == (413, "request_too_large")


async def test_a_chunked_body_is_counted(gateway: RunningGateway) -> None:
    head = post(b"").replace(b"content-length: 0", b"transfer-encoding: chunked")
    chunk = b"%x\r\n%s\r\n" % (100_000, b" " * 100_000)
    got = await send_raw(gateway.port, head, *[chunk] * 30, within_s=ANSWER_S)
    assert (got.status, got.error["code"]) == (413, "request_too_large")
    await still_answers(gateway)


async def test_a_head_too_large_is_refused(gateway: RunningGateway) -> None:
    got = await send_raw(gateway.port, post(good(), "x-pad: " + "a" * HEADER_BYTES), within_s=ANSWER_S)
    assert (got.status, got.error["code"]) == (431, "headers_too_large")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (good(messages=[{"role": "user", "content": "x"}] * 2001), "messages"),
        (good(n=9), "n"),
        (good(tools=[{"type": "function", "function": {"name": "f"}}] * 257), "tools"),
        (good(model=5), "model"),
    ],
)
async def test_what_is_too_much_is_named(gateway: RunningGateway, body: bytes, param: str) -> None:
    got = await send_raw(gateway.port, post(body), within_s=ANSWER_S)
    assert (got.status, got.error["param"]) == (400, param)


async def test_many_slow_clients_do_not_stand_in_the_way(gateway: RunningGateway) -> None:
    half = post(good())[:-10]
    slow = [asyncio.create_task(send_raw(gateway.port, half, within_s=SLOW_S + ANSWER_S)) for _ in range(100)]
    await still_answers(gateway)
    assert {(await each).status for each in slow} == {408}


async def test_requests_sent_together_are_answered_in_their_order(gateway: RunningGateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(post(good()) + post(b"[]") + post(good()))
    statuses = []
    for _ in range(3):
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), ANSWER_S)
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        orjson.loads(await reader.readexactly(length))
        statuses.append(int(head.split()[1]))
    writer.close()
    assert statuses == [200, 400, 200]
