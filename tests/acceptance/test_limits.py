"""Limits over three worker processes on one store: a burst gets what one bucket holds, kill -9 frees what was open."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from asking import Got, asked, chat
from running import RunningGateway, fake_config

from router.upstreams.fake import FakeServer

WORKERS, CLIENTS = 3, 96
PER_MINUTE = 24

pytestmark = pytest.mark.asyncio


def limited(base_url: str, **caps: Any) -> dict[str, Any]:
    return fake_config(base_url, models=("small",), encoder={"name": "static"}, tenants={"default": caps})


async def burst(url: str, body: Mapping[str, Any], *, clients: int = CLIENTS) -> list[Got]:
    """All at once, each over a connection of its own, so that every worker gets some."""
    connector = aiohttp.TCPConnector(limit=clients, force_close=True)
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        return list(await asyncio.gather(*(chat(session, url, body) for _ in range(clients))))


def statuses(answers: list[Got]) -> Counter[int]:
    return Counter(got.status for got in answers)


@pytest.mark.accept
async def test_three_workers_let_a_burst_through_to_the_limit_and_no_further(tmp_path: Path) -> None:
    async with FakeServer() as upstream:
        gateway = RunningGateway(tmp_path, limited(upstream.base_url, requests_per_minute=PER_MINUTE), workers=WORKERS)
        await asyncio.to_thread(gateway.start)
        try:
            began = time.monotonic()
            first = await burst(gateway.url, asked(max_tokens=20))
            filled = (time.monotonic() - began) * PER_MINUTE / 60  # what came into the bucket at most meanwhile
            refused = [got for got in first if got.status == 429]
            wait_s = max(int(got.headers["retry-after"]) for got in refused)
            await asyncio.sleep(60 / PER_MINUTE + 0.1)  # time is what a rate is about
            second = await burst(gateway.url, asked(max_tokens=20), clients=6)
        finally:
            await asyncio.to_thread(gateway.stop)
        answered = statuses(first)[200]
        assert len(upstream.requests) == answered + statuses(second)[200], "who was refused reached no model"
    assert PER_MINUTE <= answered <= PER_MINUTE + int(filled)
    assert answered + len(refused) == CLIENTS
    assert {got.error["code"] for got in refused} == {"rate_limit_exceeded"}
    assert {got.headers["x-ratelimit-limit-requests"] for got in first} == {str(PER_MINUTE)}
    assert {got.headers["x-ratelimit-remaining-requests"] for got in refused} == {"0"}
    assert wait_s <= 3
    assert statuses(second)[200] >= 1


@pytest.mark.accept
async def test_a_killed_gateways_open_requests_are_open_no_more(tmp_path: Path) -> None:
    slow = asked(max_tokens=20, fake={"first_s": 30.0})
    async with FakeServer() as upstream:
        gateway = RunningGateway(tmp_path, limited(upstream.base_url, concurrency=5), workers=WORKERS)
        await asyncio.to_thread(gateway.start)
        try:
            held = asyncio.create_task(burst(gateway.url, slow, clients=20))
            async with asyncio.timeout(30):
                while len(upstream.requests) < 5:  # noqa: ASYNC110 - other processes are watched
                    await asyncio.sleep(0.02)
            over = await burst(gateway.url, asked(max_tokens=20), clients=6)
            await asyncio.to_thread(gateway.kill)
            await held
            assert len(upstream.requests) == 5
            await asyncio.to_thread(gateway.start)
            after = await burst(gateway.url, asked(max_tokens=20, fake={"first_s": 0.5}), clients=20)
        finally:
            await asyncio.to_thread(gateway.stop)
    assert statuses(over) == {429: 6}
    assert 5 <= statuses(after)[200] < 20, "five at a time, whoever was open before the kill"


@pytest.mark.accept
@pytest.mark.timeout(300)
async def test_three_workers_keep_one_share(tmp_path: Path) -> None:
    async with FakeServer() as upstream:
        config = limited(upstream.base_url, mode_shares={"reasoning": 0.2}, explore=1.0)
        config["models"]["small"] |= {"modes": ["instant", "reasoning"], "thinking": "reasoning_effort"}
        gateway = RunningGateway(tmp_path, config, workers=WORKERS)
        await asyncio.to_thread(gateway.start)
        try:
            answers = [got for _ in range(5) for got in await burst(gateway.url, asked(max_tokens=20))]
        finally:
            await asyncio.to_thread(gateway.stop)
        rows = await asyncio.to_thread(gateway.export)
    assert statuses(answers) == {200: 5 * CLIENTS}
    modes = Counter(got.headers["x-gearshift-mode"] for got in answers)
    assert 0.15 < modes["reasoning"] / modes.total() <= 0.2, "half would have been reasoning"
    assert len(rows) == 5 * CLIENTS
