"""The store against a real Valkey: what one request writes, and that it is written once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis

from router.store.base import End, Start, StoreFull, StoreUnavailable
from router.store.keys import SCHEMA
from router.store.link import SchemaTooNew
from router.store.valkey import StoreOptions, ValkeyStore

Opened = Callable[..., AbstractAsyncContextManager[ValkeyStore]]


@pytest.fixture
def opened(valkey_url: str, tmp_path: Path) -> Opened:
    """Opens a started store on the session's server; keywords are StoreOptions."""

    @asynccontextmanager
    async def open_store(**options: Any) -> AsyncIterator[ValkeyStore]:
        store = ValkeyStore(valkey_url, StoreOptions(spool_dir=tmp_path / "spool", **options))
        await store.start()
        try:
            yield store
        finally:
            await store.aclose()

    return open_store


@pytest.fixture
def server(valkey_url: str) -> redis.Redis:
    return redis.Redis.from_url(valkey_url)


def start(request_id: str, organisation: str = "acme") -> Start:
    stub = orjson.dumps({"decision_id": "dec-1", "tenant": "t", "client_request_id": "c-1", "arm": "m/instant"})
    row = orjson.dumps({"request_id": request_id})
    return Start(request_id=request_id, organisation=organisation, stub=stub, row=row, embedding=b"\0\x3c\n\r")


def end(request_id: str, organisation: str = "acme") -> End:
    row = orjson.dumps({"request_id": request_id, "status": "ok"})
    return End(request_id=request_id, organisation=organisation, row=row, decision_id="dec-1", tenant="t")


def entries(server: redis.Redis, kind: bytes) -> list[dict[bytes, bytes]]:
    keys = list(server.scan_iter("gs:*:log"))
    return [fields for key in keys for _, fields in server.xrange(key) if fields[b"t"] == kind]


def statuses(server: redis.Redis) -> list[tuple[str, str]]:
    rows = [orjson.loads(fields[b"j"]) for fields in entries(server, b"o")]
    return sorted((row["request_id"], row["status"]) for row in rows)


@pytest.mark.asyncio
async def test_a_request_leaves_one_decision_with_its_embedding_and_one_outcome(
    opened: Opened, server: redis.Redis
) -> None:
    async with opened() as store:
        await store.begin(start("r1"))
        assert await store.settle(end("r1"))
    (decision,) = entries(server, b"d")
    assert decision[b"e"] == b"\0\x3c\n\r"
    assert orjson.loads(decision[b"j"]) == {"request_id": "r1"}
    assert statuses(server) == [("r1", "ok")]


@pytest.mark.asyncio
async def test_rows_are_stamped_with_the_servers_clock(opened: Opened, server: redis.Redis) -> None:
    async with opened() as store:
        before = server.time()
        await store.begin(start("r1"))
        after = server.time()
    (decision,) = entries(server, b"d")
    seconds, micros = (int(part) for part in decision[b"at"].split(b"."))
    assert before <= (seconds, micros) <= after


@pytest.mark.asyncio
async def test_a_second_settle_changes_nothing(opened: Opened, server: redis.Redis) -> None:
    async with opened() as store:
        await store.begin(start("r1"))
        assert await store.settle(end("r1"))
        again = replace(end("r1"), row=b'{"status": "other"}', session="s", session_value=b"v", tool_calls=["call_1"])
        assert not await store.settle(again)
        assert await store.session("acme", "s") is None
        assert await store.tool_call_owner("acme", ["call_1"]) is None
    assert statuses(server) == [("r1", "ok")]


@pytest.mark.asyncio
async def test_a_repeated_begin_writes_one_row(opened: Opened, server: redis.Redis) -> None:
    async with opened() as store:
        await store.begin(start("r1"))
        await store.begin(start("r1"))
        await store.settle(end("r1"))
        await store.begin(start("r1"))  # closed: it does not open again
    assert len(entries(server, b"d")) == 1
    assert server.hlen("gs:{s62}:open") == 0


@pytest.mark.asyncio
async def test_a_hundred_parallel_requests_leave_one_row_each(opened: Opened, server: redis.Redis) -> None:
    async with opened() as store:
        ids = [f"r{i:03d}" for i in range(100)]
        await asyncio.gather(*(store.begin(start(request_id)) for request_id in ids))
        closed = await asyncio.gather(*(store.settle(end(request_id)) for request_id in ids * 2))
    assert sum(closed) == 100
    assert statuses(server) == [(request_id, "ok") for request_id in ids]
    assert len(entries(server, b"d")) == 100


@pytest.mark.asyncio
async def test_all_keys_of_a_request_carry_one_hash_tag(opened: Opened, server: redis.Redis) -> None:
    async with opened() as store:
        await store.begin(start("r1"))
        await store.begin(start("r2"))
        await store.settle(replace(end("r1"), session="s", session_value=b"v", tool_calls=["call_1"]))
        await store.feedback("acme", row=b'{"feedback_id": "fb-1"}', idempotency_key="k")
    keys = {key.decode() for key in server.scan_iter("*")}
    per_request = {key for key in keys if not key.startswith("gs:{gs}:")}
    assert {key.split(":")[1] for key in per_request} == {"{s62}"}  # crc32("acme") mod 64
    assert {key.split(":")[2] for key in per_request} == {"log", "open", "req", "ses", "tool", "fb"}


@pytest.mark.asyncio
async def test_sessions_and_tool_calls_find_the_value_again_in_their_own_organisation(opened: Opened) -> None:
    async with opened() as store:
        await store.begin(start("r1"))
        await store.settle(replace(end("r1"), session="s", session_value=b"arm\n\0", tool_calls=["a", "b"]))
        assert await store.session("acme", "s") == b"arm\n\0"
        assert await store.tool_call_owner("acme", ["unknown", "b"]) == b"arm\n\0"
        assert await store.tool_call_owner("acme", []) is None
        assert await store.session("other", "s") is None


