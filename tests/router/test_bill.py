"""What a request is billed for, through the whole gateway: odd usage, time on a GPU, changed prices, lost attempts."""

import asyncio
from math import ceil
from pathlib import Path
from typing import Any

import orjson
import pytest
from rig import CHAT, Given, Json, World, body, config_of, tree

from policies.prices import Usage, cost_nano_usd
from router.metrics import Metrics

pytestmark = pytest.mark.asyncio
SMALL, LARGE = "small/instant", "large/instant"
PAID = {"tenants": {"t": {"budgets": [{"per": "day", "usd": 1}]}}}
GPU_USD, MOST_S = 0.002, 10.0


def flags_counted(metrics: Metrics) -> dict[str, float]:
    (family,) = metrics.usage_flags.collect()
    return {s.labels["flag"]: s.value for s in family.samples if s.name.endswith("_total")}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fault", "flag"),
    [
        *(("null", "usage_missing"), ("missing", "usage_missing"), ("empty", "missing_prompt_tokens")),
        *(("negative", "bad_completion_tokens"), ("huge", "bad_completion_tokens"), ("list", "usage_not_an_object")),
        *(("beyond_int64", "bad_completion_tokens"), ("string", "bad_completion_tokens")),
        *(("float", "bad_completion_tokens"), ("wrong_total", "total_differs")),
        *(("prompt_far_over", "implausible_prompt_tokens"), ("more_cached_than_prompt", "cache_over_prompt")),
        *(("more_reasoning_than_completion", "reasoning_over_total"), ("other_cost", "cost_differs")),
    ],
)
async def test_odd_usage_is_answered_billed_and_flagged(
    valkey_url: str, tmp_path: Path, fault: str, flag: str, stream: bool
) -> None:
    scripts = {"small": {"fault": f"usage_{fault}"}}
    async with World(valkey_url, tmp_path, tree("small"), scripts=scripts) as world:
        asked = body(stream=stream, max_tokens=40)
        got = await world.chat(asked)
        outcome = world.outcome()
        assert (got.status, outcome["status"], flag in outcome["usage_flags"]) == (200, "ok", True)
        assert flags_counted(world.gateway.metrics)[flag] == 1
    assert 0 < outcome["input_tokens"] <= 1.5 * (len(orjson.dumps(asked)) + 256) + 64
    assert 0 < outcome["output_tokens"] <= 40
    assert outcome["nano_usd"] == outcome["input_tokens"] * 100 + outcome["output_tokens"] * 400


async def test_sound_usage_is_not_flagged(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree("small")) as world:
        await world.chat(body(max_tokens=40))
        outcome = world.outcome()
        assert flags_counted(world.gateway.metrics) == {}
    assert (outcome["usage_flags"], outcome["usage_source"]) == ([], "upstream")


@pytest.mark.parametrize(
    "more",
    [
        {"web_search_options": {}},
        {"tools": [{"type": "web_search"}]},
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]},
    ],
)
async def test_what_an_endpoint_brings_into_the_prompt_is_billed(valkey_url: str, tmp_path: Path, more: Json) -> None:
    plain = tree("small")
    plain["models"]["small"]["context_tokens"] = 50_000
    async with World(
        valkey_url, tmp_path, plain, scripts={"small": {"fault": "usage_prompt_far_over", "tool_calls": 0}}
    ) as world:
        await world.chat({**body(), **more})
        outcome = world.outcome()
    assert (outcome["input_tokens"], outcome["usage_flags"]) == (60_000, ["prompt_over_bound"])


@pytest.mark.parametrize("stream", [False, True])
async def test_every_choice_is_billed(valkey_url: str, tmp_path: Path, stream: bool) -> None:
    async with World(valkey_url, tmp_path, tree("small"), scripts={"small": {"text": "one two three four"}}) as world:
        for n in (1, 3):
            await world.chat(body(n=n, stream=stream))
        one, three = world.rows(b"o")
    assert three["output_tokens"] == 3 * one["output_tokens"] > 0
    assert three["input_tokens"] == one["input_tokens"]


