"""What is reserved in advance pays for requests while the store is down: never more than that, and counted once."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis
from crashing import kill
from lossy import Lossy

from policies.archive_schema import read_log
from router.store.accounts import asked_of
from router.store.archive import archive_once
from router.store.balances import read_balances
from router.store.base import End, SliceSpent, Start, StoreUnavailable
from router.store.embedded import EmbeddedValkey
from router.store.keys import scope_of, shard_of
from router.store.ledger import BudgetRefused, Hold, Window, tenant_account
from router.store.reconcile import reconcile
from router.store.recovery import last_end
from router.store.slices import Slice
from router.store.valkey import StoreOptions, ValkeyStore
from training.records.archive import read_archive

pytestmark = pytest.mark.asyncio
DAY = Window(tenant_account("a"), "day", 1_000, "a")
HOUR = Window(tenant_account("a"), "hour", 900, "a")
OURS = Window("o", "month", 2_000, "acme")
WINDOWS = (DAY, OURS)
A = ("acme", "a")
Wanted = dict[tuple[str, str], Hold]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    """A server that the test may stop and start."""
    server = EmbeddedValkey(tmp_path / "data")
    server.start()
    yield server
    server.stop()


def options(directory: Path, **more: Any) -> StoreOptions:
    return StoreOptions(spool_dir=directory / "spool", **{"timeout_s": 0.05, "reap_s": 600.0, **more})


async def made(directory: Path, url: str, name: str, wanted: Wanted, **more: Any) -> ValkeyStore:
    """A worker's store, whose upkeep runs when the test says so."""
    store = ValkeyStore(url, options(directory, **more), name=name)
    await store.start()
    await store.keep_slices(lambda: wanted)
    return store


@asynccontextmanager
async def opened(
    server: EmbeddedValkey, name: str = "w", *, wanted: Wanted | None = None, **more: Any
) -> AsyncIterator[ValkeyStore]:
    every = {A: Hold(400, WINDOWS)} if wanted is None else wanted
    store = await made(server.directory, server.url, name, every, **more)
    try:
        yield store
    finally:
        await store.aclose()


def start(request: str, bound: int, *, tenant: str = "a", windows: tuple[Window, ...] = WINDOWS) -> Start:
    stub = orjson.dumps({"decision_id": f"d-{request}", "tenant": tenant, "arm": "small/instant"})
    row = orjson.dumps({"request_id": request, "organisation": "acme", "tenant": tenant, "kind": "forced"})
    return Start(request, "acme", stub=stub, row=row, embedding=b"", hold=Hold(bound, windows))


def end(request: str, cost: int | None) -> End:
    row = {"request_id": request, "organisation": "acme", "tenant": "a", "status": "ok", "nano_usd": cost}
    return End(
        request, "acme", row=orjson.dumps(row), decision_id=f"d-{request}", tenant="a", reserved=True, nano_usd=cost
    )


async def answered(store: ValkeyStore, request: str, bound: int, cost: int) -> None:
    await store.begin(start(request, bound))
    assert await store.settle(end(request, cost))


def sums(server: EmbeddedValkey, window: Window = DAY) -> tuple[int, int]:
    """(spent, reserved) of the window now."""
    with redis.Redis.from_url(server.url) as client:
        (found,) = read_balances(client, [("acme", window)])
    return found.spent, found.reserved


def rows(server: EmbeddedValkey) -> list[tuple[str, str]]:
    with redis.Redis.from_url(server.url) as client:
        entries = client.xrange(scope_of("acme").log)
    return [(fields[b"t"].decode(), orjson.loads(fields[b"j"])["request_id"]) for _, fields in entries]


def agree(server: EmbeddedValkey) -> bool:
    return reconcile(server.url, server.directory).agrees


async def reached(store: ValkeyStore) -> None:
    """The link has found the server again."""
    async with asyncio.timeout(10):
        await store._link._up.wait()


async def back(server: EmbeddedValkey, store: ValkeyStore) -> None:
    """The server runs, and has what waited in the spool."""
    await asyncio.to_thread(server.start)
    async with asyncio.timeout(10):
        await store.wait_replayed()


