"""The store goes away and comes back: a clear refusal or answers that are logged later, never a silent loss."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import pytest_asyncio
from asking import Got, asked, chat, eventually, until
from running import RunningGateway, children_of, fake_config

from router.store.embedded import EmbeddedValkey
from router.upstreams.fake import FakeServer

BACK_S = 15.0

pytestmark = pytest.mark.asyncio


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    """A store of its own, as `store.url` would name one; the test stops and starts it."""
    with EmbeddedValkey(tmp_path / "valkey", holder="reader") as server:
        yield server


@pytest_asyncio.fixture
async def upstream() -> AsyncIterator[FakeServer]:
    async with FakeServer() as server:
        yield server


@pytest_asyncio.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as client:
        yield client


@asynccontextmanager
async def served(
    folder: Path, upstream: FakeServer, store: dict[str, Any], *, workers: int = 1
) -> AsyncIterator[RunningGateway]:
    config = fake_config(upstream.base_url, encoder={"name": "static"}, store=store)
    gateway = RunningGateway(folder, config, workers=workers)
    try:
        yield await asyncio.to_thread(gateway.start)
    finally:
        await asyncio.to_thread(gateway.stop)


async def export(gateway: RunningGateway, *options: str) -> dict[str, dict[str, Any]]:
    """Rows of the log by client request id, each there once."""
    rows = await asyncio.to_thread(gateway.export, "--config", str(gateway.config_file), *options)
    found = {row["client_request_id"]: row for row in rows}
    assert len(found) == len(rows)
    return found


async def ask(session: aiohttp.ClientSession, gateway: RunningGateway, client_id: str, **more: Any) -> Got:
    return await chat(session, gateway.url, asked(**more), client_id=client_id)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_without_its_store_the_gateway_says_503_and_calls_nobody(
    valkey: EmbeddedValkey, upstream: FakeServer, session: aiohttp.ClientSession, tmp_path: Path, stream: bool
) -> None:
    async with served(tmp_path, upstream, {"url": valkey.url}) as gateway:
        assert (await ask(session, gateway, "before", stream=stream)).is_complete
        valkey.stop()
        refused = await ask(session, gateway, "down", stream=stream)
        assert (refused.status, refused.error["code"]) == (503, "store_unavailable")
        assert int(refused.headers["retry-after"]) >= 1
        assert await status_of(session, gateway, "/readyz") == 503
        assert await status_of(session, gateway, "/healthz") == 200
        assert len(upstream.requests) == 1
        valkey.start()
        await eventually(lambda: is_ready(session, gateway), within_s=BACK_S, what="ready again")
        assert (await ask(session, gateway, "after", stream=stream)).is_complete
        rows = await export(gateway, "--open")
    assert {name: row["status"] for name, row in rows.items()} == {"before": "ok", "after": "ok"}


async def status_of(session: aiohttp.ClientSession, gateway: RunningGateway, path: str) -> int:
    async with session.get(gateway.url + path) as answer:
        if answer.status != 200:
            assert orjson.loads(await answer.read())["error"].keys() == {"message", "type", "param", "code"}
        return answer.status


async def is_ready(session: aiohttp.ClientSession, gateway: RunningGateway) -> bool:
    return await status_of(session, gateway, "/readyz") == 200


async def test_an_answer_under_way_when_the_store_goes_is_given_and_logged_later(
    valkey: EmbeddedValkey, upstream: FakeServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with served(tmp_path, upstream, {"url": valkey.url}) as gateway:
        slow = {"first_s": 1.0}
        asking = [ask(session, gateway, f"slow-{stream}", stream=stream, fake=slow) for stream in (False, True)]
        under_way = asyncio.gather(*asking)
        await until(lambda: len(upstream.requests) == 2, within_s=5, what="two requests are under way")
        valkey.stop()
        assert all(got.is_complete for got in await under_way)
        valkey.start()
        await eventually(lambda: is_logged(gateway, "slow-True"), within_s=BACK_S, what="the rows are in the log")
        rows = await export(gateway, "--open")
    assert [(row["status"], row["output_tokens"]) for row in rows.values()] == [
        ("ok", seen.tokens_served) for seen in upstream.requests
    ]


async def is_logged(gateway: RunningGateway, client_id: str) -> bool:
    return client_id in await export(gateway)


async def test_told_to_serve_without_it_the_gateway_answers_and_logs_when_it_is_back(
    valkey: EmbeddedValkey, upstream: FakeServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with served(tmp_path, upstream, {"url": valkey.url, "when_down": "serve"}) as gateway:
        valkey.stop()
        for number in range(10):
            assert (await ask(session, gateway, f"down-{number}", stream=number % 2 == 0)).is_complete
        assert await status_of(session, gateway, "/readyz") == 200
        valkey.start()
        await eventually(lambda: is_logged(gateway, "down-9"), within_s=BACK_S, what="the rows are in the log")
        rows = await export(gateway, "--open")
    assert {name: row["status"] for name, row in rows.items()} == {f"down-{number}": "ok" for number in range(10)}


@pytest.mark.parametrize("end", [RunningGateway.kill, RunningGateway.stop], ids=["kill_9", "sigterm"])
async def test_what_was_answered_without_a_store_survives_the_gateways_end(
    valkey: EmbeddedValkey, upstream: FakeServer, session: aiohttp.ClientSession, tmp_path: Path, end: Any
) -> None:
    async with served(tmp_path, upstream, {"url": valkey.url, "when_down": "serve"}) as gateway:
        valkey.stop()
        for number in range(5):
            assert (await ask(session, gateway, f"down-{number}")).is_complete
        await asyncio.to_thread(end, gateway)
        valkey.start()
        await asyncio.to_thread(gateway.start)
        await eventually(lambda: is_logged(gateway, "down-4"), within_s=BACK_S, what="the rows are in the log")
        rows = await export(gateway, "--open")
    assert {name: row["status"] for name, row in rows.items()} == {f"down-{number}": "ok" for number in range(5)}


async def test_a_gateway_told_to_serve_starts_without_its_store(
    valkey: EmbeddedValkey, upstream: FakeServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    valkey.stop()
    async with served(tmp_path, upstream, {"url": valkey.url, "when_down": "serve"}) as gateway:
        assert (await ask(session, gateway, "first")).is_complete
        valkey.start()
        await eventually(lambda: is_logged(gateway, "first"), within_s=BACK_S, what="the row is in the log")


async def test_an_embedded_store_that_is_killed_comes_back_with_every_row(
    upstream: FakeServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with served(tmp_path, upstream, {}, workers=2) as gateway:
        for number in range(10):
            assert (await ask(session, gateway, f"before-{number}")).is_complete
        (server,) = [pid for pid in children_of(gateway.pid) if is_valkey(pid)]
        os.kill(server, signal.SIGKILL)
        await eventually(lambda: is_answered(session, gateway), within_s=BACK_S, what="the store is back")
        rows = await asyncio.to_thread(gateway.export, "--open")
    before = [row["status"] for row in rows if (row["client_request_id"] or "").startswith("before")]
    assert before == ["ok"] * 10


def is_valkey(pid: int) -> bool:
    return b"valkey-server" in Path(f"/proc/{pid}/cmdline").read_bytes()


async def is_answered(session: aiohttp.ClientSession, gateway: RunningGateway) -> bool:
    got = await chat(session, gateway.url, asked())
    assert got.status in (200, 503)
    return got.is_complete
