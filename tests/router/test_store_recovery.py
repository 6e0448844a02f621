"""Requests whose gateway died: one terminal row each, and a late comer changes nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis
from crashing import kill

from policies.records import OutcomeRow
from router.store.base import End, Start
from router.store.recovery import REASON
from router.store.valkey import StoreOptions, ValkeyStore

Opened = Callable[..., AbstractAsyncContextManager[ValkeyStore]]
STUB = orjson.dumps({"decision_id": "dec-1", "tenant": "t", "client_request_id": "c-1", "arm": "m/instant"})


@pytest.fixture
def opened(valkey_url: str, tmp_path: Path) -> Opened:
    @asynccontextmanager
    async def open_store(name: str, **options: Any) -> AsyncIterator[ValkeyStore]:
        store = ValkeyStore(valkey_url, StoreOptions(spool_dir=tmp_path / "spool", **options), name=name)
        await store.start()
        try:
            yield store
        finally:
            await store.aclose()

    return open_store


def outcomes(url: str) -> list[dict[str, Any]]:
    server = redis.Redis.from_url(url)
    keys = list(server.scan_iter("gs:*:log"))
    return [orjson.loads(fields[b"j"]) for key in keys for _, fields in server.xrange(key) if fields[b"t"] == b"o"]


def start(request_id: str, organisation: str = "acme") -> Start:
    return Start(request_id=request_id, organisation=organisation, stub=STUB, row=b"{}", embedding=b"")


def end(request_id: str, organisation: str = "acme") -> End:
    row = orjson.dumps({"request_id": request_id, "status": "ok"})
    return End(request_id=request_id, organisation=organisation, row=row, decision_id="dec-1", tenant="t", session="s")


@pytest.mark.asyncio
async def test_an_owner_told_to_be_dead_is_not_waited_for_and_nobody_else_is_touched(
    valkey_url: str, tmp_path: Path, opened: Opened
) -> None:
    async with opened("fell") as fell, opened("lives") as lives:  # nobody is overdue
        await fell.begin(start("r1"))
        await lives.begin(start("r2"))
        for name in ("next", "other"):
            store = ValkeyStore(valkey_url, StoreOptions(spool_dir=tmp_path / "spool"), name=name, fallen=("fell",))
            await store.start()
            await store.aclose()
        assert [(row["request_id"], row["status"]) for row in outcomes(valkey_url)] == [("r1", "unknown_after_crash")]
        assert await lives.settle(end("r2"))


@pytest.mark.asyncio
async def test_the_request_of_a_dead_owner_ends_once_as_unknown(opened: Opened, valkey_url: str) -> None:
    async with opened("zombie", owner_ttl_s=0) as zombie:
        await zombie.begin(start("r1"))
        async with opened("second") as second, opened("third") as third:  # both recover at their start
            assert [await second.recover(), await third.recover()] == [0, 0]
        (row,) = outcomes(valkey_url)
    assert asdict(OutcomeRow(**row)) == row  # every field, no other
    assert (row["request_id"], row["status"], row["error"]) == ("r1", "unknown_after_crash", REASON)
    assert (row["decision_id"], row["tenant"], row["client_request_id"]) == ("dec-1", "t", "c-1")
    assert (row["organisation"], row["served_arm"], row["nano_usd"]) == ("acme", "m/instant", None)


@pytest.mark.asyncio
async def test_a_zombies_late_settle_changes_nothing(opened: Opened, valkey_url: str) -> None:
    async with opened("zombie", owner_ttl_s=0) as zombie:
        await zombie.begin(start("r1"))
        async with opened("living"):
            pass
        assert not await zombie.settle(end("r1"))
        assert await zombie.session("acme", "s") is None
    assert [row["status"] for row in outcomes(valkey_url)] == ["unknown_after_crash"]


@pytest.mark.asyncio
async def test_a_zombie_that_wakes_goes_on_under_a_new_epoch(opened: Opened) -> None:
    async with opened("zombie", owner_ttl_s=0) as zombie:
        before = zombie.owner
        async with opened("living"):
            pass
        await zombie.heartbeat()
        assert zombie.owner.split(":")[0] == before.split(":")[0]
        assert int(zombie.owner.split(":")[1]) > int(before.split(":")[1])


@pytest.mark.asyncio
async def test_the_requests_of_a_living_owner_are_left_alone(opened: Opened, valkey_url: str) -> None:
    async with opened("one") as one, opened("two") as two:
        await one.begin(start("r1"))
        assert await two.recover() == 0
        assert await one.settle(end("r1"))
    assert [row["status"] for row in outcomes(valkey_url)] == ["ok"]


@pytest.mark.asyncio
async def test_a_store_of_ones_own_closes_all_that_began_before(opened: Opened, valkey_url: str) -> None:
    async with opened("before") as before, opened("supervisor") as supervisor:
        organisations = [f"org-{n}" for n in range(8)]  # several shards
        for organisation in organisations:
            await before.begin(start(f"r-{organisation}", organisation))
        assert await supervisor.recover(before_epoch=await supervisor.new_epoch()) == 8
    assert sorted(row["organisation"] for row in outcomes(valkey_url)) == organisations


@pytest.mark.asyncio
async def test_a_lease_that_outlived_its_time_is_closed_although_its_owner_lives(
    opened: Opened, valkey_url: str
) -> None:
    async with opened("one", lease_s=0) as one:
        await one.begin(start("r1"))
        assert await one.recover() == 1
    assert [row["status"] for row in outcomes(valkey_url)] == ["unknown_after_crash"]


@pytest.mark.asyncio
async def test_an_owner_that_signed_off_leaves_nothing_open(opened: Opened, valkey_url: str) -> None:
    async with opened("left") as left:
        await left.begin(start("r1"))
    async with opened("next"):
        pass
    assert [row["request_id"] for row in outcomes(valkey_url)] == ["r1"]


@pytest.mark.asyncio
async def test_after_the_store_was_away_for_long_nobody_is_taken_for_dead(opened: Opened, valkey_url: str) -> None:
    server = redis.Redis.from_url(valkey_url)
    async with opened("one") as one, opened("two") as two:
        await one.begin(start("r1"))
        # As it looks when neither could say a word for an hour.
        for tag in server.hkeys("gs:{gs}:owners"):
            server.hincrby("gs:{gs}:owners", tag, -3600)
        await two.heartbeat()
        assert await two.recover() == 0
        assert await one.settle(end("r1"))


async def begun_before_it_registered(name: str, url: str, folder: Path) -> ValkeyStore:
    """A worker that has not said that it lives, and a request of it."""
    store = ValkeyStore(url, StoreOptions(spool_dir=folder / name), name=name)
    await store.connect()
    await store.begin(start(f"r-{name}"))
    return store


async def a_life_passes(lives: ValkeyStore) -> None:
    """Who is not heard of for a second is dead then, for another one was."""
    for _ in range(3):
        await asyncio.sleep(0.4)
        await lives.heartbeat()


@pytest.mark.asyncio
async def test_one_that_died_before_it_registered_is_found_dead(
    opened: Opened, valkey_url: str, tmp_path: Path
) -> None:
    async with opened("lives", owner_ttl_s=1) as lives:
        await kill(await begun_before_it_registered("dead", valkey_url, tmp_path))
        await lives.begin(start("r-lives"))
        assert await lives.recover() == 0, "it may be about to register"
        await a_life_passes(lives)
        assert [await lives.recover(), await lives.recover()] == [1, 0]
        assert await lives.settle(end("r-lives"))
        assert redis.Redis.from_url(valkey_url).hkeys("gs:{gs}:owners") == [b"*", lives.owner.encode()]
    assert [(row["request_id"], row["status"]) for row in outcomes(valkey_url)] == [
        ("r-dead", "unknown_after_crash"),
        ("r-lives", "ok"),
    ]


@pytest.mark.asyncio
async def test_one_that_registers_after_its_first_request_keeps_it(
    opened: Opened, valkey_url: str, tmp_path: Path
) -> None:
    async with opened("lives", owner_ttl_s=1) as lives:
        late = await begun_before_it_registered("late", valkey_url, tmp_path)
        assert await lives.recover() == 0
        await late.heartbeat()
        await a_life_passes(lives)
        assert await lives.recover() == 0
        assert await late.settle(end("r-late"))
        await late.aclose()


@pytest.mark.asyncio
async def test_one_that_died_after_it_was_forgotten_is_found_dead(opened: Opened, valkey_url: str) -> None:
    async with opened("zombie", owner_ttl_s=0) as zombie, opened("lives", owner_ttl_s=1) as lives:
        assert zombie.owner.encode() not in redis.Redis.from_url(valkey_url).hkeys("gs:{gs}:owners")
        await zombie.begin(start("r1"))
        await kill(zombie)
        assert await lives.recover() == 0
        await a_life_passes(lives)
        assert await lives.recover() == 1


@pytest.mark.asyncio
async def test_who_was_taken_for_dead_keeps_what_it_began_before_its_next_heartbeat(opened: Opened) -> None:
    async with opened("zombie", owner_ttl_s=0) as zombie, opened("lives", owner_ttl_s=1) as lives:
        await zombie.begin(start("r1"))
        assert await lives.recover() == 0
        zombie._owner.ttl_s = 15
        await zombie.heartbeat()
        await a_life_passes(lives)
        assert await lives.recover() == 0
        assert await zombie.settle(end("r1"))


@pytest.mark.asyncio
@pytest.mark.slow
async def test_one_that_replays_for_longer_than_its_life_goes_on_living(
    opened: Opened, valkey_url: str, tmp_path: Path
) -> None:
    replays, may_end = asyncio.Event(), asyncio.Event()
    busy = ValkeyStore(valkey_url, StoreOptions(spool_dir=tmp_path, owner_ttl_s=3, reap_s=0.2), name="busy")

    async def replay_orphans(call: object) -> tuple[set[str], set[str]]:
        replays.set()
        await may_end.wait()
        return set(), set()

    busy._backlog.replay_orphans = replay_orphans  # type: ignore[method-assign]
    starting = asyncio.create_task(busy.start())
    async with opened("lives", owner_ttl_s=3) as lives:
        await replays.wait()
        await busy.begin(start("r1"))
        for _ in range(4):  # 4.8 s; a heartbeat may come two seconds late on a busy machine
            await a_life_passes(lives)
        assert await lives.recover() == 0
        may_end.set()
        await starting
        assert await busy.settle(end("r1"))
        await busy.aclose()


@pytest.mark.asyncio
async def test_two_heartbeats_at_once_of_one_that_was_forgotten_make_one_owner_of_it(
    opened: Opened, valkey_url: str
) -> None:
    async with opened("zombie", owner_ttl_s=0) as zombie, opened("living") as living:
        zombie._owner.ttl_s = 15
        await asyncio.gather(zombie.heartbeat(), zombie.heartbeat())
        owners = redis.Redis.from_url(valkey_url).hkeys("gs:{gs}:owners")
    assert sorted(owners) == sorted([b"*", zombie.owner.encode(), living.owner.encode()])


@pytest.mark.asyncio
async def test_one_told_to_be_dead_is_so_whether_it_registered_or_not(valkey_url: str, tmp_path: Path) -> None:
    await kill(await begun_before_it_registered("fell", valkey_url, tmp_path))
    store = ValkeyStore(valkey_url, StoreOptions(spool_dir=tmp_path), name="next", fallen=("fell",))
    await store.start()
    await store.aclose()
    assert [row["request_id"] for row in outcomes(valkey_url)] == ["r-fell"]


@pytest.mark.asyncio
async def test_a_stub_that_says_nothing_still_ends_its_request(opened: Opened, valkey_url: str) -> None:
    async with opened("zombie", owner_ttl_s=0) as zombie:
        await zombie.begin(Start(request_id="r1", organisation="a:b\tc", stub=b"", row=b"{}", embedding=b""))
        async with opened("living"):
            pass
    (row,) = outcomes(valkey_url)
    assert (row["request_id"], row["organisation"], row["decision_id"]) == ("r1", "a:b\tc", "")
