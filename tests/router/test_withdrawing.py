"""Begins whose reply was lost: the gateway lives on and finds out, so that nothing unsent is held or charged."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
import pytest_asyncio
import redis
from lossy import Lossy
from rig import Given, World, body, tree

from router.store.balances import balances
from router.store.base import End, Start, StoreUnavailable, Unanswered
from router.store.embedded import EmbeddedValkey
from router.store.keys import scope_of
from router.store.ledger import Hold, Window, tenant_account
from router.store.limits import Claim, Limit, LimitRefused
from router.store.reconcile import reconcile
from router.store.valkey import StoreOptions, ValkeyStore

pytestmark = pytest.mark.asyncio
LIMIT = Limit(tenant_account("a"), "a", requests=10, tokens=1_000, concurrency=1)
DAY = Window(tenant_account("a"), "day", 1_000, "a")


@pytest_asyncio.fixture
async def way(valkey_server: EmbeddedValkey, valkey_url: str, tmp_path: Path) -> AsyncIterator[Lossy]:
    async with Lossy(valkey_server.socket, tmp_path / "way.sock") as way:
        yield way


async def opened(way: Lossy, folder: Path, name: str = "one") -> ValkeyStore:
    store = ValkeyStore(way.url, StoreOptions(spool_dir=folder / "spool", timeout_s=0.1), name=name)
    await store.start()
    return store


def start(hold: Hold | None = None, claim: Claim | None = None, request: str = "r1") -> Start:
    stub = orjson.dumps({"decision_id": "d", "tenant": "a", "arm": "small/instant"})
    return Start(request, "acme", stub=stub, row=b"{}", embedding=b"", hold=hold, claim=claim)


def end() -> End:
    return End("r1", "acme", row=b"{}", decision_id="d", tenant="a", reserved=True, nano_usd=70)


async def sums(store: ValkeyStore) -> tuple[int, int]:
    (balance,) = await balances(store, [("acme", DAY)])
    return balance.spent, balance.reserved


def rows(url: str) -> list[tuple[bytes, dict[str, object]]]:
    with redis.Redis.from_url(url) as server:
        return [(fields[b"t"], orjson.loads(fields[b"j"])) for _, fields in server.xrange(scope_of("acme").log)]


async def replayed(store: ValkeyStore) -> None:
    async with asyncio.timeout(10):
        await store.wait_replayed()


async def test_a_begin_that_came_through_unheard_is_closed_and_charged_nothing(
    way: Lossy, valkey_url: str, tmp_path: Path
) -> None:
    store = await opened(way, tmp_path)
    way.replies = False
    with pytest.raises(Unanswered):
        await store.begin(start(Hold(600, (DAY,))))
    assert (store.waiting_rows, len(rows(valkey_url))) == (1, 1), "it is open, and the spool knows"
    way.replies = True
    await replayed(store)
    assert await sums(store) == (0, 0)
    (_, (kind, row)) = rows(valkey_url)
    assert (kind, row["status"], row["nano_usd"], row["served_arm"]) == (b"o", "error", 0, "small/instant")
    assert not await store.settle(end()), "closed once"
    assert await sums(store) == (0, 0)
    await store.aclose()


@pytest.mark.parametrize("hold", [None, Hold(600, (DAY,))], ids=["without a budget", "with one"])
async def test_a_begin_that_came_through_unheard_gives_back_what_it_took_of_limits(
    way: Lossy, valkey_url: str, tmp_path: Path, hold: Hold | None
) -> None:
    store, claim = await opened(way, tmp_path), Claim((LIMIT,), tokens=900)
    other = ValkeyStore(valkey_url, StoreOptions(spool_dir=tmp_path / "other"))
    await other.start()
    way.replies = False
    with pytest.raises(Unanswered):
        await store.begin(start(hold, claim))
    with pytest.raises(LimitRefused) as refused:
        await other.begin(start(hold, claim, "r2"))
    assert refused.value.kind == "tokens", "it is open, and counts"
    way.replies = True
    await replayed(store)
    (allowance,) = await other.begin(start(hold, claim, "r2"))
    assert (allowance.requests, allowance.tokens) == (8, 100), "it was a request, and used no tokens"
    await store.aclose()
    await other.aclose()


async def test_a_begin_that_was_lost_leaves_no_trace_and_changes_nothing_if_it_comes_late(
    way: Lossy, valkey_url: str, tmp_path: Path
) -> None:
    store = await opened(way, tmp_path)
    way.commands = False
    with pytest.raises(Unanswered):
        await store.begin(start(Hold(600, (DAY,))))
    way.commands = True
    await replayed(store)
    await store.begin(start(Hold(600, (DAY,))))  # as if a network had held it back
    assert await sums(store) == (0, 0)
    assert rows(valkey_url) == []
    assert await store.request_owner("acme", "r1") == ("", ""), "no tenant's"
    await store.aclose()


async def test_what_was_never_sent_to_the_store_is_not_withdrawn(way: Lossy, tmp_path: Path) -> None:
    store = await opened(way, tmp_path)
    way.replies = False
    with pytest.raises(StoreUnavailable):
        await store.ping()
    with pytest.raises(StoreUnavailable) as down:
        await store.begin(start(Hold(600, (DAY,))))
    assert not isinstance(down.value, Unanswered)
    assert store.waiting_rows == 0
    await store.aclose()


@pytest.mark.parametrize("hold", [None, Hold(600, (DAY,))], ids=["without a budget", "with one"])
async def test_the_next_process_withdraws_what_a_dead_one_could_not(
    way: Lossy, valkey_url: str, tmp_path: Path, hold: Hold | None
) -> None:
    dead = await opened(way, tmp_path)
    way.replies = False
    with pytest.raises(Unanswered):
        await dead.begin(start(hold))
    await dead.aclose()  # its spool stays behind, for the store does not answer
    way.replies = True
    heir = await opened(way, tmp_path, "two")
    assert await sums(heir) == (0, 0)
    assert [row["status"] for kind, row in rows(valkey_url) if kind == b"o"] == ["error"]
    await heir.aclose()


async def test_with_no_place_in_the_spool_it_is_told_and_the_lease_ends_it(
    way: Lossy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = await opened(way, tmp_path)
    (tmp_path / "spool").write_text("a file where the folder should be")
    way.replies = False
    with pytest.raises(Unanswered):
        await store.begin(start(Hold(600, (DAY,))))
    assert "request r1 may stay open until its lease ends: neither the store nor" in caplog.text
    await store.aclose()


async def test_a_client_that_was_refused_in_an_outage_finds_its_budget_whole(
    way: Lossy, valkey_url: str, tmp_path: Path
) -> None:
    asked = body(max_tokens=100)
    bound = (len(orjson.dumps(asked)) + 256) * 100 + 100 * 400
    budget = {"tenants": {"t": {"budgets": [{"per": "day", "usd": 1.5 * bound / 1e9}]}}}
    async with World(way.url, tmp_path, tree("small", **budget), policy=Given({"small/instant": 1})) as world:
        way.replies = False
        refused = await world.chat(asked)
        way.replies = True
        await replayed(world.store)
        answered = await world.chat(asked)
    found = await asyncio.to_thread(reconcile, valkey_url, tmp_path)
    assert (refused.status, refused.error["code"], answered.status) == (503, "ledger_unavailable", 200)
    assert (found.entries, found.agrees) == (2, True)
