"""The replay upstream on a small recorded set, and the command that drives it through a gateway's HTTP."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import pytest_asyncio
from aiohttp import web

from policies.tables import OutcomeTable
from router.commands.replay import Served, choose, drive, summarise
from router.upstreams.replay import Recording, ReplayServer, UnknownQuestion, filler, load_recording

ARMS = (("small", "instant", 0.4, 30), ("big", "instant", 0.9, 60), ("big", "reasoning", 1.0, 90))


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    """Ten queries, three arms; a reply text is kept for query q0 of `small` alone."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    ids = [f"q{at}" for at in range(10)]
    queries = {"query_id": ids, "prompt": [f"question {at}?" for at in range(10)], "subject": ["s"] * 10}
    pq.write_table(pa.table(queries), folder / "queries.parquet")
    rows = [
        {
            "query_id": query,
            "model": model,
            "mode": mode,
            "variant": "",
            "score": score,
            "n_samples": 1,
            "prompt_tokens": 7,
            "completion_tokens": tokens,
            "token_source": "api",
            "cost_usd": None,
            "latency_s": 0.2,
        }
        for query in ids
        for model, mode, score, tokens in ARMS
    ]
    schema = {"cost_usd": pa.float64()}
    table = pa.Table.from_pylist(rows)
    table = table.set_column(table.schema.get_field_index("cost_usd"), "cost_usd", pa.nulls(30, schema["cost_usd"]))
    pq.write_table(table, folder / "outcomes.parquet")
    reply = {"query_id": "q0", "model": "small", "mode": "instant", "variant": "", "response": "a kept reply"}
    pq.write_table(pa.Table.from_pylist([reply]), folder / "responses_sample.parquet")
    price = {"input": 1.0, "output": 2.0}
    arms = [{"model": model, "mode": mode, "usd_per_mtok": price} for model, mode, _, _ in ARMS]
    pools = tmp_path / "pools.json"
    pools.write_bytes(orjson.dumps({"tiny_3": {"set": "tiny", "domain": "subject", "arms": arms}}))
    return load_recording(tmp_path, pools, "tiny_3")


@pytest_asyncio.fixture
async def server(recording: Recording) -> AsyncIterator[ReplayServer]:
    async with ReplayServer(recording, scale=0.0) as server:
        yield server


def asked(model: str, content: object = "question 3?", **more: object) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": content}], **more}


async def post(server: ReplayServer, body: dict[str, Any]) -> tuple[int, bytes]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{server.base_url}/chat/completions", json=body) as response,
    ):
        return response.status, await response.read()


@pytest.mark.asyncio
async def test_recorded_text_and_tokens_are_served(server: ReplayServer) -> None:
    _, raw = await post(server, asked("small/instant", "question 0?"))
    answer = orjson.loads(raw)
    assert answer["choices"][0]["message"]["content"] == "a kept reply"
    assert answer["usage"] == {"prompt_tokens": 7, "completion_tokens": 30, "total_tokens": 37}


@pytest.mark.asyncio
async def test_a_missing_text_is_a_filler_that_says_so(server: ReplayServer) -> None:
    _, raw = await post(server, asked("big/reasoning"))
    text = orjson.loads(raw)["choices"][0]["message"]["content"]
    assert len(text.split()) == 90
    assert text.startswith("[replay: the set keeps no reply text")


@pytest.mark.asyncio
async def test_a_stream_carries_the_same_text_and_usage(server: ReplayServer) -> None:
    body = asked("small/instant", "question 0?", stream=True, stream_options={"include_usage": True})
    _, raw = await post(server, body)
    lines = [line[6:] for line in raw.splitlines() if line]
    events = [orjson.loads(line) for line in lines[:-1]]
    assert lines[-1] == b"[DONE]"
    assert "".join(c["delta"].get("content") or "" for e in events for c in e["choices"]) == "a kept reply"
    assert events[-1]["usage"]["completion_tokens"] == 30


@pytest.mark.asyncio
@pytest.mark.parametrize("body", [asked("small", "never asked"), asked("nobody"), asked("big")])
async def test_what_was_not_recorded_is_an_openai_404(server: ReplayServer, body: dict[str, Any]) -> None:
    status, raw = await post(server, body)
    assert status == 404
    assert "never asked" not in orjson.loads(raw)["error"]["message"]


