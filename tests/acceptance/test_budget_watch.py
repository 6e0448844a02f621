"""Real gateways that share a store: all know one pace, and a webhook is told once, whoever saw the level first."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from asking import asked, chat, eventually
from running import RunningGateway, fake_config
from test_budgets import shown

from router.store.embedded import embedded_url
from router.upstreams.fake import FakeServer

N_REQUESTS = 40
LIMIT_USD = 0.0002  # fewer answers than are asked for
PACE = re.compile(r"""^gearshift_budget_pace{owner="tenant 'default'",per="month"} (\S+)$""", re.MULTILINE)

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


async def paces_of(session: aiohttp.ClientSession, *gateways: RunningGateway) -> list[float]:
    """What each gateway's series say of the budget's pace, if they do, and the pace of its decisions."""
    found = []
    for gateway in gateways:
        found += [float(told) for told in PACE.findall(gateway.get("/metrics").decode())]
        async with session.post(f"{gateway.url}/v1/decide", json=asked(max_tokens=40)) as got:
            found.append((await got.json())["pace"])
    return found


async def test_two_gateways_know_one_pace_and_tell_once(tmp_path: Path, told: tuple[str, list[dict[str, Any]]]) -> None:
    hook, heard = told
    budgets = [{"per": "month", "usd": LIMIT_USD, "pace": True}]
    async with FakeServer() as upstream:
        tree = fake_config(
            upstream.base_url,
            encoder={"name": "static"},
            tenants={"default": {"budgets": budgets, "when_spent": "cheapest"}},
            alerts={"webhook": hook, "levels": [10]},
        )
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
        with RunningGateway(tmp_path / "one", tree, workers=2) as one:
            shared = {**tree, "store": {"url": embedded_url(one.store_dir)}}
            with RunningGateway(tmp_path / "two", shared, workers=2) as two:
                async with aiohttp.ClientSession() as session:
                    before = await paces_of(session, one, two)
                    for _ in range(N_REQUESTS):  # the second gateway sees none of them, and has its pace of the first
                        assert (await chat(session, one.url, asked(max_tokens=40))).status == 200

                    async def know_one() -> bool:
                        paces = await paces_of(session, one, two)
                        return len(paces) == 4 and min(paces) > 1.0 and max(paces) == pytest.approx(min(paces))

                    await eventually(know_one, within_s=8.0, what="all tell one pace, which is above 1")
                    await asyncio.sleep(4.0)  # the hook's second chance, and a look of every worker after it
                    paces = await paces_of(session, one, two)
                found = shown(one)
    assert set(before) == {1.0}, "nothing was spent yet"
    assert found["left_usd"] < found["spent_usd"] / N_REQUESTS, "whatever the date: there is no money for another"
    assert paces == [pytest.approx(found["pace"])] * 4, "what the store has is what series and decisions have"
    assert [each["level_percent"] for each in heard] == [10, 10]  # once refused, once taken
    assert len({each["id"] for each in heard}) == 1
