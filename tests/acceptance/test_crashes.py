"""kill -9 under load: what a client got whole is logged once, what reached an upstream has one end; nothing else."""

import asyncio
import itertools
import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from asking import Got, asked, chat, eventually, until
from running import RunningGateway, fake_config

from router.upstreams.fake import FakeServer, Seen

CLIENTS = 16
ABORTS = 0.15
MEANWHILE_S = 0.05  # between two tries while the gateway is away
TERMINAL = {"ok", "error", "cancelled", "upstream_cut", "unknown_after_crash"}
Rows = list[dict[str, Any]]

pytestmark = pytest.mark.asyncio


@dataclass(slots=True)
class Load:
    """Clients that ask without a pause, each request under an id of its own, some of them hanging up in the middle.

    Attributes:
        got: What each request came to, by id.
    """

    url: str
    rng: random.Random
    got: dict[str, Got] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)
    _stop: bool = False

    async def run(self) -> None:
        numbers = itertools.count()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
            await asyncio.gather(*(self._client(session, numbers) for _ in range(CLIENTS)))

    def stop(self) -> None:
        """Let every client end what it asked last."""
        self._stop = True

    @property
    def complete(self) -> list[str]:
        """Ids of the answers that arrived whole."""
        return [client_id for client_id, got in self.got.items() if got.is_complete]

    async def _client(self, session: aiohttp.ClientSession, numbers: "itertools.count[int]") -> None:
        while not self._stop:
            client_id = f"client-{next(numbers)}"
            self.sent.append(client_id)
            got = await self._ask(session, client_id)
            if got is not None:
                self.got[client_id] = got
            if got is None or got.status == 0:
                await asyncio.sleep(MEANWHILE_S)

    async def _ask(self, session: aiohttp.ClientSession, client_id: str) -> Got | None:
        stream, leaves = self.rng.random() < 0.5, self.rng.random() < ABORTS
        pace = {"first_s": self.rng.uniform(0, 0.05), "chunks": 8, "pace_s": 0.005}
        body = asked(self.rng.choice(("auto", "small", "large")), stream=stream, user=client_id, fake=pace)
        asking = chat(session, self.url, body, client_id=client_id, leave_after=400 if leaves and stream else None)
        if not leaves or stream:
            return await asking
        try:
            return await asyncio.wait_for(asking, self.rng.uniform(0, 0.05))
        except TimeoutError:
            return None


def wrongs(load: Load, upstream: list[Seen], rows: Rows) -> list[str]:
    """Everything in which clients, upstream and log contradict each other."""
    by_id: dict[str, Rows] = {}
    for row in rows:
        by_id.setdefault(row["client_request_id"], []).append(row)
    reached: dict[str, list[Seen]] = {}
    for seen in upstream:
        reached.setdefault(str(seen.body["user"]), []).append(seen)
    found = [f"{client_id}: a row nobody asked for" for client_id in by_id.keys() - set(load.sent)]
    found += [f"{client_id}: {len(mine)} rows" for client_id, mine in by_id.items() if len(mine) != 1]
    found += [
        f"{client_id}: still {row['status']}" for client_id, (row, *_) in by_id.items() if row["status"] not in TERMINAL
    ]
    found += [f"{client_id}: reached an upstream, no row" for client_id in reached.keys() - by_id.keys()]
    found += [
        f"{row['client_request_id']}: served by nobody"
        for row in rows
        if row["status"] == "ok" and row["client_request_id"] not in reached
    ]
    for client_id in load.complete:
        mine, seen = by_id.get(client_id, []), reached[client_id][-1]
        if [(row["status"], row["output_tokens"]) for row in mine] != [("ok", seen.tokens_served)]:
            found.append(f"{client_id}: complete with {seen.tokens_served} tokens, logged as {mine}")
    return found


async def check(gateway: RunningGateway, load: Load, upstream: FakeServer) -> Counter[str]:
    """Compare with the gateway up and again with it down; returns how many requests ended in which way."""
    rows = await asyncio.to_thread(gateway.export, "--open")
    assert wrongs(load, upstream.requests, rows) == []
    assert await asyncio.to_thread(gateway.stop) == 0
    down = await asyncio.to_thread(gateway.export, "--open")
    assert {row["request_id"]: row for row in rows} == {row["request_id"]: row for row in down}
    assert len(rows) == len(down)
    return Counter(row["status"] for row in rows)