async def test_a_slice_is_reserved_in_all_windows_and_returned_without_a_trace(server: EmbeddedValkey) -> None:
    async with opened(server) as store:
        assert (sums(server), sums(server, OURS), store.outage_left) == ((0, 400), (0, 400), {A: 400})
        await store._upkeep()
        assert sums(server) == (0, 400), "what is as wanted stays"
        await answered(store, "r1", 600, 70)
        with pytest.raises(BudgetRefused):
            await store.begin(start("r2", 601))
        assert store.outage_left == {A: 400}, "nothing is taken from it while the store is up"
    assert (sums(server), sums(server, OURS)) == ((70, 0), (70, 0))
    assert rows(server) == [("d", "r1"), ("o", "r1")]
    assert agree(server)


async def test_the_store_is_down_and_back_and_what_was_spent_is_what_was_answered(server: EmbeddedValkey) -> None:
    async with opened(server) as store:
        await store.begin(start("r0", 50))
        await asyncio.to_thread(server.stop)
        await answered(store, "r1", 150, 120)
        await store.begin(start("r2", 150))
        with pytest.raises(SliceSpent):
            await store.begin(start("r3", 101))
        assert await store.settle(end("r0", 40))
        await answered(store, "r4", 100, 5)
        await answered(store, "free", 0, 0)
        assert store.outage_left == {A: 0}
        await back(server, store)
        assert sums(server) == sums(server, OURS) == (165, 150), "r2 is open still; the slice has nothing left"
        await store._upkeep()
        assert (sums(server), store.outage_left) == ((165, 550), {A: 400})
        assert await store.settle(end("r2", 90))
        assert not await store.settle(end("r2", 90))
        assert (sums(server), sums(server, OURS), agree(server)) == ((255, 400), (255, 400), True)
        assert store.waiting_rows == 0
    assert sums(server) == (255, 0)
    assert len(rows(server)) == 10, "of five requests"


@pytest.mark.parametrize(
    "asked",
    [start("r1", 1, tenant="b"), start("r1", 1, windows=(DAY,)), start("r1", 401)],
    ids=["another tenant", "other windows", "too much"],
)
async def test_others_and_other_windows_are_refused(server: EmbeddedValkey, asked: Start) -> None:
    async with opened(server, when_down="serve") as store:
        await asyncio.to_thread(server.stop)
        with pytest.raises(StoreUnavailable):
            await store.begin(asked)
        assert store.outage_left == {A: 400}
        await back(server, store)
        assert (sums(server), rows(server)) == ((0, 400), [])


async def test_two_workers_with_slices_cannot_overspend(server: EmbeddedValkey) -> None:
    async with opened(server, "one") as one, opened(server, "two") as two, opened(server, "three") as three:
        assert [bool(each.outage_left) for each in (one, two, three)] == [True, True, False], "1,000 hold two of 400"
        await asyncio.to_thread(server.stop)
        taken = 0
        for n in range(30):
            for store in (one, two, three):
                try:
                    await answered(store, f"{store.owner}-{n}", 50, 50)
                except StoreUnavailable:
                    continue
                taken += 50
        assert taken == 800
        await back(server, one)
        for store in (two, three):
            async with asyncio.timeout(10):
                await store.wait_replayed()
        await one._upkeep()
        assert sums(server) == (800, 0), "neither has room for a new one"
        with pytest.raises(BudgetRefused):
            await one.begin(start("more", 201))
        assert agree(server)


@pytest.mark.parametrize("lost", ["replies", "commands"])
async def test_a_begin_whose_reply_was_lost_is_paid_once(server: EmbeddedValkey, tmp_path: Path, lost: str) -> None:
    async with Lossy(server.socket, tmp_path / "way.sock") as way:
        store = await made(server.directory, way.url, "w", {A: Hold(400, WINDOWS)})
        setattr(way, lost, False)
        await store.begin(start("r1", 300))
        assert store.outage_left == {A: 100}
        came = sums(server) == (0, 700)
        assert came == (lost == "replies"), "it reserved for itself"
        setattr(way, lost, True)
        async with asyncio.timeout(10):
            await store.wait_replayed()
        assert sums(server) == (0, 700 if came else 400), "its own reservation, or out of the slice's"
        assert await store.settle(end("r1", 20))
        await store._upkeep()
        assert (sums(server), agree(server)) == ((20, 400), True)
        assert rows(server) == [("d", "r1"), ("o", "r1")]
        await store.aclose()
    assert sums(server) == (20, 0)


