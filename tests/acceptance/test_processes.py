"""The gateway's processes together: two workers that serve as one, a clean end whatever ends it, new configurations."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import pytest_asyncio
import yaml
from asking import Got, asked, chat, eventually, until
from running import RunningGateway, children_of, fake_config, is_alive

from router.upstreams.fake import FakeServer

GONE_S = 10.0
STATIC = {"name": "static"}
MODELS = tuple(f"model-{number}" for number in range(8))
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def upstream() -> AsyncIterator[FakeServer]:
    async with FakeServer() as server:
        yield server


@pytest_asyncio.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A client that opens a connection for every request: which worker takes it is up to the kernel."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as client:
        yield client


@pytest_asyncio.fixture
async def pair(upstream: FakeServer, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    """Two workers, eight equal models drawn from uniformly, and an archiver that is busy."""
    config = fake_config(upstream.base_url, models=MODELS, encoder=STATIC, policy={"name": "uniform"})
    gateway = RunningGateway(tmp_path, {**config, "store": {"archive_s": 0.5}}, workers=2)
    await asyncio.to_thread(gateway.start)
    await until(lambda: serving(gateway) == 2, within_s=10, what="two workers serve")
    try:
        yield gateway
    finally:
        await asyncio.to_thread(gateway.stop)


def serving(gateway: RunningGateway) -> int:
    """How many workers began to serve so far."""
    return gateway.log_file.read_text().count("Started server process")


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A process that does nothing meanwhile: every new connection goes to the other worker."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def requests_counted(gateway: RunningGateway) -> float:
    """`gearshift_requests_total` over all its labels, as /metrics tells it."""
    lines = gateway.get("/metrics").decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("gearshift_requests_total{"))


async def all_gone(pids: list[int]) -> None:
    await until(lambda: not any(map(is_alive, pids)), within_s=GONE_S, what="every process ended")


async def test_two_workers_share_one_store_and_one_set_of_metrics(
    pair: RunningGateway, session: aiohttp.ClientSession
) -> None:
    for number, worker in enumerate(pair.workers()):
        with frozen(worker):
            got = [await chat(session, pair.url, asked(), client_id=f"{number}-{each}") for each in range(5 + number)]
        assert {each.status for each in got} == {200}
    stores = [pid for pid in children_of(pair.pid) if "valkey-server" in command_of(pid)]
    assert len(stores) == 1
    for worker in pair.workers():
        with frozen(worker):
            assert await asyncio.to_thread(requests_counted, pair) == 11
    assert len(await asyncio.to_thread(pair.export)) == 11


async def test_a_tool_result_finds_its_arm_on_the_other_worker(
    pair: RunningGateway, session: aiohttp.ClientSession
) -> None:
    first, second = pair.workers()
    with frozen(second):
        called = await chat(session, pair.url, asked(tools=[TOOL]), client_id="call")
    message = called.json["choices"][0]["message"]
    result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "4"}
    body = asked(tools=[TOOL])
    body["messages"] += [message, result]
    with frozen(first):
        answered = await chat(session, pair.url, body, client_id="result")
    assert answered.headers["x-gearshift-arm"] == called.headers["x-gearshift-arm"]
    assert answered.headers["x-gearshift-decision-id"] == called.headers["x-gearshift-decision-id"]
    rows = {row["client_request_id"]: row for row in await asyncio.to_thread(pair.export)}
    assert (rows["call"]["kind"], rows["result"]["kind"]) == ("drawn", "sticky")


async def test_sigterm_leaves_no_process(pair: RunningGateway) -> None:
    family = pair.family()
    assert len(family) >= 4
    assert await asyncio.to_thread(pair.stop) == 0
    assert [pid for pid in family if is_alive(pid)] == []


@pytest.mark.parametrize("kill", [RunningGateway.kill, RunningGateway.kill_supervisor])
async def test_kill_9_leaves_no_process(
    pair: RunningGateway, upstream: FakeServer, session: aiohttp.ClientSession, kill: Any
) -> None:
    slow = asyncio.create_task(chat(session, pair.url, asked(fake={"first_s": 60.0})))
    await until(lambda: bool(upstream.requests), within_s=5, what="a request is under way")
    family = pair.family()
    assert len(family) >= 4
    kill(pair)
    await all_gone(family)
    assert not (await slow).is_complete


async def test_sigterm_lets_streams_end_and_takes_no_new_requests(
    pair: RunningGateway, upstream: FakeServer, session: aiohttp.ClientSession
) -> None:
    body = asked(stream=True, fake={"text": "word " * 60, "chunks": 60, "pace_s": 0.05})
    streams = [asyncio.create_task(chat(session, pair.url, body, client_id=f"s{each}")) for each in range(8)]
    await until(lambda: len(upstream.requests) == 8, within_s=5, what="eight streams are under way")
    os.kill(pair.pid, signal.SIGTERM)
    await eventually(lambda: is_refused(pair), within_s=2.5, what="new requests are refused")
    await until(lambda: pair.log_file.read_text().count("Shutting down") == 2, within_s=2, what="both workers drain")
    assert await is_refused(pair)  # at once: a connection that nobody will take must not wait for the drain's end
    assert not any(stream.done() for stream in streams)
    assert all(got.is_complete for got in await asyncio.gather(*streams))
    assert await asyncio.to_thread(pair.stop) == 0
    rows = await asyncio.to_thread(pair.export)
    assert sorted((row["client_request_id"], row["status"]) for row in rows if row["client_request_id"]) == [
        (f"s{each}", "ok") for each in range(8)
    ]


async def is_refused(gateway: RunningGateway) -> bool:
    """No connection, or a 503 that says why; one that hangs is not refused."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=1)) as client:
        try:
            async with client.post(gateway.url + "/v1/chat/completions", json=asked()) as answer:
                return answer.status == 503 and (await answer.json())["error"]["code"] == "draining"
        except TimeoutError:
            return False
        except aiohttp.ClientError:
            return True


