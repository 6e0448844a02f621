"""Every way a request can end settles it once: answers, errors, clients that leave, a shutdown, a store that fails."""

import asyncio
from pathlib import Path

import pytest
from rig import CHAT, Given, World, body, config_of, tree, until

from router.answering import most_seconds_of_request
from router.errors import RateLimited, Unavailable
from router.store.place import make_store
from router.tenants import Caller

pytestmark = pytest.mark.asyncio
FIRST = Given({"small/instant": 1})


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_cancels_the_upstream_and_is_billed(
    valkey_url: str, tmp_path: Path, stream: bool
) -> None:
    async with World(valkey_url, tmp_path, tree(), policy=FIRST) as world:
        wire, task = world.start(CHAT, body(stream=stream, fake={"first_s": 0.0 if stream else 30.0, "pace_s": 0.2}))
        await (wire.begun.wait() if stream else until(lambda: world.calls == 1))
        wire.left.set()
        await asyncio.wait_for(task, 1)
        outcome = world.outcome()
    assert (outcome["status"], outcome["http_status"], outcome["usage_source"]) == ("cancelled", 499, "counted")
    assert outcome["input_tokens"] > 0
    assert (len(world.store.settled), world.calls, world.places) == (1, 0, 0)


async def test_a_client_that_leaves_before_any_upstream_was_at_work_is_billed_nothing(
    valkey_url: str, tmp_path: Path
) -> None:
    async with World(valkey_url, tmp_path, tree(), policy=FIRST) as world:
        setup = world.gateway.setup
        blocked = asyncio.Event()

        async def sleep(_: float) -> None:
            blocked.set()
            await asyncio.Event().wait()

        setup.deployments.sleep = sleep
        wire, task = world.start(CHAT, body(fake={"fault": "status_503"}))
        await blocked.wait()
        wire.left.set()
        await asyncio.wait_for(task, 1)
        outcome = world.outcome()
    assert (outcome["status"], outcome["usage_source"], outcome["nano_usd"]) == ("cancelled", "none", 0)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_shutdown_at_any_step_leaves_at_most_one_outcome_and_no_place_taken(
    valkey_url: str, tmp_path: Path, stream: bool
) -> None:
    async with World(valkey_url, tmp_path, tree(), policy=FIRST) as world:
        for steps in range(-4, 25):
            before = len(world.store.begun)
            wire, task = world.start(CHAT, body(stream=stream, fake={"pace_s": 0.001}))
            if steps >= 0:
                await until(lambda: len(world.store.begun) > before)  # noqa: B023 - called at once
            for _ in range(abs(steps)):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task], timeout=10)
            assert world.places == world.calls == 0, steps
            if wire.got.status == 200 and wire.got.whole:
                assert world.rows(b"o")[-1]["status"] == "ok"
        opened, ended = ({row["request_id"] for row in world.rows(kind)} for kind in (b"d", b"o"))
        assert ended <= opened
        assert len(world.rows(b"o")) == len(ended) == len({end.request_id for end in world.store.settled}) >= 25
        # A request that was stopped while it was being opened has no outcome yet: its lease ends it, once.
        assert await world.store.recover(before_epoch=await world.store.new_epoch()) == len(opened - ended)
        assert {row["request_id"] for row in world.rows(b"o")} == opened