async def test_a_replay_that_is_cut_short_and_comes_again_moves_nothing_twice(
    server: EmbeddedValkey, tmp_path: Path
) -> None:
    async with Lossy(server.socket, tmp_path / "way.sock") as way:
        store = await made(server.directory, way.url, "w", {A: Hold(400, WINDOWS)})
        way.commands = False
        for n in range(3):
            await answered(store, f"r{n}", 100, 30)
        await store.begin(start("r3", 100))
        records = store._backlog._own.records()  # type: ignore[union-attr]
        way.commands = True
        await reached(store)
        for n in range(len(records)):
            await store._backlog._send(records[:n], store._link.call)
        async with asyncio.timeout(10):
            await store.wait_replayed()
        assert sums(server) == (90, 100)
        await store.aclose()
    assert sums(server) == (90, 100), "r3 is open; nothing else is"


async def test_out_of_memory_the_answered_are_written_all_the_same(server: EmbeddedValkey) -> None:
    async with opened(server) as store:
        with redis.Redis.from_url(server.url) as client:
            client.config_set("maxmemory", 1)
            await answered(store, "r1", 300, 100)  # the store takes no begin, but would take a settle
            async with asyncio.timeout(10):
                await store.wait_replayed()
            assert sums(server) == (100, 100)
            await store._upkeep()
            assert (sums(server), store.outage_left) == ((100, 100), {A: 100}), "it would get no other for it"
            await answered(store, "r2", 100, 0)
            async with asyncio.timeout(10):
                await store.wait_replayed()
            client.config_set("maxmemory", 0)
        await store._upkeep()
        assert (sums(server), agree(server)) == ((100, 400), True)


async def test_a_settle_never_overtakes_a_draw_that_the_store_refused(server: EmbeddedValkey) -> None:
    async with opened(server) as store:
        store._tasks.pop().cancel()  # nothing is replayed but here
        await asyncio.to_thread(server.stop)
        await answered(store, "r1", 300, 100)
        await asyncio.to_thread(server.start)
        await reached(store)
        records = store._backlog._own.records()  # type: ignore[union-attr]
        refused: list[bytes] = []

        async def call(command: bytes) -> object:
            if b"_draw" in command and not refused:
                refused.append(command)
                raise StoreUnavailable("the store refused: MISCONF")
            return await store._link.call(command)

        with pytest.raises(StoreUnavailable):
            await store._backlog._send(records, call)
        await store.replay()
        assert (sums(server), sums(server, OURS)) == ((100, 100), (100, 100))
        await store._upkeep()
        assert (sums(server), agree(server)) == ((100, 400), True)


async def test_a_slice_follows_the_configuration(server: EmbeddedValkey) -> None:
    wanted = {A: Hold(400, WINDOWS), ("acme", "b"): Hold(100, (OURS,))}
    async with opened(server, wanted=wanted) as store:
        assert sums(server, OURS) == (0, 500)
        wanted[A] = Hold(300, (DAY, HOUR, OURS))
        await store._upkeep()
        assert (sums(server), sums(server, HOUR), sums(server, OURS)) == ((0, 300), (0, 300), (0, 400))
        del wanted[A]
        await store._upkeep()
        assert (sums(server), sums(server, HOUR), sums(server, OURS)) == ((0, 0), (0, 0), (0, 100))
        assert store.outage_left == {("acme", "b"): 100}
    assert (sums(server, OURS), rows(server)) == ((0, 0), [])


