"""Statement, entries and counters: three accounts of the same money, equal to a nano-USD whatever happened."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import redis
from counters import with_spent
from rig import CHAT, Given, World, body, tree, until

from router.store.archive import archive_once
from router.store.keys import scope_of
from router.store.ledger import Entry, read_entry, tenant_account
from router.store.reconcile import Reconciliation, reconcile
from router.store.valkey import StoreOptions, ValkeyStore

FIRST = Given({"small/instant": 1})
ASKED = body(max_tokens=100)
OWN = {"tenants": {"t": {"budgets": [{"per": "day", "usd": 1}, {"per": "hour", "usd": 1}]}}}
PAID = {**OWN, "organisations": {"default": {"budgets": [{"per": "month", "usd": 5}]}}}


async def compared(url: str, folder: Path) -> Reconciliation:
    return await asyncio.to_thread(reconcile, url, folder)


async def leave(world: World) -> None:
    """A client that hangs up while it waits."""
    wire, task = world.start(CHAT, {**ASKED, "fake": {"first_s": 30.0}})
    await until(lambda: world.calls == 1)
    wire.left.set()
    await task


@pytest.mark.asyncio
async def test_entries_in_archive_and_streams_add_up_to_the_counters(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree(**PAID), policy=FIRST) as world:
        for _ in range(3):
            await world.chat(ASKED)
        assert await asyncio.to_thread(archive_once, valkey_url, tmp_path) == 6
        await leave(world)
        await world.chat({**ASKED, "stream": True})
        wire, task = world.start(CHAT, {**ASKED, "fake": {"first_s": 30.0}})
        await until(lambda: world.calls == 1)
        found = await compared(valkey_url, tmp_path)
        wire.left.set()
        await task
    assert (found.windows, found.entries, found.agrees) == (3, 5, True), "with one request still open"


@pytest.mark.asyncio
async def test_the_row_of_a_request_that_crashed_says_what_it_was_charged(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree(**PAID), policy=FIRST) as world:
        _, task = world.start(CHAT, {**ASKED, "fake": {"first_s": 30.0}})
        await until(lambda: world.calls == 1)
        heir = ValkeyStore(
            valkey_url, StoreOptions(spool_dir=tmp_path / "heir"), fallen=[world.store.owner.split(":")[0]]
        )
        await heir.start()
        outcome, bound = world.outcome(), world.store.starts[0].hold.bound
        found = await compared(valkey_url, tmp_path)
        task.cancel()
        await asyncio.wait([task])
        await heir.aclose()
    assert (outcome["status"], outcome["nano_usd"]) == ("unknown_after_crash", bound)
    assert (found.windows, found.entries, found.agrees) == (3, 1, True)


@pytest.mark.asyncio
async def test_what_differs_is_named(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree(**PAID), policy=FIRST) as world:
        await world.chat(ASKED)
        billed = world.outcome()["nano_usd"]
    with redis.Redis.from_url(valkey_url) as server:
        now, account = scope_of("default").now, tenant_account("t")
        server.hset(now, account, with_spent(server.hget(now, account), "day", by=7))
        stream = scope_of("default").log
        ((_, fields),) = [each for each in server.xrange(stream) if each[1][b"t"] == b"o"]
        forged: Any = {**fields, b"m": fields[b"m"].replace(str(billed).encode(), str(billed + 1).encode())}
        forged[b"j"] = forged[b"j"].replace(b"chatcmpl-", b"chatcmpl-x")
        server.xadd(stream, forged)
    found = await compared(valkey_url, tmp_path)
    by_per = {each.place[2]: each.spent - each.entries for each in found.differences}
    assert by_per == {"day": 7 - (billed + 1), "hour": -(billed + 1), "month": -(billed + 1)}
    assert [name.startswith("chatcmpl-x") for name in found.misstated] == [True]


def test_an_entry_is_read_whatever_its_owner_is_called() -> None:
    entry = read_entry("12\t500254\tt9:a b:day x d\to hm")
    assert entry == Entry(
        12, (("t9:a b:day x", "day", "2027-01-25"), ("o", "hour", "2027-01-25T22"), ("o", "month", "2027-01"))
    )
    with pytest.raises(ValueError, match="not enough values"):
        read_entry("")
