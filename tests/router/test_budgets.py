"""Budgets through the whole gateway: who is answered, who is refused, and what the ledger holds afterwards."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import redis
from rig import CHAT, Given, Json, World, body, tree, until

from router.config.budgets import all_windows
from router.reserving import exceeded
from router.store.balances import balances, read_balances
from router.store.embedded import EmbeddedValkey
from router.store.ledger import BudgetRefused, Per, Refusal, Window, tenant_account
from router.store.reconcile import reconcile

pytestmark = pytest.mark.asyncio
SMALL, LARGE = "small/instant", "large/instant"
FIRST = Given({SMALL: 1})
ASKED = body(max_tokens=100)


def bound_of(asked: Json) -> int:
    """On small: its bytes and the frame at 0.1 USD, its output at 0.4 USD per million; ten times that on large."""
    return (len(orjson.dumps(asked)) + 256) * 100 + asked["max_tokens"] * 400


BOUND = bound_of(ASKED)
USD = 1e-9


def paid(usd: float, *, per: Per = "day", **more: Any) -> Json:
    return {"tenants": {"t": {"budgets": [{"per": per, "usd": usd}], **more}}}


def balance(url: str, *, per: Per = "day", tenant: str = "t") -> tuple[int, int]:
    """(spent, reserved) now, in nano-USD."""
    window = Window(tenant_account(tenant), per, 0, "t")
    with redis.Redis.from_url(url) as server:
        (found,) = read_balances(server, [("default", window)])
    return found.spent, found.reserved


def sent(world: World, model: str) -> list[Json]:
    """Bodies that go to the model's only endpoint from now on."""
    upstream = world.gateway.setup.deployments.of(model)[0].upstream
    bodies: list[Json] = []
    send = upstream.send

    async def note(call: Any, timeouts: Any) -> Any:
        bodies.append(dict(call.body))
        return await send(call, timeouts)

    upstream.send = note  # type: ignore[method-assign]
    return bodies


async def test_an_answer_is_reserved_while_it_is_made_and_charged_by_its_usage(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree(**paid(1)), policy=FIRST) as world:
        wire, task = world.start(CHAT, {**ASKED, "stream": True, "fake": {"pace_s": 0.05}})
        await wire.begun.wait()
        _, reserved = balance(valkey_url)
        await task
        outcome = world.outcome()
    assert reserved >= BOUND
    assert balance(valkey_url) == (outcome["nano_usd"], 0)


async def test_sixty_four_clients_cannot_overspend_a_budget_for_twelve(valkey_url: str, tmp_path: Path) -> None:
    asked = {**ASKED, "model": "small", "fake": {"first_s": 0.3}}
    bound = bound_of(asked)
    async with World(valkey_url, tmp_path, tree(**paid(12 * bound * USD)), policy=FIRST) as world:
        bodies = sent(world, "small")
        got = await asyncio.gather(*(world.chat(asked) for _ in range(64)))
        statuses = [each.status for each in got]
        spent, reserved = balance(valkey_url)
        billed = sum(row["nano_usd"] for row in world.rows(b"o"))
    assert (statuses.count(200), statuses.count(429), len(bodies)) == (12, 52, 12)
    assert (spent, reserved) == (billed, 0)
    assert 0 < spent <= 12 * bound


async def test_a_window_that_is_overdrawn_is_told_as_such() -> None:
    window = Window(tenant_account("t"), "day", 10_000, "tenant 't'")
    told = exceeded(BudgetRefused([Refusal(window, -4_700, 60)]), 5_000).message
    assert "0.00001 USD per day, is overdrawn by 0.0000047 USD, and this request could cost 0.000005;" in told


