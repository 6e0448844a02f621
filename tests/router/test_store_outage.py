"""The store goes away and comes back: nothing is lost, nothing is written twice."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis

from router.store.base import End, Start, StoreUnavailable
from router.store.embedded import EmbeddedValkey
from router.store.valkey import StoreOptions, ValkeyStore


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    """A server that the test may stop and start."""
    server = EmbeddedValkey(tmp_path / "data")
    server.start()
    yield server
    server.stop()


@asynccontextmanager
async def opened(server: EmbeddedValkey, name: str = "w", **options: Any) -> AsyncIterator[ValkeyStore]:
    spool_dir = server.directory / "spool"
    store = ValkeyStore(server.url, StoreOptions(spool_dir=spool_dir, **options), name=name)
    await store.start()
    try:
        yield store
    finally:
        await store.aclose()


def start(request_id: str) -> Start:
    row = orjson.dumps({"request_id": request_id})
    return Start(request_id=request_id, organisation="acme", stub=b"{}", row=row, embedding=b"\x01\x02")


def end(request_id: str) -> End:
    row = orjson.dumps({"request_id": request_id, "status": "ok"})
    return End(
        request_id=request_id, organisation="acme", row=row, decision_id="dec-1", tenant="t", session="s",
        session_value=b"value", tool_calls=["call_1"],
    )  # fmt: skip


def rows(server: EmbeddedValkey) -> list[tuple[str, str]]:
    client = redis.Redis(unix_socket_path=str(server.socket))
    found = [fields for key in client.scan_iter("gs:*:log") for _, fields in client.xrange(key)]
    return sorted((orjson.loads(fields[b"j"])["request_id"], fields[b"t"].decode()) for fields in found)


async def emptied(store: ValkeyStore) -> None:
    """The background task has sent every spooled row."""
    async with asyncio.timeout(10):
        await store.wait_replayed()
    assert store.waiting_rows == 0


@pytest.mark.asyncio
async def test_a_restart_of_the_store_goes_unnoticed(own_server: EmbeddedValkey) -> None:
    async with opened(own_server, timeout_s=20.0) as store:
        await store.begin(start("r1"))
        own_server.stop()
        settled = asyncio.create_task(store.settle(end("r1")))
        begun = asyncio.create_task(store.begin(start("r2")))
        await asyncio.to_thread(own_server.start)
        assert await settled
        await begun
        assert store.waiting_rows == 0
        assert rows(own_server) == [("r1", "d"), ("r1", "o"), ("r2", "d")]


@pytest.mark.asyncio
async def test_reject_refuses_new_work_and_keeps_the_outcome_of_begun_work(own_server: EmbeddedValkey) -> None:
    async with opened(own_server, timeout_s=0.05) as store:
        await store.begin(start("r1"))
        own_server.stop()
        with pytest.raises(StoreUnavailable, match="is down"):
            await store.begin(start("r2"))
        with pytest.raises(StoreUnavailable):
            await store.ping()
        assert await store.settle(end("r1"))
        assert store.waiting_rows == 2, "the outcome, and that r2 is withdrawn if it came through"
        await asyncio.to_thread(own_server.start)
        await emptied(store)
        assert rows(own_server) == [("r1", "d"), ("r1", "o")]
        assert await store.tool_call_owner("acme", ["call_1"]) == b"value"


@pytest.mark.asyncio
async def test_serve_goes_on_without_the_store(own_server: EmbeddedValkey) -> None:
    async with opened(own_server, when_down="serve", timeout_s=0.05) as store:
        own_server.stop()
        await store.begin(start("r1"))
        assert await store.settle(end("r1"))
        await store.begin(start("r2"))
        assert store.waiting_rows == 3
        await asyncio.to_thread(own_server.start)
        await emptied(store)
        assert await store.settle(end("r2"))
        assert not await store.settle(end("r1"))
        assert rows(own_server) == [("r1", "d"), ("r1", "o"), ("r2", "d"), ("r2", "o")]


@pytest.mark.asyncio
async def test_rows_sent_before_the_outage_was_noticed_are_not_written_twice(own_server: EmbeddedValkey) -> None:
    async with opened(own_server, when_down="serve", timeout_s=0.05) as store:
        await store.begin(start("r1"))
        await store.settle(end("r1"))
        own_server.stop()
        # As after a lost reply: the rows are in the store and in the spool.
        await store.begin(start("r1"))
        await store.settle(end("r1"))
        await asyncio.to_thread(own_server.start)
        await emptied(store)
        assert rows(own_server) == [("r1", "d"), ("r1", "o")]


@pytest.mark.asyncio
async def test_the_spool_of_a_dead_gateway_is_adopted(own_server: EmbeddedValkey) -> None:
    async with opened(own_server, "dead", when_down="serve", timeout_s=0.05) as dead:
        own_server.stop()
        await dead.begin(start("r1"))
        await dead.settle(end("r1"))
        await dead.begin(start("r2"))  # never ends: recovery has to close it
    await asyncio.to_thread(own_server.start)
    async with opened(own_server, "next"):
        assert rows(own_server) == [("r1", "d"), ("r1", "o"), ("r2", "d"), ("r2", "o")]
    assert list((own_server.directory / "spool").iterdir()) == []


@pytest.mark.asyncio
async def test_a_gateway_starts_without_its_store_and_registers_when_it_comes(own_server: EmbeddedValkey) -> None:
    own_server.stop()
    async with opened(own_server, when_down="serve", timeout_s=0.05) as store:
        await store.begin(start("r1"))
        await asyncio.to_thread(own_server.start)
        await emptied(store)
        assert rows(own_server) == [("r1", "d")]


@pytest.mark.asyncio
async def test_a_server_that_stands_still_is_given_up(own_server: EmbeddedValkey) -> None:
    async with opened(own_server, timeout_s=0.1) as store:
        client = redis.Redis(unix_socket_path=str(own_server.socket))
        client.execute_command("CLIENT", "PAUSE", "2000", "WRITE")
        with pytest.raises(StoreUnavailable):
            await store.begin(start("r1"))
        assert await store.settle(end("r0"))  # to the spool
        assert store.waiting_rows == 2, "and that r1 is withdrawn"
        client.execute_command("CLIENT", "UNPAUSE")
        await emptied(store)
        assert rows(own_server) == [("r0", "o")]


@pytest.mark.asyncio
async def test_with_neither_store_nor_spool_a_settle_fails_loudly(own_server: EmbeddedValkey) -> None:
    async with opened(own_server, timeout_s=0.05) as store:
        (own_server.directory / "spool").write_text("a file where the folder should be")
        own_server.stop()
        with pytest.raises(StoreUnavailable, match="neither"):
            await store.settle(end("r1"))