async def test_where_there_is_no_room_it_is_asked_for_again(
    server: EmbeddedValkey, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(server, "spends", wanted={}) as spends, opened(server, wanted={}) as store:
        await spends.begin(start("r1", 601))
        await store.keep_slices(lambda: {A: Hold(400, WINDOWS)})
        await store._upkeep()
        assert (store.outage_left, sums(server)) == ({}, (0, 601))
        assert caplog.text.count("no room for 4e-07 USD in advance (outage_usd)") == 1, "told once"
        await spends.settle(end("r1", 600))
        await store._upkeep()
        assert (store.outage_left, sums(server)) == ({A: 400}, (600, 400))


async def test_it_is_renewed_when_one_of_its_windows_is_over(server: EmbeddedValkey) -> None:
    async with opened(server) as store:
        before = store._slices._mine[A].slice_id
        await store._slices.renew(owner=store.owner, at=await store.now() + 86_400)
        assert store._slices._mine[A].slice_id != before
        assert sums(server) == (0, 400)


def whole(**more: Any) -> Slice:
    return Slice(
        **{"slice_id": "s", "payer": A, "hold": Hold(5, (HOUR,)), "owner": "w:1", "at": 7199.0, "left": 5, **more}
    )


@pytest.mark.parametrize(
    ("mine", "at", "stays"),
    [
        (whole(), 7199.9, True),
        (whole(), 7200.0, False),
        (whole(hold=Hold(5, (DAY,))), 86_399.0, False),
        (whole(left=4), 7199.0, False),
        (whole(owner="w:2"), 7199.0, False),
        (whole(left=-1), 7199.0, False),
    ],
)
async def test_what_is_not_as_wanted_is_renewed(mine: Slice, at: float, stays: bool) -> None:
    assert mine.is_as(Hold(5, (HOUR,)), owner="w:1", at=at) == stays


async def test_nothing_is_renewed_while_anything_waits_in_the_spool(server: EmbeddedValkey, tmp_path: Path) -> None:
    async with Lossy(server.socket, tmp_path / "way.sock") as way:
        wanted = {A: Hold(400, WINDOWS)}
        store = await made(server.directory, way.url, "w", wanted)
        store._tasks.pop().cancel()  # nothing is replayed
        way.commands = False
        await answered(store, "r1", 100, 60)
        way.commands = True
        await reached(store)
        del wanted[A]
        await store._upkeep()
        assert (store.outage_left, sums(server)) == ({A: 300}, (0, 400))
        await store.aclose()  # replays first, and returns the rest then
    assert (sums(server), agree(server)) == ((60, 0), True)


@pytest.mark.parametrize("lost", ["replies", "commands"])
async def test_a_grant_whose_reply_was_lost_is_returned(server: EmbeddedValkey, tmp_path: Path, lost: str) -> None:
    async with Lossy(server.socket, tmp_path / "way.sock") as way:
        store = await made(server.directory, way.url, "w", {})
        store._slices.wanted = lambda: {A: Hold(400, WINDOWS)}
        mine = Slice("slice-1", A, Hold(400, WINDOWS), store.owner, at=0.0)
        setattr(way, lost, False)
        with pytest.raises(StoreUnavailable):
            await store._slices._grant(mine)
        assert sums(server) == (0, 400 if lost == "replies" else 0)
        with pytest.raises(StoreUnavailable):
            await store.begin(start("r1", 1))
        assert store.outage_left == {}, "nobody knows whether it is there, so nothing is taken from it"
        setattr(way, lost, True)
        async with asyncio.timeout(10):
            await store.wait_replayed()
        await reached(store)
        await store._upkeep()
        assert (sums(server), store.outage_left) == ((0, 400), {A: 400})
        await store.aclose()
    assert sums(server) == (0, 0)


async def test_a_grant_that_only_the_second_attempt_heard_of_is_had(server: EmbeddedValkey) -> None:
    async with opened(server, wanted={}) as store:
        link_call = store._link.call

        async def twice(command: bytes) -> object:
            await link_call(command)
            return await link_call(command)

        store._link.call = twice  # type: ignore[method-assign]
        await store.keep_slices(lambda: {A: Hold(400, WINDOWS)})
        store._link.call = link_call  # type: ignore[method-assign]
        assert (sums(server), store.outage_left) == ((0, 400), {A: 400})
    assert sums(server) == (0, 0)


@pytest.mark.parametrize("lost", ["replies", "commands"])
async def test_a_return_whose_reply_was_lost_is_made_once(server: EmbeddedValkey, tmp_path: Path, lost: str) -> None:
    async with Lossy(server.socket, tmp_path / "way.sock") as way:
        wanted = {A: Hold(400, WINDOWS)}
        store = await made(server.directory, way.url, "w", wanted)
        mine = store._slices._mine[A]
        setattr(way, lost, False)
        returning = asyncio.create_task(store._slices._return(mine))
        await asyncio.sleep(0)
        assert store.outage_left == {}, "from now on nothing is taken from it"
        await returning
        assert store.waiting_rows == 1
        setattr(way, lost, True)
        async with asyncio.timeout(10):
            await store.wait_replayed()
        assert (sums(server), rows(server)) == ((0, 0), [])
        await store._upkeep()
        assert sums(server) == (0, 400)
        await store.aclose()


async def test_a_dead_owners_slice_is_charged_whole_and_once(server: EmbeddedValkey) -> None:
    dead = await made(server.directory, server.url, "dead", {A: Hold(400, WINDOWS)}, owner_ttl_s=0)
    await dead.begin(start("r1", 100))
    await kill(dead)
    async with opened(server, "heir", wanted={}) as heir, opened(server, "other", wanted={}) as other:
        assert [await heir.recover(), await other.recover()] == [0, 0]
        assert (sums(server), sums(server, OURS), agree(server)) == ((500, 0), (500, 0), True)
    archive_once(server.url, server.directory)
    read = [row for table in read_log(server.directory) for row in table.to_pylist()]
    (lost,) = [row for row in read if row["kind"] == "slice"]
    assert (lost["tenant"], lost["arm"], lost["arms"], lost["outcome_served_arm"]) == ("a", "", [], "")
    assert (lost["outcome_status"], lost["outcome_nano_usd"]) == ("unknown_after_crash", 400)
    assert len(read) == 2
    assert list(read_archive(server.directory)) == [], "nobody learns from either"


async def test_what_a_dead_owner_spooled_is_taken_from_its_slice_before_the_rest_is_charged(
    server: EmbeddedValkey,
) -> None:
    dead = await made(server.directory, server.url, "dead", {A: Hold(400, WINDOWS)})
    await asyncio.to_thread(server.stop)
    await answered(dead, "r1", 100, 30)
    await dead.begin(start("r2", 100))
    await kill(dead)
    await asyncio.to_thread(server.start)
    async with opened(server, "heir", wanted={}):
        assert (sums(server), agree(server)) == ((330, 0), True), "30, all of r2's bound, and what was left"


@pytest.mark.parametrize(("drawn", "charged"), [(True, 10 + 30 + 300), (False, 10 + 400)])
async def test_while_another_still_sends_what_a_dead_owner_spooled_nothing_of_it_is_charged(
    server: EmbeddedValkey, drawn: bool, charged: int
) -> None:
    dead = await made(server.directory, server.url, "dead", {A: Hold(400, WINDOWS)})
    await dead.begin(start("r1", 100))
    await asyncio.to_thread(server.stop)
    assert await dead.settle(end("r1", 10))
    if drawn:
        await answered(dead, "r2", 100, 30)
    await kill(dead)
    await asyncio.to_thread(server.start)
    other = ValkeyStore(server.url, options(server.directory), name="other")
    await other.connect()
    await other.heartbeat()
    call, may_send = other._link.call, asyncio.Event()

    async def held(command: bytes) -> object:
        await may_send.wait()
        return await call(command)

    other._link.call = held  # type: ignore[method-assign]
    sending = asyncio.create_task(other.recover())
    await asyncio.sleep(0)
    successor = ValkeyStore(server.url, options(server.directory), name="next", fallen=("dead",))
    await successor.start()
    before = sums(server)
    may_send.set()
    await sending
    await successor._upkeep()
    await successor.aclose()
    await other.aclose()
    assert before == (0, 500), "what was answered is not charged whole"
    assert (sums(server), agree(server)) == ((charged, 0), True)


async def test_one_that_closes_while_the_store_is_down_returns_it_through_the_spool(server: EmbeddedValkey) -> None:
    async with opened(server) as store:
        await asyncio.to_thread(server.stop)
        await answered(store, "r1", 100, 30)
    await asyncio.to_thread(server.start)
    assert sums(server) == (0, 400)
    async with opened(server, "next", wanted={}):
        assert (sums(server), agree(server)) == ((30, 0), True)


async def test_one_that_was_taken_for_dead_is_charged_beside_its_slice(server: EmbeddedValkey, tmp_path: Path) -> None:
    async with Lossy(server.socket, tmp_path / "way.sock") as way:
        zombie = await made(server.directory, way.url, "zombie", {A: Hold(400, WINDOWS)}, owner_ttl_s=0)
        way.commands = False
        await answered(zombie, "r1", 100, 30)
        async with opened(server, "neighbour", wanted={}):
            assert sums(server) == (0, 400), "who shares its spool folder sees that it lives"
        elsewhere = await made(tmp_path / "elsewhere", server.url, "elsewhere", {})
        assert sums(server) == (400, 0)
        await elsewhere.aclose()
        await answered(zombie, "r2", 300, 20)
        with pytest.raises(StoreUnavailable):
            await zombie.begin(start("r3", 1))
        way.commands = True
        async with asyncio.timeout(10):
            await zombie.wait_replayed()
        assert (sums(server), agree(server)) == ((450, 0), True), "never less than what was spent"
        zombie._owner.ttl_s = 15
        await zombie._upkeep()
        assert (sums(server), zombie.outage_left) == ((450, 400), {A: 400})
        await zombie.aclose()


async def test_one_that_the_store_lost_is_granted_anew(server: EmbeddedValkey) -> None:
    async with opened(server) as store:
        with redis.Redis.from_url(server.url) as client:
            client.flushdb()
        await store._upkeep()
        assert (sums(server), store.outage_left) == ((0, 400), {A: 400})


async def test_with_no_place_in_the_spool_nothing_is_taken(server: EmbeddedValkey) -> None:
    async with opened(server) as store:
        (server.directory / "spool").write_text("a file where the folder should be")
        await asyncio.to_thread(server.stop)
        with pytest.raises(StoreUnavailable):
            await store.begin(start("r1", 100))
        assert store.outage_left == {A: 400}
        await asyncio.to_thread(server.start)
        await reached(store)
        (server.directory / "spool").unlink()
    assert sums(server) == (0, 0)


async def test_what_was_reserved_in_a_window_that_is_over_is_dated_and_charged_in_it(server: EmbeddedValkey) -> None:
    began = 1_790_000_000 // 86_400 * 86_400 - 90  # a day that is over, near its end
    mine = Slice("slice-1", A, Hold(400, (HOUR, DAY)), "dead:1", 0.0)
    async with opened(server, wanted={}) as store:
        commands, call = store._commands, store._link.call
        await call(commands.begin(mine.start(), owner="dead:1", lease_s=10**9, high_water=0, at=began))
        asked = start("r1", 100, windows=(HOUR, DAY))
        later = {"accounts": asked_of(Hold(100, (HOUR, DAY))), "bound": 100, "at": began + 7_200}
        await call(commands.draw(asked, owner="w:1", lease_s=600, slice_id="slice-1", **later))
        await store.settle(end("r1", 60))
        (lease,), _ = await call(commands.stale(shard_of("acme"), before_epoch=0, dead=["dead:1"]))  # type: ignore[misc]
        assert await call(commands.forfeit(last_end(*lease))) == 1
        with redis.Redis.from_url(server.url) as client:
            found = read_balances(client, [("acme", HOUR), ("acme", DAY)], at=began)
            entries = client.xrange(scope_of("acme").log)
    assert [(each.spent, each.reserved) for each in found] == [(360, 0), (360, 0)]
    times = [float(fields[b"at"]) for _, fields in entries if fields[b"t"] == b"d"]
    assert times == [pytest.approx(began + 90, abs=1e-3)] * 2
    assert all(at < began + 90 for at in times)