@pytest.mark.asyncio
async def test_names_with_separators_do_not_meet(opened: Opened) -> None:
    async with opened() as store:
        await store.settle(replace(end("x", "a:b"), session="c", session_value=b"1"))
        # Whatever the shards are: "a:b" + "c" and "a" + "b:c" are two sessions.
        assert await store.session("a", "b:c") is None
        assert await store.session("a:b", "c") == b"1"


@pytest.mark.asyncio
async def test_session_state_is_kept_for_a_day_and_the_request_for_a_month(opened: Opened, server: redis.Redis) -> None:
    async with opened() as store:
        await store.begin(start("r1"))
        await store.settle(replace(end("r1"), session="s", session_value=b"v", tool_calls=["call_1"]))
    lives = {key.decode().split(":")[2]: server.ttl(key) for key in server.scan_iter("gs:{s62}:*")}
    assert lives["ses"] == lives["tool"] == pytest.approx(86_400, abs=5)
    assert lives["req"] == pytest.approx(30 * 86_400, abs=5)


@pytest.mark.asyncio
async def test_a_closed_request_is_known_for_feedback_and_an_open_or_foreign_one_is_not(opened: Opened) -> None:
    async with opened() as store:
        await store.begin(start("r1"))
        assert await store.request_owner("acme", "r1") is None
        await store.settle(end("r1"))
        assert await store.request_owner("acme", "r1") == ("dec-1", "t")
        assert await store.request_owner("other", "r1") is None


@pytest.mark.asyncio
async def test_repeated_feedback_is_written_once(opened: Opened, server: redis.Redis) -> None:
    async with opened() as store:
        assert await store.feedback("acme", row=b'{"feedback_id": "fb-1"}', idempotency_key="k") == "fb-1"
        assert await store.feedback("acme", row=b'{"feedback_id": "fb-2"}', idempotency_key="k") == "fb-1"
        assert await store.feedback("acme", row=b'{"feedback_id": "fb-3"}', idempotency_key="") == "fb-3"
    assert [orjson.loads(fields[b"j"])["feedback_id"] for fields in entries(server, b"f")] == ["fb-1", "fb-3"]


@pytest.mark.asyncio
async def test_past_the_high_water_mark_new_work_is_refused_and_begun_work_ends(
    opened: Opened, server: redis.Redis
) -> None:
    async with opened(high_water_rows=2) as store:
        await store.begin(start("r1"))
        await store.begin(start("r2"))
        with pytest.raises(StoreFull, match="high_water_rows"):
            await store.begin(start("r3"))
        with pytest.raises(StoreFull):
            await store.feedback("acme", row=b'{"feedback_id": "fb-1"}', idempotency_key="")
        assert await store.settle(end("r1"))
    assert len(entries(server, b"d")) == 2


@pytest.mark.asyncio
async def test_an_outcome_whose_begin_the_server_lost_is_still_written(opened: Opened, server: redis.Redis) -> None:
    async with opened() as store:
        await store.begin(start("r1"))
        server.flushall()
        assert await store.settle(end("r1"))
        assert not await store.settle(end("r1"))
    assert statuses(server) == [("r1", "ok")]


@pytest.mark.asyncio
async def test_functions_that_the_server_lost_are_loaded_again(opened: Opened, server: redis.Redis) -> None:
    async with opened() as store:
        server.function_flush()
        await store.begin(start("r1"))
        assert await store.settle(end("r1"))
    assert statuses(server) == [("r1", "ok")]


@pytest.mark.asyncio
async def test_a_newer_schema_is_refused(opened: Opened, server: redis.Redis) -> None:
    server.set("gs:{gs}:schema", SCHEMA + 1)
    with pytest.raises(SchemaTooNew, match=f"schema {SCHEMA + 1}"):
        async with opened():
            pass
    assert server.get("gs:{gs}:schema") == b"%d" % (SCHEMA + 1)


@pytest.mark.asyncio
async def test_a_newer_schema_stops_a_running_gateway_when_its_functions_go(
    opened: Opened, server: redis.Redis
) -> None:
    async with opened() as store:
        server.set("gs:{gs}:schema", SCHEMA + 1)
        server.function_flush()
        with pytest.raises(SchemaTooNew):
            await store.begin(start("r1"))


@pytest.mark.parametrize("older", [None, "0"])
@pytest.mark.asyncio
async def test_a_store_without_data_is_numbered(opened: Opened, server: redis.Redis, older: str | None) -> None:
    if older is not None:
        server.set("gs:{gs}:schema", older)
    async with opened():
        assert server.get("gs:{gs}:schema") == b"%d" % SCHEMA


@pytest.mark.asyncio
async def test_what_the_server_refuses_is_told_in_its_words(opened: Opened, server: redis.Redis) -> None:
    async with opened() as store:
        server.set("gs:{s62}:log", "no stream")
        with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
            await store.begin(start("r1"))
        await store.ping()


@pytest.mark.asyncio
async def test_a_lease_that_was_made_longer_is_that_of_requests_from_then_on(
    opened: Opened, server: redis.Redis
) -> None:
    async with opened(lease_s=60) as store:
        await store.begin(start("req-before"))
        store.lease_s = 9_000
        await store.begin(start("req-after"))
        (leases,) = (server.hgetall(key) for key in server.scan_iter("gs:*:open"))
    before, after = (int(leases[name].split(b"\n")[1]) for name in (b"req-before", b"req-after"))
    assert 8_930 <= after - before <= 8_950