async def test_a_refusal_says_which_window_its_limit_and_what_to_do(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree(**paid(0.00001)), policy=FIRST) as world:
        got = await world.chat(ASKED)
        assert world.rows(b"d") == world.rows(b"o") == []
        (family,) = world.gateway.metrics.budget_refusals.collect()
    assert (got.status, got.error["code"], got.headers["x-should-retry"]) == (429, "budget_exceeded", "false")
    assert 0 < int(got.headers["retry-after"]) <= 86_400
    assert "the budget of tenant 't', 0.00001 USD per day, has 0.00001 USD left" in got.error["message"]
    assert "max_tokens" in got.error["message"]
    (sample,) = (each for each in family.samples if each.name.endswith("_total"))
    assert (sample.labels, sample.value) == ({"tenant": "t", "outcome": "rejected"}, 1)


async def test_an_arm_that_does_not_fit_is_drawn_again_among_those_that_do(valkey_url: str, tmp_path: Path) -> None:
    policy = Given({SMALL: 0.2, LARGE: 0.8})
    async with World(valkey_url, tmp_path, tree(**paid(3 * BOUND * USD)), policy=policy) as world:
        world.gateway.rng = np.random.default_rng(1)  # its first number is 0.51: large
        got = await world.chat(ASKED)
        row = world.row()
    assert (got.status, row["arm"], row["kind"], row["propensities"]) == (200, SMALL, "single", [1.0])
    assert row["redraws"] == [{"arm": LARGE, "propensities": [0.2, 0.8], "arms": [SMALL, LARGE]}]
    assert "the budget has" in row["removed"][LARGE]


async def test_a_fallback_stays_within_the_reservation(valkey_url: str, tmp_path: Path) -> None:
    down = {"fault": "status_500"}
    for first, served in ((SMALL, None), (LARGE, SMALL)):
        model = first.split("/")[0]
        async with World(
            valkey_url, tmp_path, tree(**paid(1)), policy=Given({first: 0.9, SMALL: 0.1}), scripts={model: down}
        ) as world:
            world.gateway.setup = world.setup_of(world.config, Given({first: 1}))
            got = await world.chat(ASKED)
            outcome = world.rows(b"o")[-1]
        if served is None:
            assert (got.status, outcome["nano_usd"]) == (502, 0)
            assert {each["arm"] for each in outcome["attempts"]} == {SMALL}
        else:
            assert (got.status, outcome["served_arm"]) == (200, served)


async def test_an_attempt_that_was_cut_is_charged_and_not_made_again(valkey_url: str, tmp_path: Path) -> None:
    plain = tree("small", **paid(1))
    async with World(valkey_url, tmp_path, plain, policy=FIRST, scripts={"small": {"fault": "cut_in_body"}}) as world:
        got = await world.chat(ASKED)
        outcome = world.outcome()
    assert (got.status, len(outcome["attempts"]), outcome["attempts"][0]["kind"]) == (502, 1, "cut")
    assert outcome["nano_usd"] > 0
    assert balance(valkey_url) == (outcome["nano_usd"], 0)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_pays_for_what_was_generated(valkey_url: str, tmp_path: Path, stream: bool) -> None:
    async with World(valkey_url, tmp_path, tree(**paid(1)), policy=FIRST) as world:
        asked = {**ASKED, "stream": stream, "fake": {"first_s": 0.0 if stream else 30.0, "pace_s": 0.1}}
        wire, task = world.start(CHAT, asked)
        await (wire.begun.wait() if stream else until(lambda: world.calls == 1))
        wire.left.set()
        await asyncio.wait_for(task, 2)
        outcome = world.outcome()
    assert (outcome["status"], outcome["usage_source"]) == ("cancelled", "counted")
    assert 0 < outcome["output_tokens"] < 20
    assert balance(valkey_url) == (outcome["nano_usd"], 0)


async def test_a_request_that_is_stopped_while_it_opens_leaves_nothing_reserved(
    valkey_url: str, tmp_path: Path
) -> None:
    async with World(valkey_url, tmp_path, tree(**paid(1)), policy=FIRST) as world:
        for steps in range(12):
            _, task = world.start(CHAT, ASKED)
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        await until(lambda: balance(valkey_url)[1] == 0)
        assert balance(valkey_url)[0] == sum(row["nano_usd"] for row in world.rows(b"o"))


