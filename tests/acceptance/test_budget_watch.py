"""Real gateways that share a store: all know one pace, and a webhook is told once, whoever saw the level first."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from asking import asked, chat
from running import RunningGateway, fake_config
from test_budgets import shown

from router.store.embedded import embedded_url
from router.upstreams.fake import FakeServer

N_REQUESTS = 40
LIMIT_USD = 0.002  # some hundred answers

pytestmark = [pytest.mark.asyncio, pytest.mark.accept, pytest.mark.timeout(180)]


@pytest_asyncio.fixture
async def told() -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """A webhook's URL, and what it was told."""
    heard: list[dict[str, Any]] = []

    async def hear(request: web.Request) -> web.Response:
        heard.append(json.loads(await request.read()))
        return web.Response(status=500 if len(heard) == 1 else 204)  # the first time it fails

    app = web.Application()
    app.router.add_post("/hook", hear)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook", heard
    await runner.cleanup()


async def test_two_gateways_know_one_pace_and_tell_once(tmp_path: Path, told: tuple[str, list[dict[str, Any]]]) -> None:
    hook, heard = told
    async with FakeServer() as upstream:
        tree = fake_config(
            upstream.base_url,
            encoder={"name": "static"},
            tenants={"default": {"budgets": [{"per": "month", "usd": LIMIT_USD, "pace": True}]}},
            alerts={"webhook": hook, "levels": [10, 99]},
        )
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
        with RunningGateway(tmp_path / "one", tree, workers=2) as one:
            shared = {**tree, "store": {"url": embedded_url(one.store_dir)}}
            with RunningGateway(tmp_path / "two", shared, workers=2) as two:
                async with aiohttp.ClientSession() as session:
                    for number in range(N_REQUESTS):
                        got = await chat(session, (one, two)[number % 2].url, asked(max_tokens=40))
                        assert got.status == 200
                await asyncio.sleep(8.0)  # a few looks of every worker, and the hook's second chance
                found = shown(one)
                series = [gateway.get("/metrics").decode() for gateway in (one, two)]
    assert found["spent_usd"] > 0.1 * LIMIT_USD
    assert found["pace"] >= 1.0
    assert all('gearshift_budget_pace{owner="tenant \'default\'",per="month"}' in text for text in series)
    assert [each["level_percent"] for each in heard] == [10, 10]  # once refused, once taken
    assert len({each["id"] for each in heard}) == 1
