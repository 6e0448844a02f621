"""Data of earlier schemas: lifted once, with what was spent and reserved as it stood; and earlier gateways stop."""

import asyncio
from pathlib import Path

import pytest
import redis

from router.store.balances import Balance, balances
from router.store.base import End, Start, StoreUnavailable
from router.store.keys import SCHEMA
from router.store.ledger import ORGANISATION_ACCOUNT, Hold, Window, label_of, tenant_account
from router.store.link import SchemaTooNew
from router.store.valkey import StoreOptions, ValkeyStore

pytestmark = pytest.mark.asyncio
DAY = Window(tenant_account("a:day:2027-01-01"), "day", 1_000, "a")  # a name that looks like a window's
MONTH = Window(ORGANISATION_ACCOUNT, "month", 5_000, "acme")
OWNED = [("acme", DAY), ("acme", MONTH)]
BASE, SCOPE = "gs:{s62}:", "4:acme:"
EARLIER = (
    "#!lua name=gearshift_1_0a1b2c3d\nredis.register_function('gearshift_1_0a1b2c3d_begin', function() return 1 end)"
)


@pytest.fixture
def server(valkey_url: str) -> redis.Redis:
    """A store as schema 1 left it: two windows, of which an open request holds 600, and another without a budget."""
    server = redis.Redis.from_url(valkey_url)
    now = float(server.time()[0])
    keys = [f"bud:{SCOPE}{each.account}:{each.per}:{label_of(each.per, now)}" for each in (DAY, MONTH)]
    server.set("gs:{gs}:schema", 1)
    server.function_load(EARLIER)
    for key, spent in zip(keys, (250, 2_250), strict=True):
        server.hset(BASE + key, mapping={"spent": spent, "reserved": 600})
        server.expire(BASE + key, 86_400)
    leased = f"old:1\n{int(now) + 3600}\n{SCOPE}\n"
    server.hset(BASE + "open", mapping={"r1": leased + '{"decision_id": "d"}', "r2": leased + "{}"})
    server.hset(BASE + "held", "r1", "\n".join(["600", *keys]))
    return server


def opened(url: str, folder: Path) -> ValkeyStore:
    return ValkeyStore(url, StoreOptions(spool_dir=folder, owner_ttl_s=60))


def sums(found: list[Balance]) -> list[tuple[int, int]]:
    return [(each.spent, each.reserved) for each in found]


def end(request_id: str, cost: int | None) -> End:
    return End(request_id, "acme", row=b"{}", decision_id="d", tenant="a", reserved=True, nano_usd=cost)


async def test_windows_and_reservations_of_schema_1_go_on(valkey_url: str, server: redis.Redis, tmp_path: Path) -> None:
    store = opened(valkey_url, tmp_path)
    await store.connect()
    assert sums(await balances(store, OWNED)) == [(250, 600), (2_250, 600)]
    await store.begin(Start("r3", "acme", b"{}", b"{}", b"", Hold(150, (DAY, MONTH))))
    assert await store.settle(end("r1", 400))
    assert await store.settle(end("r2", 0)), "a lease without a reservation is as it was"
    assert sums(await balances(store, OWNED)) == [(650, 150), (2_650, 150)]
    assert server.get("gs:{gs}:schema") == b"%d" % SCHEMA
    assert not server.keys("*held")
    assert not server.exists("gs:{gs}:lifting")
    await store.aclose()


async def test_gateways_that_lift_at_once_or_after_a_crash_lift_once(
    valkey_url: str, server: redis.Redis, tmp_path: Path
) -> None:
    stores = [opened(valkey_url, tmp_path / str(n)) for n in range(3)]
    await asyncio.gather(*(store.connect() for store in stores))
    server.set("gs:{gs}:lifting", 1)  # as if one had died before it was done
    late = opened(valkey_url, tmp_path / "late")
    await late.connect()
    assert sums(await balances(late, OWNED)) == [(250, 600), (2_250, 600)]
    assert not server.exists("gs:{gs}:lifting")
    for store in (*stores, late):
        await store.aclose()


async def test_a_gateway_of_an_earlier_version_loses_its_functions_and_is_refused(
    valkey_url: str, server: redis.Redis, tmp_path: Path
) -> None:
    store = opened(valkey_url, tmp_path)
    await store.connect()
    with pytest.raises(redis.ResponseError, match="Function not found"):
        server.fcall("gearshift_1_0a1b2c3d_begin", 0)
    await store.aclose()
    server.set("gs:{gs}:schema", SCHEMA + 1)  # and so are we, by the next version
    with pytest.raises(
        SchemaTooNew, match=f"schema {SCHEMA + 1}, this version reads up to {SCHEMA}: upgrade gearshift"
    ):
        await opened(valkey_url, tmp_path).connect()


async def test_what_cannot_be_lifted_is_told_and_nobody_serves(
    valkey_url: str, server: redis.Redis, tmp_path: Path
) -> None:
    server.delete(BASE + "open")
    server.set(BASE + "open", "no hash")
    store = opened(valkey_url, tmp_path)
    await store.connect()
    with pytest.raises(StoreUnavailable, match="could not be migrated: WRONGTYPE"):
        await store.begin(Start("r3", "acme", b"{}", b"{}", b""))
    await store.aclose()