async def test_without_a_store_a_budget_answers_nobody_and_others_are_served(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path / "valkey") as server:
        plain = tree(store={"when_down": "serve"}, **paid(1))
        async with World(server.url, tmp_path, plain, policy=FIRST) as world:
            free = world.config.tenants["t"].model_copy(update={"budgets": []})
            others = world.config.model_copy(update={"tenants": {"t": free}})
            server.stop()
            got = await world.chat(ASKED)
            world.gateway.setup = world.setup_of(others)
            assert (await world.chat(ASKED)).status == 200
            server.start()
    assert (got.status, got.error["code"], got.headers["retry-after"]) == (503, "ledger_unavailable", "1")


@pytest.mark.parametrize("when_down", ["reject", "serve"])
async def test_without_a_store_what_was_set_aside_for_it_is_spent_and_no_more(tmp_path: Path, when_down: str) -> None:
    set_aside = paid(20 * BOUND * USD, outage_usd=2.5 * BOUND * USD)
    with EmbeddedValkey(tmp_path / "data") as server:
        plain = tree(store={"when_down": when_down}, **set_aside)
        async with World(server.url, tmp_path, plain, policy=FIRST) as world:
            free = round(2.5 * BOUND)
            assert balance(server.url) == (0, free), "from the start on"
            server.stop()
            answers = [await world.chat(ASKED) for _ in range(3)]
            server.start()
            await asyncio.wait_for(world.store.wait_replayed(), 10)
            spent, reserved = balance(server.url)
            outcomes = [row["nano_usd"] for row in world.rows(b"o")]
            assert (spent, reserved) == (sum(outcomes), free - 2 * BOUND), "what is left of it, until it is renewed"
        assert balance(server.url) == (spent, 0)
        assert (await asyncio.to_thread(reconcile, server.url, tmp_path / "data")).agrees
    assert [got.status for got in answers] == [200, 200, 503]
    assert (answers[2].error["code"], "outage_usd" in answers[2].error["message"]) == ("ledger_unavailable", True)
    assert all(outcomes)
    assert len(outcomes) == 2


async def test_a_reload_changes_what_is_set_aside(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree(**paid(1, outage_usd=0.25)), policy=FIRST) as world:
        assert balance(valkey_url) == (0, 250_000_000)
        without = world.config.tenants["t"].model_copy(update={"outage_usd": None})
        world.gateway.setup = world.setup_of(world.config.model_copy(update={"tenants": {"t": without}}))
        await world.store._upkeep()
        assert balance(valkey_url) == (0, 0)


async def test_the_series_show_what_is_set_aside(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree(**paid(1, outage_usd=0.25)), policy=FIRST) as world:
        metrics = world.gateway.metrics
        metrics.set_aside(world.store.outage_left)
        assert metrics.outage_left.labels("t")._value.get() == 0.25
        metrics.set_aside({})
        assert metrics.outage_left.labels("t")._value.get() == 0.0


async def test_an_unknown_price_is_not_paid_from_a_budget(valkey_url: str, tmp_path: Path) -> None:
    plain = tree(**paid(1))
    del plain["models"]["large"]["price"]
    async with World(valkey_url, tmp_path, plain, policy=Given({LARGE: 1})) as world:
        assert (await world.chat(ASKED)).headers["x-gearshift-arm"] == SMALL
        assert "the price is unknown and the tenant has a budget" in world.row()["removed"][LARGE]
        named = await world.chat({**ASKED, "model": "large"})
    assert (named.status, named.error["code"]) == (400, "no_eligible_model")


async def test_an_answer_without_a_bound_gets_the_models_and_only_for_a_budget(valkey_url: str, tmp_path: Path) -> None:
    for more, bounds in ((paid(1), [8192, 50]), ({}, [None, 50])):
        async with World(valkey_url, tmp_path, tree(**more), policy=FIRST) as world:
            bodies = sent(world, "small")
            await world.chat(body())
            await world.chat(body(max_tokens=50))
        assert [each.get("max_tokens") for each in bodies] == bounds