async def crash_cycles(
    tmp_path: Path,
    kill: Callable[[RunningGateway], None],
    *,
    cycles: int,
    seed: int,
    workers: int = 1,
    archive_s: float = 60.0,
) -> Counter[str]:
    """Load, with ``cycles`` kills at random moments, each followed by a start on what was left."""
    rng = random.Random(seed)
    async with FakeServer() as upstream:
        config = fake_config(upstream.base_url, encoder={"name": "static"}, store={"archive_s": archive_s})
        gateway = RunningGateway(tmp_path, config, workers=workers)
        await asyncio.to_thread(gateway.start)
        load = Load(gateway.url, random.Random(seed + 1))
        running = asyncio.create_task(load.run())
        try:
            for _ in range(cycles):
                await some_more(load, rng.randrange(50, 250))
                await asyncio.sleep(rng.uniform(0, 0.05))  # the moment of the kill is the experiment
                await asyncio.to_thread(kill, gateway)
                await asyncio.to_thread(gateway.start)
            await some_more(load, 50)
            load.stop()
            await running
            return await check(gateway, load, upstream)
        finally:
            running.cancel()
            await asyncio.to_thread(gateway.stop)


async def some_more(load: Load, answers: int) -> None:
    wanted = len(load.complete) + answers
    await until(lambda: len(load.complete) >= wanted, within_s=30, what=f"{answers} more whole answers")


async def test_the_comparison_sees_what_is_lost_doubled_or_made_up() -> None:
    whole = Got(200, {"content-type": "application/json"}, b'{"choices": [{}]}', 0.1)
    load = Load("", random.Random(0), got={"a": whole}, sent=["a", "b"])
    upstream = [Seen(0, "", "", "", {}, {"user": user}, 0, tokens_served=7) for user in ("a", "b")]
    a = {"client_request_id": "a", "status": "ok", "output_tokens": 7}
    b = {"client_request_id": "b", "status": "cancelled", "output_tokens": 0}
    assert wrongs(load, upstream, [a, b]) == []
    bad_logs: list[Rows] = [[a], [b], [a, a, b], [a, {**b, "status": "open"}], [{**a, "output_tokens": 6}, b]]
    bad_logs += [[{**a, "status": "unknown_after_crash"}, b], [a, b, {**b, "client_request_id": "c"}]]
    assert all(wrongs(load, upstream, rows) for rows in bad_logs)


@pytest.mark.slow
async def test_two_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    ended = await crash_cycles(tmp_path, RunningGateway.kill, cycles=2, seed=1)
    assert ended["ok"] >= 150
    assert ended["unknown_after_crash"] > 0
    assert ended["cancelled"] > 0


@pytest.mark.accept
@pytest.mark.timeout(600)
async def test_ten_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    ended = await crash_cycles(tmp_path, RunningGateway.kill, cycles=10, seed=2, workers=2, archive_s=0.5)
    assert ended["ok"] >= 500
    assert ended["unknown_after_crash"] >= 10


@pytest.mark.slow
async def test_a_killed_supervisor_takes_its_workers_with_it_and_loses_nothing(tmp_path: Path) -> None:
    ended = await crash_cycles(tmp_path, RunningGateway.kill_supervisor, cycles=2, seed=3)
    assert ended["ok"] >= 150


@pytest.mark.accept
@pytest.mark.timeout(600)
async def test_ten_killed_supervisors_lose_nothing(tmp_path: Path) -> None:
    assert (await crash_cycles(tmp_path, RunningGateway.kill_supervisor, cycles=10, seed=4, workers=2, archive_s=0.5))[
        "ok"
    ] >= 500


@pytest.mark.slow
async def test_a_killed_worker_is_replaced_and_its_requests_end(tmp_path: Path) -> None:
    async with FakeServer() as upstream:
        gateway = RunningGateway(tmp_path, fake_config(upstream.base_url, encoder={"name": "static"}), workers=2)
        await asyncio.to_thread(gateway.start)
        load = Load(gateway.url, random.Random(5))
        running = asyncio.create_task(load.run())
        try:
            await some_more(load, 100)
            before = gateway.workers()
            os.kill(max(before, key=established), signal.SIGKILL)
            await until(lambda: len(gateway.workers()) == 2, within_s=10, what="the worker is replaced")
            assert len(set(before) & set(gateway.workers())) == 1
            await some_more(load, 100)
            load.stop()
            await running
            await eventually(lambda: nothing_open(gateway), within_s=40, what="the dead worker's requests end")
            assert (await check(gateway, load, upstream))["unknown_after_crash"] > 0
        finally:
            running.cancel()
            await asyncio.to_thread(gateway.stop)


def established(pid: int) -> int:
    """How many connections a process has; workers share a port, and one of them may hold all."""
    return sum(found.status == psutil.CONN_ESTABLISHED for found in psutil.Process(pid).net_connections("tcp"))


async def nothing_open(gateway: RunningGateway) -> bool:
    rows = await asyncio.to_thread(gateway.export, "--open")
    return all(row["status"] in TERMINAL for row in rows)
