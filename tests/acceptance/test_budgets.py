"""A budget against the upstream's own bill: bursts of 64 clients on two workers, clients that leave, and kill -9."""

import asyncio
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from asking import Got, asked, chat
from running import RunningGateway, fake_config

from router.upstreams.fake import FakeServer, Seen
from router.upstreams.fake_script import usage_of

CLIENTS = 64
ABORTS = 0.15
MAX_TOKENS = 40
INPUT, OUTPUT = 100, 400  # nano-USD a token of the small model; large costs ten times that

pytestmark = pytest.mark.asyncio


def request(rng: random.Random, *, first_s: float = 0.02) -> dict[str, Any]:
    fake = {"first_s": first_s, "chunks": 8, "pace_s": 0.005}
    return asked(stream=rng.random() < 0.5, max_tokens=MAX_TOKENS, fake=fake)


def bound() -> int:
    """What the longest of these requests reserves on small, in nano-USD."""
    longest = asked(stream=False, max_tokens=MAX_TOKENS, fake={"first_s": 0.02, "chunks": 8, "pace_s": 0.005})
    return (len(orjson.dumps(longest)) + 256) * INPUT + MAX_TOKENS * OUTPUT


def bill(seen: Sequence[Seen]) -> int:
    """What the upstream would ask for, in nano-USD: every prompt that reached it, and every token that left it."""
    total = 0
    for each in seen:
        factor = 10 if each.model == "large" else 1
        prompt = usage_of(each.body, [])["prompt_tokens"]
        total += factor * (prompt * INPUT + each.tokens_served * OUTPUT)
    return total


def shown(gateway: RunningGateway) -> dict[str, Any]:
    """`gearshift budget show --json` of the only tenant, up or down."""
    command = [str(Path(sys.executable).parent / "gearshift"), "budget", "show", "--json"]
    done = subprocess.run(
        [*command, "--config", str(gateway.config_file), "--store-dir", str(gateway.store_dir)],
        capture_output=True, check=False, timeout=60, env=os.environ.copy(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    (window,) = json.loads(done.stdout)["default"]["windows"]
    return dict(window)


def budgeted(base_url: str, nano_usd: int, *models: str) -> dict[str, Any]:
    tenants = {"default": {"explore": 1.0, "budgets": [{"per": "month", "usd": nano_usd / 1e9}]}}
    return fake_config(base_url, models=models or ("small", "large"), encoder={"name": "static"}, tenants=tenants)


async def burst(url: str, rng: random.Random, *, first_s: float = 0.02, aborts: float = ABORTS) -> list[Got | None]:
    """All clients at once; those that leave do it at a random moment."""

    async def one(session: aiohttp.ClientSession) -> Got | None:
        asking = chat(session, url, request(rng, first_s=first_s))
        if rng.random() >= aborts:
            return await asking
        try:
            return await asyncio.wait_for(asking, rng.uniform(0.01, 0.08))
        except TimeoutError:
            return None

    connector = aiohttp.TCPConnector(limit=CLIENTS)
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        return list(await asyncio.gather(*(one(session) for _ in range(CLIENTS))))


def ends(answers: Sequence[Got | None]) -> Counter[str]:
    """How many were answered whole, refused for the budget, or left or broke off."""
    found: Counter[str] = Counter()
    for got in answers:
        if got is not None and got.is_complete:
            found["answered"] += 1
        elif got is not None and got.status == 429:
            assert got.error["code"] == "budget_exceeded"
            found["refused"] += 1
        else:
            found["other"] += 1
    return found


@pytest.mark.slow
async def test_sixty_four_clients_of_two_workers_stay_inside_a_budget_for_twelve(tmp_path: Path) -> None:
    rng = random.Random(1)
    async with FakeServer() as upstream:
        gateway = RunningGateway(tmp_path, budgeted(upstream.base_url, 12 * bound(), "small"), workers=2)
        await asyncio.to_thread(gateway.start)
        try:
            first = ends(await burst(gateway.url, rng, first_s=1.0, aborts=0.0))
            up = await asyncio.to_thread(shown, gateway)
        finally:
            await asyncio.to_thread(gateway.stop)
        down = await asyncio.to_thread(shown, gateway)
    assert first["answered"] + first["refused"] == CLIENTS
    assert 12 <= first["answered"] <= 16, "shorter requests reserve a little less; those that ended gave room back"
    assert up == down
    assert up["reserved_nano_usd"] == 0
    assert bill(upstream.requests) == up["spent_nano_usd"] <= up["limit_nano_usd"]


@pytest.mark.accept
@pytest.mark.timeout(300)
async def test_without_kills_the_ledger_is_within_a_tenth_of_the_upstreams_bill(tmp_path: Path) -> None:
    rng = random.Random(2)
    async with FakeServer() as upstream:
        gateway = RunningGateway(tmp_path, budgeted(upstream.base_url, 10_000 * bound()), workers=2)
        await asyncio.to_thread(gateway.start)
        try:
            for _ in range(8):
                await burst(gateway.url, rng)
        finally:
            await asyncio.to_thread(gateway.stop)
        window = await asyncio.to_thread(shown, gateway)
    assert window["reserved_nano_usd"] == 0
    assert bill(upstream.requests) == pytest.approx(window["spent_nano_usd"], rel=0.1)


@pytest.mark.accept
@pytest.mark.timeout(600)
async def test_ten_kills_overspend_nothing_and_leave_nothing_reserved(tmp_path: Path) -> None:
    rng = random.Random(3)
    async with FakeServer() as upstream:
        gateway = RunningGateway(tmp_path, budgeted(upstream.base_url, 300 * bound()), workers=2)
        await asyncio.to_thread(gateway.start)
        try:
            for _ in range(10):
                load = asyncio.create_task(burst(gateway.url, rng))
                await asyncio.sleep(rng.uniform(0.02, 0.3))  # the moment of the kill is the experiment
                await asyncio.to_thread(gateway.kill)
                await load
                await asyncio.to_thread(gateway.start)
            last = ends(await burst(gateway.url, rng))
        finally:
            await asyncio.to_thread(gateway.stop)
        window = await asyncio.to_thread(shown, gateway)
    assert window["reserved_nano_usd"] == 0
    assert bill(upstream.requests) <= window["spent_nano_usd"] <= window["limit_nano_usd"]
    assert last["answered"] + last["refused"] + last["other"] == CLIENTS