async def test_a_spent_budget_ends_as_its_tenant_says(valkey_url: str, tmp_path: Path) -> None:
    plain = tree("small", "large", "home", **paid(1e-6, when_spent="cheapest"))
    plain["models"]["home"] |= {"price": {"input": 0.2, "output": 5.0}, "modes": ["instant"]}
    async with World(valkey_url, tmp_path, plain, policy=Given({LARGE: 1})) as world:
        cheapest = await world.chat(ASKED)
        named = await world.chat({**ASKED, "model": "large"})
        row = world.row()
        spent, reserved = balance(valkey_url)
    assert (cheapest.headers["x-gearshift-arm"], row["kind"], len(row["redraws"])) == (SMALL, "single", 1)
    assert (named.status, named.error["code"]) == (429, "budget_exceeded")
    assert (spent > 1_000, reserved) == (True, 0)


async def test_a_tool_result_leaves_an_arm_that_the_budget_has_no_room_for(valkey_url: str, tmp_path: Path) -> None:
    tool = {"type": "function", "function": {"name": "search", "parameters": {"type": "object", "properties": {}}}}
    asked = body(tools=[tool], max_tokens=100)
    limit = 10 * (bound_of(asked) + 768 * 100) + 1  # a tool result is longer, so large no longer fits
    async with World(valkey_url, tmp_path, tree(**paid(limit * USD)), policy=Given({LARGE: 1})) as world:
        called = (await world.chat(asked)).json["choices"][0]["message"]
        result = {"role": "tool", "tool_call_id": called["tool_calls"][0]["id"], "content": "42"}
        got = await world.chat({**asked, "messages": [*asked["messages"], called, result]})
        first, second = world.rows(b"d")
    assert (got.status, first["arm"], second["arm"], second["kind"]) == (200, LARGE, SMALL, "single")
    assert second["redraws"] == [{"arm": LARGE, "propensities": [0.0, 1.0], "arms": [SMALL, LARGE]}]
    assert second["decision_id"].removeprefix("dec-") == second["request_id"].removeprefix("chatcmpl-")


async def test_a_soft_budget_does_not_overdraw_the_organisations(valkey_url: str, tmp_path: Path) -> None:
    shared = {"organisations": {"default": {"budgets": [{"per": "month", "usd": 1.5 * BOUND * USD}]}}}
    plain = tree(**paid(1e-6, when_spent="cheapest"), **shared)
    async with World(valkey_url, tmp_path, plain, policy=FIRST) as world:
        wire, task = world.start(CHAT, {**ASKED, "fake": {"first_s": 30.0}})
        await until(lambda: world.calls == 1)
        got = await world.chat(ASKED)
        wire.left.set()
        await task
    assert (got.status, "organisation 'default'" in got.error["message"]) == (429, True)


async def test_when_spent_local_leaves_what_is_free(valkey_url: str, tmp_path: Path) -> None:
    plain = tree("small", "home", **paid(1e-6, when_spent="local"))
    plain["models"]["home"]["price"] = {"input": 0, "output": 0}
    async with World(valkey_url, tmp_path, plain, policy=Given({SMALL: 1})) as world:
        got = await world.chat(ASKED)
    assert (got.status, got.headers["x-gearshift-arm"]) == (200, "home/instant")
    assert balance(valkey_url) == (0, 0)