async def test_what_outlives_the_drain_is_cut_and_settled(
    upstream: FakeServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    config = fake_config(upstream.base_url, encoder=STATIC, server={"drain_s": 1})
    gateway = await asyncio.to_thread(RunningGateway(tmp_path, config).start)
    endless = {"text": "word " * 1000, "chunks": 1000, "pace_s": 0.05}
    asking = [
        chat(session, gateway.url, asked(stream=stream, fake=endless | {"first_s": 60.0 * (not stream)}))
        for stream in (True, False)
    ]
    under_way = asyncio.gather(*asking)
    await until(lambda: len(upstream.requests) == 2, within_s=5, what="two requests are under way")
    assert await asyncio.to_thread(gateway.stop) == 0
    assert not any(got.is_complete for got in await under_way)
    assert all(seen.closed_early for seen in upstream.requests)
    rows = await asyncio.to_thread(gateway.export, "--open")
    assert [(row["status"], row["usage_source"]) for row in rows] == [("cancelled", "counted")] * 2


async def test_a_second_gateway_on_the_same_directory_is_refused_at_once(
    pair: RunningGateway, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    (tmp_path / "second").mkdir()
    config = fake_config("http://127.0.0.1:9/v1", encoder=STATIC)
    second = RunningGateway(tmp_path / "second", {**config, "store": {"dir": str(pair.store_dir)}})
    second._arguments[second._arguments.index("--store-dir") + 1] = str(pair.store_dir)
    with pytest.raises(AssertionError, match=rf"in use by process {pair.pid}; stop that gateway or set another"):
        await asyncio.to_thread(second.start, within_s=10.0)
    assert "Traceback" not in second.log_file.read_text()
    assert (await chat(session, pair.url, asked())).status == 200


async def config_now(gateway: RunningGateway) -> set[str]:
    """The configuration hashes that the workers, each asked alone, say are in force."""
    hashes = set()
    for worker in gateway.workers():
        with frozen(worker):
            hashes.add(orjson.loads(await asyncio.to_thread(gateway.get, "/readyz"))["config"])
    return hashes


def rewrite(gateway: RunningGateway, **changes: Any) -> None:
    tree = yaml.safe_load(gateway.config_file.read_text())
    gateway.config_file.write_text(yaml.safe_dump({**tree, **changes}))
    os.kill(gateway.pid, signal.SIGHUP)


async def test_sighup_swaps_the_configuration_under_requests_in_flight(
    pair: RunningGateway, upstream: FakeServer, session: aiohttp.ClientSession
) -> None:
    (before,) = await config_now(pair)
    body = asked(MODELS[0], stream=True, fake={"text": "word " * 60, "chunks": 60, "pace_s": 0.05})
    under_way = asyncio.create_task(chat(session, pair.url, body))
    await until(lambda: len(upstream.requests) == 1, within_s=5, what="a stream is under way")
    models = yaml.safe_load(pair.config_file.read_text())["models"]
    del models[MODELS[0]]
    rewrite(pair, models=models, trade_offs={"miser": {"usd_per_correct_answer": 0.0001}})
    await eventually(lambda: is_other(pair, before), within_s=10, what="both workers took the new configuration")
    assert (await chat(session, pair.url, asked("auto:miser"))).status == 200
    assert (await chat(session, pair.url, asked(MODELS[0]))).status == 404
    assert (await under_way).is_complete


async def is_other(gateway: RunningGateway, before: str) -> bool:
    now = await config_now(gateway)
    return len(now) == 1 and before not in now


async def test_sighup_brings_a_new_tenant_and_keeps_the_others_out(
    pair: RunningGateway, session: aiohttp.ClientSession
) -> None:
    (before,) = await config_now(pair)
    rewrite(pair, tenants={"team": {"keys": ["sk-gearshift-of-the-team"]}})
    await eventually(lambda: is_other(pair, before), within_s=10, what="both workers took the new configuration")
    got = [await with_key(session, pair, key) for key in ("sk-gearshift-of-the-team", "sk-gearshift-of-nobody")]
    assert [each.status for each in got] == [200, 401]
    assert [row["tenant"] for row in await asyncio.to_thread(pair.export)] == ["team"]


async def with_key(session: aiohttp.ClientSession, gateway: RunningGateway, key: str) -> Got:
    headers = {"authorization": f"Bearer {key}"}
    async with session.post(gateway.url + "/v1/chat/completions", json=asked(), headers=headers) as answer:
        return Got(answer.status, dict(answer.headers), await answer.read(), 0.0)


@pytest.mark.parametrize(
    "broken", ["models: [", "models: {}\n", "surprise: true\n"], ids=["not_yaml", "no_model", "unknown_key"]
)
async def test_a_broken_configuration_leaves_the_old_one_in_force(
    pair: RunningGateway, session: aiohttp.ClientSession, broken: str
) -> None:
    before = await config_now(pair)
    pair.config_file.write_text(broken)
    os.kill(pair.pid, signal.SIGHUP)
    await until(lambda: "the old one stays in force" in pair.log_file.read_text(), within_s=10, what="the log says so")
    assert await config_now(pair) == before
    assert (await chat(session, pair.url, asked())).status == 200


async def test_the_gateway_is_ready_while_the_local_model_loads(
    upstream: FakeServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    config = fake_config(upstream.base_url, models=("remote",), encoder=STATIC)
    config["models"]["tiny"] = {"deployments": [{"upstream": "local"}]}
    gateway = RunningGateway(tmp_path, config)
    starting = asyncio.create_task(asyncio.to_thread(gateway.start))
    try:
        await until(lambda: bool(local_models(gateway)), within_s=10, what="the local model's process is there")
        with frozen(local_models(gateway)[0]):
            await starting
            assert "loading" in orjson.loads(await asyncio.to_thread(gateway.get, "/readyz"))["waiting"]["tiny"]
            forced = await chat(session, gateway.url, asked("tiny"))
            assert (forced.status, "loading" in forced.error["message"]) == (503, True)
            assert int(forced.headers["retry-after"]) >= 1
            routed = await chat(session, gateway.url, asked())
            assert routed.headers["x-gearshift-arm"] == "remote/instant"
            waiting = await chat(session, gateway.url, asked(gearshift={"models": ["tiny"]}))
            assert (waiting.status, "loading" in waiting.error["message"]) == (503, True)
        await eventually(lambda: answers(session, gateway, "tiny"), within_s=60, what="the local model answers")
        family = gateway.family()
    finally:
        assert await asyncio.to_thread(gateway.stop) == 0
    assert [pid for pid in family if is_alive(pid)] == []


def local_models(gateway: RunningGateway) -> list[int]:
    if gateway._process is None:
        return []
    return [pid for pid in children_of(gateway.pid) if "router.local_model_server" in command_of(pid)]


async def answers(session: aiohttp.ClientSession, gateway: RunningGateway, model: str) -> bool:
    return (await chat(session, gateway.url, asked(model, max_tokens=4))).status == 200
