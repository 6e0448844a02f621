"""What an answer without an end, or without a believable bill, is charged: never less than an endpoint may want."""

import asyncio
from pathlib import Path

import pytest
from rig import CHAT, Given, Json, World, body, tree, until

pytestmark = pytest.mark.asyncio
FIRST = Given({"small/instant": 1})
PAID = {"tenants": {"t": {"budgets": [{"per": "day", "usd": 1}]}}}
LATE_S = 30.0


async def left(world: World, asked: Json, *, after_s: float) -> Json:
    """The outcome of a request whose client leaves so long after the endpoint was asked."""
    wire, task = world.start(CHAT, asked)
    await until(lambda: world.calls == 1)
    await asyncio.sleep(after_s)
    wire.left.set()
    await asyncio.wait_for(task, 3)
    return world.outcome()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("paid", [PAID, {}])
async def test_before_anything_was_seen_the_time_that_passed_is_charged(
    valkey_url: str, tmp_path: Path, stream: bool, paid: Json
) -> None:
    asked = body(max_tokens=1_000, stream=stream, fake={"first_s": LATE_S})
    async with World(valkey_url, tmp_path, tree("small", **paid), policy=FIRST) as world:
        outcome = await left(world, asked, after_s=0.4)
    assert (outcome["status"], outcome["usage_source"]) == ("cancelled", "counted")
    assert 20 <= outcome["output_tokens"] <= 500  # 50 a second
    assert outcome["nano_usd"] == outcome["input_tokens"] * 100 + outcome["output_tokens"] * 400


@pytest.mark.parametrize("stream", [False, True])
async def test_an_attempt_that_timed_out_is_charged_alike_streamed_or_not(
    valkey_url: str, tmp_path: Path, stream: bool
) -> None:
    plain = tree("small", **PAID)
    plain["models"]["small"]["timeouts"] = {"first_byte_s": 0.4}
    async with World(valkey_url, tmp_path, plain, policy=FIRST) as world:
        got = await world.chat(body(max_tokens=10, stream=stream, fake={"first_s": LATE_S}))
        outcome = world.outcome()
    assert (got.status, [each["kind"] for each in outcome["attempts"]]) == (504, ["timeout"])
    assert outcome["nano_usd"] > 10 * 400


async def test_a_model_that_thinks_may_have_thought_more_than_was_seen(valkey_url: str, tmp_path: Path) -> None:
    plain = tree("small", **PAID)
    plain["models"]["small"] |= {"modes": ["instant", "reasoning"], "efforts": ["low"], "thinking": "reasoning_effort"}
    seen = {}
    for arm in ("small/instant", "small/reasoning:low"):
        asked = body(max_tokens=1_000, stream=True, fake={"first_s": 0.5, "pace_s": 5.0})
        async with World(valkey_url, tmp_path, plain, policy=Given({arm: 1})) as world:
            wire, task = world.start(CHAT, asked)
            await wire.begun.wait()
            wire.left.set()
            await asyncio.wait_for(task, 3)
            seen[arm] = world.rows(b"o")[-1]["output_tokens"]
    assert 0 < seen["small/instant"] < 20 <= seen["small/reasoning:low"]


PICTURE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
DENSE = "a " * 4_200 + "7" * 33_000 + " a" * 4_200  # an estimate from its ends alone sees 13,000 tokens


@pytest.mark.parametrize(
    ("part", "least", "most"),
    [
        ({"type": "text", "text": "hello"}, 1, 20),
        ({"type": "text", "text": DENSE}, 33_000, 50_000),
        ({"type": "file", "file": {"file_id": "f"}}, 50_000, 50_000),
        (PICTURE, 48_000, 48_020),
        ({"type": "input_audio", "input_audio": {"data": "A" * 200_000, "format": "wav"}}, 6_000, 7_000),
    ],
)
@pytest.mark.parametrize("fault", [None, "usage_missing"])
async def test_the_prompt_is_charged_by_what_the_model_reads(
    valkey_url: str, tmp_path: Path, part: Json, least: int, most: int, fault: str | None
) -> None:
    plain = tree("small", **PAID)
    plain["models"]["small"] |= {"context_tokens": 50_000, "tokens_per_image": 48_000}
    asked = {**body(max_tokens=100), "messages": [{"role": "user", "content": [part]}]}
    script = {"small": {"fault": fault} if fault else {"first_s": LATE_S}}
    async with World(valkey_url, tmp_path, plain, policy=FIRST, scripts=script) as world:
        if fault:
            assert (await world.chat(asked)).status == 200
            outcome = world.outcome()
        else:
            outcome = await left(world, asked, after_s=0.0)
        (start,) = world.store.starts
    assert least <= outcome["input_tokens"] <= most
    assert outcome["usage_source"] == "counted"
    assert outcome["nano_usd"] <= start.hold.bound


async def test_a_file_of_a_few_tokens_is_believed(valkey_url: str, tmp_path: Path) -> None:
    plain = tree("small", **PAID)
    plain["models"]["small"]["context_tokens"] = 50_000
    part = {"type": "file", "file": {"file_id": "f"}}
    async with World(valkey_url, tmp_path, plain, policy=FIRST) as world:
        await world.chat({**body(max_tokens=10), "messages": [{"role": "user", "content": [part]}]})
        outcome = world.outcome()
    assert (outcome["usage_source"], outcome["usage_flags"]) == ("upstream", [])
    assert outcome["input_tokens"] < 100


async def test_attempts_that_were_lost_are_in_the_cost_without_a_budget_too(valkey_url: str, tmp_path: Path) -> None:
    script = {"small": {"fault": ["cut_in_body", None]}}
    async with World(valkey_url, tmp_path, tree("small"), policy=FIRST, scripts=script) as world:
        got = await world.chat(body(max_tokens=100))
        outcome = world.outcome()
    answered = outcome["input_tokens"] * 100 + outcome["output_tokens"] * 400
    assert (got.status, [each["kind"] for each in outcome["attempts"]]) == (200, ["cut", "ok"])
    assert outcome["nano_usd"] > answered