@pytest.mark.parametrize(
    ("body", "arm"),
    [
        (asked("small"), 0),
        (asked("big/instant"), 1),
        (asked("big", chat_template_kwargs={"enable_thinking": True}), 2),
        (asked("big", chat_template_kwargs={"enable_thinking": False}), 1),
        (asked("small", [{"type": "text", "text": "question 3?"}]), 0),
    ],
)
def test_the_arm_is_found_by_name_or_by_its_switch(recording: Recording, body: dict[str, Any], arm: int) -> None:
    assert recording.find(body) == (3, arm)


def test_an_effort_nobody_recorded_is_unknown(recording: Recording) -> None:
    with pytest.raises(UnknownQuestion, match="no arm"):
        recording.find(asked("big", reasoning_effort="high"))


@pytest.mark.asyncio
async def test_recorded_time_passes_scaled(recording: Recording) -> None:
    async with ReplayServer(recording, scale=0.5) as server:
        loop = asyncio.get_running_loop()
        started = loop.time()
        await post(server, asked("small"))
    assert loop.time() - started >= 0.1


@pytest.mark.parametrize("tokens", [1, 5, 500])
def test_a_filler_has_the_recorded_length(tokens: int) -> None:
    assert len(filler(tokens).split()) == tokens


def test_the_halves_part_the_prompts_without_a_rest(recording: Recording) -> None:
    table = recording.table
    parts = [choose(table, ids=None, half=half, limit=None) for half in (0, 1)]
    assert sorted(parts[0] + parts[1]) == list(range(10))


def test_named_rows_are_replayed_in_their_order_and_once(recording: Recording) -> None:
    table = recording.table
    assert choose(table, ids=["q5", "q1", "elsewhere", "q5"], half=None, limit=None) == [5, 1]
    assert choose(table, ids=["q5", "q1"], half=None, limit=1) == [5]


class Gateway:
    """The part of a gateway's HTTP that the command needs: serves `big/instant`, refuses one prompt."""

    def __init__(self) -> None:
        self.feedback: list[dict[str, Any]] = []

    async def chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body["messages"][0]["content"] == "question 9?":
            return web.json_response({"error": {"message": "no", "code": "upstream_error"}}, status=502)
        headers = {"x-gearshift-arm": "big/instant", "x-gearshift-propensity": "0.5", "x-gearshift-cost-usd": "0.25"}
        return web.json_response({"id": "chatcmpl-1", "usage": {}}, headers=headers)

    async def take(self, request: web.Request) -> web.Response:
        self.feedback.append(await request.json())
        return web.json_response({})


@pytest_asyncio.fixture
async def gateway() -> AsyncIterator[tuple[Gateway, str]]:
    gateway, app = Gateway(), web.Application()
    app.router.add_post("/v1/chat/completions", gateway.chat)
    app.router.add_post("/v1/feedback", gateway.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield gateway, f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def driven(table: OutcomeTable, url: str) -> list[Served]:
    return await drive(table, range(len(table)), url=url, model="auto", api_key="k", concurrency=3)


@pytest.mark.asyncio
async def test_driving_scores_what_was_served_and_posts_it(recording: Recording, gateway: tuple[Gateway, str]) -> None:
    served = await driven(recording.table, gateway[1])
    summary = summarise(served)
    assert (summary.n, summary.answered, summary.errors) == (10, 9, {"502 upstream_error": 1})
    assert (summary.accuracy, summary.mean_usd) == (pytest.approx(0.9), pytest.approx(0.25))
    assert summary.shares == {"big/instant": 1.0}
    assert gateway[0].feedback == [{"request_id": "chatcmpl-1", "metric": "score", "value": 0.9}] * 9


@pytest.mark.asyncio
async def test_no_gateway_is_an_error_per_prompt_and_no_crash(recording: Recording) -> None:
    summary = summarise(await driven(recording.table, "http://127.0.0.1:9"))
    assert (summary.answered, sum(summary.errors.values())) == (0, 10)