async def test_a_shutdown_before_the_first_byte_is_told_as_503(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree(), policy=FIRST) as world:
        wire, task = world.start(CHAT, body(fake={"first_s": 30.0}))
        await until(lambda: world.calls == 1)
        task.cancel()
        await asyncio.wait([task])
        outcome = world.outcome()
    assert (wire.got.status, wire.got.error["code"], outcome["status"]) == (503, "draining", "cancelled")
    assert wire.got.headers["x-request-id"] == outcome["request_id"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_shutdown_while_the_outcome_is_written_does_not_lose_it(
    valkey_url: str, tmp_path: Path, stream: bool
) -> None:
    async with World(valkey_url, tmp_path, tree(), policy=FIRST) as world:
        world.store.wait.clear()
        _, task = world.start(CHAT, body(stream=stream))
        await until(lambda: len(world.store.settled) == 1)
        task.cancel()
        world.store.wait.set()
        await asyncio.wait([task])
        outcome = world.outcome()
    assert (outcome["status"], outcome["usage_source"]) == ("ok", "upstream")


async def test_a_client_that_leaves_after_a_complete_answer_changes_nothing(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree(), policy=FIRST) as world:
        world.store.wait.clear()
        wire, task = world.start(CHAT, body())
        await until(lambda: len(world.store.settled) == 1)
        wire.left.set()
        for _ in range(5):
            await asyncio.sleep(0)
        world.store.wait.set()
        await task
        assert (world.outcome()["status"], len(world.store.settled), task.cancelled()) == ("ok", 1, False)


async def test_an_answer_whose_outcome_nobody_takes_is_withheld(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree(), policy=FIRST) as world:
        world.store.fail.add("settle")
        got = await world.chat(body())
        (family,) = world.gateway.metrics.requests.collect()
    assert (got.status, got.error["code"]) == (503, "store_unavailable")
    assert {s.labels["status"] for s in family.samples} == {"error"}


async def test_a_stream_whose_outcome_nobody_takes_ends_in_an_error_and_no_finish(
    valkey_url: str, tmp_path: Path
) -> None:
    async with World(valkey_url, tmp_path, tree(), policy=FIRST) as world:
        world.store.fail.add("settle")
        got = await world.chat(body(stream=True))
    assert got.events[-1]["error"]["code"] == "store_unavailable"
    assert not any(choice["finish_reason"] for event in got.events[:-1] for choice in event["choices"])


async def test_a_request_that_was_closed_as_lost_meanwhile_is_not_answered(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree(), policy=FIRST) as world:
        world.store.wait.clear()
        wire, task = world.start(CHAT, body())
        await until(lambda: len(world.store.settled) == 1)
        await world.store._store.settle(world.store.settled[0])  # another process, which took this one for dead
        world.store.wait.set()
        await task
        assert len(world.rows(b"o")) == 1
    assert wire.got.status == 503


@pytest.mark.parametrize("stream", [False, True])
async def test_a_mistake_of_ours_is_settled_as_an_error(valkey_url: str, tmp_path: Path, stream: bool) -> None:
    async with World(valkey_url, tmp_path, tree(), policy=FIRST) as world:
        world.gateway.setup.asking.clear()  # type: ignore[attr-defined]
        got = await world.chat(body(stream=stream))
        outcome = world.outcome()
    assert (got.status, got.error["code"], outcome["error"]) == (500, "internal_error", "internal_error")
    assert (len(world.store.settled), world.places) == (1, 0)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "fault", ["status_500", "status_400", "cut_in_headers", "cut_after_3_events", "hang_after_events", "not_json_event"]
)
async def test_places_are_free_again_after_any_fault(valkey_url: str, tmp_path: Path, fault: str, stream: bool) -> None:
    plain = tree()
    for model in plain["models"].values():
        model["timeouts"] = {"first_byte_s": 0.1, "between_chunks_s": 0.1}
    async with World(valkey_url, tmp_path, plain, policy=FIRST) as world:
        await world.chat(body(stream=stream, fake={"fault": fault}))
        assert len(world.store.settled) == len(world.rows(b"o")) == 1
        assert world.places == world.calls == 0


async def test_a_tenants_concurrency_is_429_and_the_processes_is_503(valkey_url: str, tmp_path: Path) -> None:
    plain = tree(server={"limits": {"inflight": 2}}, tenants={"t": {"concurrency": 1}})
    async with World(valkey_url, tmp_path, plain, policy=FIRST) as world:
        wire, task = world.start(CHAT, body(fake={"first_s": 30.0}))
        await until(lambda: world.places > 0)
        got = await world.chat(body())
        other = Caller("other", "default", "", world.config.tenants["t"])
        with world.gateway.admission.enter(other, limit=2):
            full = await world.chat(body())
        wire.left.set()
        await task
    assert (got.status, got.error["type"], got.headers["retry-after"]) == (429, "rate_limit_error", "1")
    assert (full.status, full.error["code"], full.headers["retry-after"]) == (503, "overloaded", "1")


async def test_a_draining_gateway_takes_no_new_request(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree()) as world:
        world.gateway.admission.draining = True
        assert (await world.chat(body())).error["code"] == "draining"
        assert (await world.ask("/healthz", method="GET")).status == 503
        assert (await world.ask("/readyz", method="GET")).status == 503


async def test_places_are_counted_back_when_the_request_raises(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree(tenants={"t": {"concurrency": 1}})) as world:
        admission, caller = world.gateway.admission, Caller("t", "default", "", world.config.tenants["t"])
        with pytest.raises(RateLimited):
            with admission.enter(caller, limit=9), admission.enter(caller, limit=9):
                pass
        with pytest.raises(Unavailable):
            with admission.enter(caller, limit=1), admission.enter(caller, limit=1):
                pass
        assert world.places == 0


@pytest.mark.parametrize("total_s", [600, 7200])
async def test_a_lease_outlasts_every_attempt_at_every_arm(tmp_path: Path, total_s: int) -> None:
    plain = tree(store={"dir": str(tmp_path)})
    plain["models"]["small"]["timeouts"] = {"total_s": total_s}
    config = config_of(plain)
    longest_s = most_seconds_of_request(config)
    store = make_store(config.store, longest_s=longest_s)
    assert longest_s > 9 * total_s
    assert store._options.lease_s > longest_s
    await store.aclose()