async def test_an_organisations_budget_binds_all_its_tenants(valkey_url: str, tmp_path: Path) -> None:
    tenants = {name: {"keys": [f"key-of-{name}"]} for name in ("t", "u")}
    shared = {"organisations": {"default": {"budgets": [{"per": "month", "usd": 1.5 * BOUND * USD}]}}}
    async with World(valkey_url, tmp_path, tree(tenants=tenants, **shared), policy=FIRST) as world:
        wire, task = world.start(
            CHAT, {**ASKED, "fake": {"first_s": 30.0}}, headers={"authorization": "Bearer key-of-t"}
        )
        await until(lambda: world.calls == 1)
        got = await world.chat(ASKED, authorization="Bearer key-of-u")
        wire.left.set()
        await task
    assert (got.status, "organisation 'default'" in got.error["message"]) == (429, True)


async def test_the_bound_covers_choices_thinking_tools_and_images(valkey_url: str, tmp_path: Path) -> None:
    plain = tree("small", **paid(100))
    plain["models"]["small"] |= {
        "modes": ["reasoning"], "efforts": ["3000"], "thinking": "budget_tokens", "max_output_tokens": 4000,
        "price": {"input": 1, "cache_write": 2, "output": 3, "reasoning": 4},
    }  # fmt: skip
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 90_000}}
    asks = [
        (body(max_tokens=10, n=2), 0, 3010 * 2),
        (body(), 0, 4000),
        (body(tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}], max_tokens=1), 768, 3001),
        (
            {"model": "auto", "messages": [{"role": "user", "content": [picture]}], "max_tokens": 1},
            2000 - len(picture["image_url"]["url"]),
            3001,
        ),
    ]
    async with World(valkey_url, tmp_path, plain) as world:
        for asked, _, _ in asks:
            assert (await world.chat(asked)).status == 200
        bounds = [start.hold.bound for start in world.store.starts]
    assert bounds == [(len(orjson.dumps(asked)) + 256 + more) * 2_000 + output * 4_000 for asked, more, output in asks]


BROUGHT_IN = [
    {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-abc"}}]}]},
    {"previous_response_id": "resp-1"},
    {"tools": [{"type": "web_search"}]},
]


@pytest.mark.parametrize("more", BROUGHT_IN)
async def test_what_an_endpoint_may_bring_into_a_prompt_is_reserved(
    valkey_url: str, tmp_path: Path, more: Json
) -> None:
    whole = 60_000 * 100 + 10 * 400
    faulty = {"small": {"first_s": 0.3, "fault": "usage_prompt_far_over", "tool_calls": 0}}
    plain = tree("small", **paid(3 * whole / 1e9))
    plain["models"]["small"]["context_tokens"] = 60_000
    async with World(valkey_url, tmp_path, plain, scripts=faulty) as world:
        asked = {**body(max_tokens=10, gearshift={"modes": ["instant"]}), **more}
        got = await asyncio.gather(*(world.chat(asked) for _ in range(12)))
        assert {start.hold.bound for start in world.store.starts} == {whole}
        spent, reserved = balance(valkey_url)
    assert [each.status for each in got].count(200) == 3
    assert 3 * 60_000 * 100 < spent <= 3 * whole
    assert reserved == 0


async def test_images_are_reserved_as_the_model_declares_them(valkey_url: str, tmp_path: Path) -> None:
    plain = tree("small", **paid(1))
    plain["models"]["small"]["tokens_per_image"] = 48_000
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    asked = {**body(max_tokens=1), "messages": [{"role": "user", "content": [picture]}]}
    async with World(valkey_url, tmp_path, plain) as world:
        await world.chat(asked)
        (start,) = world.store.starts
    assert start.hold.bound == (len(orjson.dumps(asked)) + 256 + 48_000) * 100 + 400


async def test_the_series_show_the_windows(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree(**paid(2)), policy=FIRST) as world:
        await world.chat(ASKED)
        metrics = world.gateway.metrics
        for balance in await balances(world.store, all_windows(world.config)):
            metrics.balanced(balance)
        spent, limit = (
            gauge.labels("tenant 't'", "day")._value.get() for gauge in (metrics.budget_spent, metrics.budget_limit)
        )
        billed = world.outcome()["nano_usd"]
    assert (spent, limit) == (billed / 1e9, 2)
