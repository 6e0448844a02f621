"""A budget against the upstream's own bill: bursts of 64 clients on three gateways, clients that leave, and kill -9."""

import asyncio
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import redis
from asking import Got, asked, chat, eventually
from running import RunningGateway, fake_config

from router.store.embedded import EmbeddedValkey
from router.store.keys import scope_of
from router.store.reconcile import reconcile
from router.upstreams.fake import FakeServer, Seen
from router.upstreams.fake_script import usage_of

CLIENTS = 64
GATEWAYS, STARTED_S = 3, 120.0
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


def budget(gateway: RunningGateway, *command: str) -> Any:
    """What `gearshift budget ... --json` tells, up or down; its exit status is 0."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "gearshift"), "budget", *command, "--json",
         "--config", str(gateway.config_file), "--store-dir", str(gateway.store_dir)],
        capture_output=True, check=False, timeout=60, env=os.environ.copy(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def shown(gateway: RunningGateway) -> dict[str, Any]:
    """The window of the only tenant."""
    (window,) = budget(gateway, "show")["default"]["windows"]
    return dict(window)


def stated(gateway: RunningGateway) -> set[int]:
    """Nano-USD of the month as the statement has them: its total, that of its groups, its entries and the counter."""
    told = budget(gateway, "statement", "--window", "month", "--by", "model", "--by", "hour")
    (window,) = told["windows"]
    groups = sum(each["nano_usd"] for each in told["groups"])
    return {told["total"]["nano_usd"], groups, window["entries_nano_usd"], window["counter_nano_usd"]}


def budgeted(base_url: str, nano_usd: int, *models: str) -> dict[str, Any]:
    tenants = {"default": {"explore": 1.0, "budgets": [{"per": "month", "usd": nano_usd / 1e9}]}}
    return fake_config(base_url, models=models or ("small", "large"), encoder={"name": "static"}, tenants=tenants)


async def burst(
    urls: Sequence[str], rng: random.Random, *, first_s: float = 0.02, aborts: float = ABORTS
) -> list[Got | None]:
    """All clients at once; those that leave do it at a random moment."""

    async def one(session: aiohttp.ClientSession, n: int) -> Got | None:
        asking = chat(session, urls[n % len(urls)], request(rng, first_s=first_s))
        if rng.random() >= aborts:
            return await asking
        try:
            return await asyncio.wait_for(asking, rng.uniform(0.01, 0.08))
        except TimeoutError:
            return None

    connector = aiohttp.TCPConnector(limit=CLIENTS)
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        return list(await asyncio.gather(*(one(session, n) for n in range(CLIENTS))))


def ends(answers: Sequence[Got | None]) -> Counter[str]:
    """How many were answered whole, refused for the budget, or left or broke off."""
    found: Counter[str] = Counter()
    for got in answers:
        if got is not None and got.is_complete:
            found["answered"] += 1
        elif got is not None and got.whole and got.status == 429:
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
            first = ends(await burst([gateway.url], rng, first_s=1.0, aborts=0.0))
            up = await asyncio.to_thread(shown, gateway)
        finally:
            await asyncio.to_thread(gateway.stop)
        down = await asyncio.to_thread(shown, gateway)
    assert first["answered"] + first["refused"] == CLIENTS
    assert 12 <= first["answered"] <= 16, "shorter requests reserve a little less; those that ended gave room back"
    assert up == down
    assert up["reserved_nano_usd"] == 0
    assert bill(upstream.requests) == up["spent_nano_usd"] <= up["limit_nano_usd"]


@dataclass
class Fleet:
    gateways: list[RunningGateway]
    upstream: FakeServer
    server: EmbeddedValkey
    folder: Path

    @property
    def store_url(self) -> str:
        return self.server.url

    async def burst(self, rng: random.Random, *, first_s: float = 0.02, aborts: float = ABORTS) -> Counter[str]:
        urls = [gateway.url for gateway in self.gateways]
        return ends(await burst(urls, rng, first_s=first_s, aborts=aborts))

    async def window(self) -> dict[str, Any]:
        """Once nothing is reserved: what dead gateways left is closed when nobody heard of them for 15 s."""

        async def free() -> bool:
            return (await asyncio.to_thread(shown, self.gateways[0]))["reserved_nano_usd"] == 0

        await eventually(free, within_s=60, what="no reservation is held any more")
        return await asyncio.to_thread(shown, self.gateways[0])

    async def ended(self, status: str) -> int:
        """How many outcomes of the log have this status."""

        def count() -> int:
            with redis.Redis.from_url(self.store_url) as client:
                entries = client.xrange(scope_of("default").log)
                return sum(orjson.loads(fields[b"j"]).get("status") == status for _, fields in entries)

        return await asyncio.to_thread(count)

    async def agrees(self) -> bool:
        """Whether statement, entries of the log and counters are equal, and the first is of all that was spent."""
        reconciled = await asyncio.to_thread(reconcile, self.store_url, self.folder)
        spent = (await asyncio.to_thread(shown, self.gateways[0]))["spent_nano_usd"]
        return reconciled.agrees and await asyncio.to_thread(stated, self.gateways[0]) == {spent}


@asynccontextmanager
async def fleet(folder: Path, nano_usd: int, *models: str, outage: int | None = None) -> AsyncIterator[Fleet]:
    """Three gateways of one store and one budget, and the upstream that all of them ask.

    Args:
        outage: Nano-USD that each sets aside for outages of the store.
    """
    async with FakeServer() as upstream:
        with EmbeddedValkey(folder / "store") as server:
            # Nothing is archived meanwhile: the whole log is in the streams.
            config = {**budgeted(upstream.base_url, nano_usd, *models), "store": {"url": server.url, "archive_s": 3600}}
            config["tenants"]["default"]["outage_usd"] = None if outage is None else outage / 1e9
            gateways = [RunningGateway(folder_of(folder, n), config) for n in range(GATEWAYS)]
            try:
                await asyncio.gather(*(asyncio.to_thread(gateway.start, within_s=STARTED_S) for gateway in gateways))
                yield Fleet(gateways, upstream, server, folder)
            finally:
                for gateway in gateways:
                    await asyncio.to_thread(gateway.stop)


def folder_of(folder: Path, n: int) -> Path:
    mine = folder / f"gateway-{n}"
    mine.mkdir()
    return mine


@pytest.mark.accept
@pytest.mark.timeout(300)
async def test_three_gateways_share_a_budget_for_twelve_and_use_nine_tenths_of_it(tmp_path: Path) -> None:
    rng, limit = random.Random(2), 12 * bound()
    async with fleet(tmp_path, limit, "small") as them:
        first = await them.burst(rng, first_s=2.0, aborts=0.0)
        assert 12 <= first["answered"] <= 16, "shorter requests reserve a little less; those that ended gave room back"
        assert first["answered"] + first["refused"] == CLIENTS
        turn = cycle(gateway.url for gateway in them.gateways)
        async with aiohttp.ClientSession() as session:
            while (got := await chat(session, next(turn), request(rng))).status == 200:
                assert got.is_complete
        left = limit - bill(them.upstream.requests)
        window = await them.window()
        assert (got.status, got.error["code"]) == (429, "budget_exceeded")
        assert 0 <= left < 2 * bound(), "nobody is refused while two bounds remain"
        assert bill(them.upstream.requests) == window["spent_nano_usd"] >= 0.9 * limit
        assert await them.agrees()


@pytest.mark.accept
@pytest.mark.timeout(300)
async def test_without_kills_the_ledger_is_within_a_tenth_of_the_upstreams_bill(tmp_path: Path) -> None:
    rng = random.Random(3)
    async with fleet(tmp_path, 10_000 * bound()) as them:
        ended = [await them.burst(rng) for _ in range(8)]
        window = await them.window()
        assert sum(each["refused"] for each in ended) == 0
        assert sum(each["other"] for each in ended) >= 0.05 * 8 * CLIENTS, "clients did leave"
        assert bill(them.upstream.requests) == pytest.approx(window["spent_nano_usd"], rel=0.1)
        assert await them.agrees()


@pytest.mark.accept
@pytest.mark.timeout(900)
async def test_twenty_kills_overspend_nothing_and_leave_nothing_reserved(tmp_path: Path) -> None:
    rng, limit = random.Random(4), 3_000 * bound()
    async with fleet(tmp_path, limit) as them:
        for n in range(20):
            load = asyncio.create_task(them.burst(rng))
            await asyncio.sleep(rng.uniform(0.02, 0.3))  # the moment of the kill is the experiment
            victim = them.gateways[n % GATEWAYS]
            await asyncio.to_thread(victim.kill)
            await load
            await asyncio.to_thread(victim.start, within_s=STARTED_S)
        killed = await them.window()
        assert bill(them.upstream.requests) <= killed["spent_nano_usd"] <= limit
        assert await them.agrees()
        assert await them.ended("unknown_after_crash") >= 20, "the kills met requests"
        last = Counter(answered=1)
        while last["answered"]:
            last = await them.burst(rng, aborts=0.0)
        window = await them.window()
        assert bill(them.upstream.requests) <= window["spent_nano_usd"] <= limit
        assert limit - window["spent_nano_usd"] < 2 * bound(), "what is left is too little for two requests"
        assert await them.agrees()


@pytest.mark.accept
@pytest.mark.timeout(300)
async def test_while_the_store_is_down_what_was_set_aside_is_spent_and_no_more(tmp_path: Path) -> None:
    rng, limit, aside = random.Random(5), 200 * bound(), 12 * bound()
    async with fleet(tmp_path, limit, "small", outage=aside) as them:

        async def stands(reserved: int) -> bool:
            return bool((await asyncio.to_thread(shown, them.gateways[0]))["reserved_nano_usd"] == reserved)

        for kills in (False, True):
            await eventually(lambda: stands(GATEWAYS * aside), within_s=60, what="every gateway has set its part aside")
            before = bill(them.upstream.requests)
            await asyncio.to_thread(them.server.stop)
            ended = await them.burst(rng, first_s=0.5, aborts=0.0)
            assert GATEWAYS * 12 <= ended["answered"] <= GATEWAYS * 16, "shorter requests take a little less"
            assert ended["answered"] + ended["other"] == CLIENTS, "the others were told to come again"
            assert bill(them.upstream.requests) - before <= GATEWAYS * aside
            if kills:
                await asyncio.to_thread(them.gateways[0].kill)
            await asyncio.to_thread(them.server.start)
            if kills:
                await asyncio.to_thread(them.gateways[0].start, within_s=STARTED_S)
        await eventually(lambda: stands(GATEWAYS * aside), within_s=60, what="it is set aside anew")
        window, billed = await asyncio.to_thread(shown, them.gateways[0]), bill(them.upstream.requests)
        assert await them.ended("unknown_after_crash") == 1, "what the killed one had left"
        assert billed < window["spent_nano_usd"] <= billed + aside
        assert await them.agrees()
        for gateway in them.gateways:
            await asyncio.to_thread(gateway.stop)
        assert await stands(0)