@pytest.mark.parametrize("stream", [False, True])
async def test_every_choice_is_counted_where_usage_is_missing(valkey_url: str, tmp_path: Path, stream: bool) -> None:
    script = {"text": "one two three four", "fault": "usage_missing"}
    async with World(valkey_url, tmp_path, tree("small"), scripts={"small": script}) as world:
        for n in (1, 3):
            await world.chat(body(n=n, stream=stream))
        one, three = world.rows(b"o")
    assert three["output_tokens"] >= 2 * one["output_tokens"] > 0


async def test_an_attempt_that_was_cut_and_the_one_that_answered_are_both_paid(valkey_url: str, tmp_path: Path) -> None:
    scripts = {"large": {"fault": "cut_in_body"}}
    async with World(
        valkey_url, tmp_path, tree(**PAID), policy=Given({LARGE: 0.9, SMALL: 0.1}), scripts=scripts
    ) as world:
        world.gateway.setup = world.setup_of(world.config, Given({LARGE: 1}))
        got = await world.chat(body(max_tokens=100))
        (outcome,), arms = world.rows(b"o"), world.gateway.setup.arms
    assert (got.status, outcome["served_arm"], outcome["attempts"][0]["kind"]) == (200, SMALL, "cut")
    answered = cost_nano_usd(Usage(outcome["input_tokens"], outcome["output_tokens"]), arms[SMALL].price)
    lost = outcome["nano_usd"] - answered
    at_least = cost_nano_usd(Usage(input=1), arms[LARGE].price)
    assert at_least <= lost <= cost_nano_usd(Usage(1_000, 100), arms[LARGE].price)


def by_the_second(**more: Any) -> Json:
    plain = tree("small", **more)
    plain["models"]["small"] |= {"price": {"usd_per_gpu_second": GPU_USD}, "timeouts": {"total_s": MOST_S}}
    return plain


@pytest.mark.parametrize("stream", [False, True])
async def test_own_hardware_is_billed_by_the_second(valkey_url: str, tmp_path: Path, stream: bool) -> None:
    async with World(valkey_url, tmp_path, by_the_second(**PAID)) as world:
        await world.chat(body(stream=stream, fake={"first_s": 0.05}))
        outcome = world.outcome()
        (start,) = world.store.starts
    assert outcome["gpu_us"] == ceil(outcome["attempts"][-1]["seconds"] * 1e6) > 50_000
    assert outcome["nano_usd"] == -(-outcome["gpu_us"] * round(GPU_USD * 1e9) // 10**6)
    assert start.hold.bound == round(MOST_S * GPU_USD * 1e9)


async def test_a_client_that_leaves_pays_for_the_seconds(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, by_the_second(**PAID)) as world:
        wire, task = world.start(CHAT, body(stream=True, fake={"pace_s": 0.1}))
        await wire.begun.wait()
        wire.left.set()
        await asyncio.wait_for(task, 2)
        outcome = world.outcome()
    assert outcome["status"] == "cancelled"
    assert outcome["gpu_us"] == ceil(outcome["attempts"][-1]["seconds"] * 1e6) > 0
    assert outcome["nano_usd"] == -(-outcome["gpu_us"] * round(GPU_USD * 1e9) // 10**6)


async def test_seconds_of_an_endpoint_that_is_not_paid_by_time_are_not_billed(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree("small")) as world:
        await world.chat(body())
        assert world.outcome()["gpu_us"] == 0


async def test_a_changed_price_counts_at_once_and_every_entry_tells_its_prices(valkey_url: str, tmp_path: Path) -> None:
    asked, dearer = body(fake={"text": "one two"}), tree("small")
    dearer["models"]["small"]["price"] = {"input": 1.0, "output": 4.0}
    async with World(valkey_url, tmp_path, tree("small")) as world:
        await world.chat(asked)
        wire, task = world.start(CHAT, {**asked, "stream": True, "fake": {"text": "one two", "pace_s": 0.05}})
        await wire.begun.wait()
        world.gateway.setup = world.setup_of(config_of(dearer))
        await world.chat(asked)
        await task
        rows = world.rows(b"o")
    under: dict[str, set[int]] = {}
    for row in rows:
        under.setdefault(row["prices"], set()).add(row["nano_usd"])
    before, after = (under[version] for version in (rows[0]["prices"], world.gateway.setup.prices))
    assert len(rows) == 3
    assert (len(under), after) == (2, {10 * cost for cost in before})
