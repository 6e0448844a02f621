"""Embeddings by a paid model: reserved, charged and logged like any request, and no way round a budget."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis
from counters import counts_in
from rig import SECRET, Got, Json, World, body, tree, until

from policies.prices import Usage
from router.end_user import pseudonym
from router.http.embedding_usage import read_embedding_usage
from router.store.balances import read_balances
from router.store.embedded import EmbeddedValkey
from router.store.keys import scope_of
from router.store.ledger import Window, tenant_account
from router.store.reconcile import reconcile

EMBED = "/v1/embeddings"
ASKED: Json = {"model": "small", "input": "hello there, what is it that you mean"}
BOUND = (len(orjson.dumps(ASKED)) + 16) * 100  # at 0.1 USD per million tokens


def paid(nano_usd: int, **more: Any) -> Json:
    return {"tenants": {"t": {"budgets": [{"per": "day", "usd": nano_usd / 1e9}]}}, **more}


def balance(url: str) -> tuple[int, int]:
    """(spent, reserved) of the day, in nano-USD."""
    window = Window(tenant_account("t"), "day", 0, "t")
    with redis.Redis.from_url(url) as server:
        (found,) = read_balances(server, [("default", window)])
    return found.spent, found.reserved


async def embed(world: World, **more: Any) -> Got:
    return await world.ask(EMBED, {**ASKED, **more})


@pytest.mark.asyncio
async def test_a_call_is_reserved_by_its_bytes_and_charged_by_its_usage(valkey_url: str, tmp_path: Path) -> None:
    slow = {"small": {"first_s": 0.3}}
    async with World(valkey_url, tmp_path, tree(**paid(10 * BOUND)), scripts=slow) as world:
        _, task = world.start(EMBED, ASKED)
        await until(lambda: world.calls == 1)
        assert balance(valkey_url) == (0, BOUND)
        await task
        again = await embed(world, input=["hello", "there"])
        first, second = world.rows(b"o")
        decision = world.rows(b"d")[0]
    assert (again.status, len(again.json["data"])) == (200, 2)
    assert (first["status"], first["usage_source"], first["nano_usd"]) == (
        "ok",
        "upstream",
        first["input_tokens"] * 100,
    )
    assert (decision["kind"], decision["arm"], decision["embedding_dim"]) == ("forced", "small/instant", 0)
    assert again.headers["x-gearshift-cost-usd"] == f"{second['nano_usd'] / 1e9:.9f}"
    assert balance(valkey_url) == (first["nano_usd"] + second["nano_usd"], 0)
    assert (await asyncio.to_thread(reconcile, valkey_url, tmp_path)).agrees


@pytest.mark.asyncio
async def test_sixty_four_calls_cannot_overspend_a_budget_for_twelve(valkey_url: str, tmp_path: Path) -> None:
    slow = {"small": {"first_s": 0.5}}
    async with World(valkey_url, tmp_path, tree(**paid(12 * BOUND)), scripts=slow) as world:
        got = await asyncio.gather(*(embed(world) for _ in range(64)))
        logged = len(world.rows(b"d"))
    refused = [each for each in got if each.status == 429]
    assert (len(refused), logged, {each.error["code"] for each in refused}) == (52, 12, {"budget_exceeded"})
    assert "the budget of tenant 't'" in refused[0].error["message"]
    assert balance(valkey_url)[1] == 0


@pytest.mark.asyncio
async def test_a_cut_answer_is_charged_and_asked_again_only_without_a_budget(valkey_url: str, tmp_path: Path) -> None:
    cut = {"small": {"fault": "cut_in_body"}}
    costs = []
    for more, attempts in ((paid(100 * BOUND), 1), ({}, 3)):
        async with World(valkey_url, tmp_path, tree("small", **more), scripts=cut) as world:
            got = await embed(world)
            outcome = world.rows(b"o")[-1]
        assert (got.status, got.error["code"], len(outcome["attempts"])) == (502, "upstream_error", attempts)
        costs.append(outcome["nano_usd"])
    assert costs == [costs[0], 3 * costs[0]] != [0, 0], "nobody knows what they cost; we assume that they did"
    assert balance(valkey_url)[1] == 0


@pytest.mark.asyncio
async def test_an_error_status_costs_nothing(valkey_url: str, tmp_path: Path) -> None:
    down = {"small": {"fault": "status_500"}}
    async with World(valkey_url, tmp_path, tree("small", **paid(10 * BOUND)), scripts=down) as world:
        got = await embed(world)
        outcome = world.outcome()
    assert (got.status, outcome["status"], outcome["nano_usd"]) == (502, "error", 0)
    assert balance(valkey_url) == (0, 0)


@pytest.mark.asyncio
async def test_it_counts_in_the_limits_of_its_tenant(valkey_url: str, tmp_path: Path) -> None:
    caps = {"tenants": {"t": {"requests_per_minute": 2, "tokens_per_minute": 10_000, "concurrency": 1}}}
    async with World(valkey_url, tmp_path, tree(**caps)) as world:
        got = [await embed(world) for _ in range(3)]
        used = sum(row["input_tokens"] for row in world.rows(b"o"))
        with redis.Redis.from_url(valkey_url) as server:
            (record,) = server.hvals(scope_of("default").now)
    _, _, tokens, still_open = counts_in(record)
    assert [each.status for each in got] == [200, 200, 429]
    assert got[0].headers["x-ratelimit-remaining-requests"] == "1"
    assert "tenant 't' has used its 2 requests per minute" in got[2].error["message"]
    assert got[2].headers["x-ratelimit-limit-requests"] == "2"
    assert 28 <= int(got[2].headers["retry-after"]) <= 30
    assert 0 <= tokens <= 60_000 * used, "what was taken above what was used is given back; some has leaked since"
    assert still_open == 0


@pytest.mark.asyncio
async def test_the_time_of_a_gpu_is_billed_and_bounded(valkey_url: str, tmp_path: Path) -> None:
    plain = tree(**paid(10**9))
    plain["models"]["small"] |= {"price": {"usd_per_gpu_second": 0.1}, "timeouts": {"total_s": 4.0}}
    async with World(valkey_url, tmp_path, plain, scripts={"small": {"first_s": 0.3}}) as world:
        _, task = world.start(EMBED, ASKED)
        await until(lambda: world.calls == 1)
        reserved = balance(valkey_url)[1]
        await task
        outcome = world.outcome()
    assert reserved == 4 * 10**8
    assert 0.3e6 <= outcome["gpu_us"] <= 4e6
    assert outcome["nano_usd"] == outcome["gpu_us"] * 100 == balance(valkey_url)[0]


@pytest.mark.asyncio
async def test_a_call_that_is_stopped_pays_for_what_it_asked(valkey_url: str, tmp_path: Path) -> None:
    slow = {"small": {"first_s": 30.0}}
    async with World(valkey_url, tmp_path, tree(**paid(10 * BOUND)), scripts=slow) as world:
        _, task = world.start(EMBED, ASKED)
        await until(lambda: world.calls == 1)
        task.cancel()
        await asyncio.wait([task])
        await until(lambda: balance(valkey_url)[1] == 0)
        outcome = world.outcome()
    assert (outcome["status"], balance(valkey_url)[0]) == ("cancelled", outcome["nano_usd"])
    assert outcome["nano_usd"] > 0


@pytest.mark.asyncio
async def test_an_unknown_price_is_not_paid_from_a_budget(valkey_url: str, tmp_path: Path) -> None:
    for more, status in ((paid(BOUND), 400), ({}, 200)):
        plain = tree(**more)
        del plain["models"]["small"]["price"]
        async with World(valkey_url, tmp_path, plain) as world:
            got = await embed(world)
            outcomes = [row["nano_usd"] for row in world.rows(b"o")]
        assert got.status == status
        assert "x-gearshift-cost-usd" not in got.headers
        assert outcomes == ([] if more else [None])


@pytest.mark.parametrize(("when_down", "more", "code"), [
    ("serve", paid(BOUND), "ledger_unavailable"), ("reject", {}, "store_unavailable"), ("serve", {}, None),
])  # fmt: skip
@pytest.mark.asyncio
async def test_without_a_store_it_is_answered_as_an_answer_would_be(
    tmp_path: Path, when_down: str, more: Json, code: str | None
) -> None:
    with EmbeddedValkey(tmp_path / "valkey") as server:
        async with World(server.url, tmp_path, tree(store={"when_down": when_down}, **more)) as world:
            server.stop()
            got = await embed(world)
            server.start()
    assert (got.status, got.status == 200 or got.error["code"]) == ((503, code) if code else (200, True))


@pytest.mark.asyncio
async def test_without_a_store_it_is_paid_from_what_was_set_aside(tmp_path: Path) -> None:
    tenant = {"budgets": [{"per": "day", "usd": 1}], "outage_usd": 1.5 * BOUND / 1e9}
    with EmbeddedValkey(tmp_path / "valkey") as server:
        async with World(server.url, tmp_path, tree(tenants={"t": tenant})) as world:
            server.stop()
            first, second = await embed(world), await embed(world)
            server.start()
            await asyncio.wait_for(world.store.wait_replayed(), 10)
            (outcome,) = world.rows(b"o")
        assert balance(server.url) == (outcome["nano_usd"], 0)
    assert (first.status, second.status, second.error["code"]) == (200, 503, "ledger_unavailable")


@pytest.mark.parametrize(("raw", "expected"), [
    ({"prompt_tokens": 7, "total_tokens": 7}, (7, "upstream", ())),
    ({"total_tokens": 7}, (7, "upstream", ())),
    ({"input_tokens": 7}, (7, "upstream", ())),
    ({"prompt_tokens": None, "total_tokens": 7}, (7, "upstream", ())),
    ({"prompt_tokens": -3, "total_tokens": 7}, (5, "counted", ("bad_prompt_tokens",))),
    ({"total_tokens": -3}, (5, "counted", ("bad_total_tokens", "missing_prompt_tokens"))),
    (None, (5, "counted", ("usage_missing",))),
    ([], (5, "counted", ("usage_not_an_object",))),
    ({}, (5, "counted", ("missing_prompt_tokens",))),
    ({"prompt_tokens": 0}, (5, "counted", ("zero_prompt_tokens",))),
    ({"prompt_tokens": -3}, (5, "counted", ("bad_prompt_tokens",))),
    ({"prompt_tokens": True}, (5, "counted", ("bad_prompt_tokens",))),
    ({"prompt_tokens": 10**12}, (5, "counted", ("bad_prompt_tokens",))),
    ({"prompt_tokens": 140}, (140, "upstream", ("prompt_over_bound",))),
    ({"prompt_tokens": 10_000}, (100, "upstream", ("prompt_over_bound", "implausible_prompt_tokens"))),
])  # fmt: skip
def test_usage_is_believed_as_far_as_it_makes_sense(raw: Any, expected: tuple[int, str, tuple[str, ...]]) -> None:
    tokens, source, flags = expected
    assert read_embedding_usage(raw, estimate=5, bound=100) == (Usage(input=tokens), source, flags)


@pytest.mark.parametrize(("told", "expected"), [
    (3_121, (3_121, "upstream", ())),
    (3_120, (50_000, "counted", ("low_prompt_tokens",))),
    (1, (50_000, "counted", ("low_prompt_tokens",))),
])  # fmt: skip
def test_next_to_nothing_is_not_believed_of_a_long_input(told: int, expected: tuple[int, str, tuple[str, ...]]) -> None:
    tokens, source, flags = expected
    found = read_embedding_usage({"prompt_tokens": told}, estimate=50_000, bound=200_000)
    assert found == (Usage(input=tokens), source, flags)


@pytest.mark.asyncio
async def test_who_and_what_it_was_for_is_in_its_row_as_of_an_answer(valkey_url: str, tmp_path: Path) -> None:
    said: Json = {"gearshift": {"tags": {"team": "search"}}}
    async with World(valkey_url, tmp_path, tree(tenants={"t": {"organisation": "acme"}})) as world:
        for named in ({"user": "ann@example.org"}, {"safety_identifier": "ann@example.org"}):
            assert (await embed(world, **named, **said)).status == 200
        assert (await world.chat(body(model="small", user="ann@example.org", **said))).status == 200
        assert (await embed(world)).status == 200
        *named_rows, nobody = world.rows(b"d")
        assert "example.org" not in str(world.rows(b"d") + world.rows(b"o"))
    known = pseudonym("ann@example.org", organisation="acme", tenant="t", secret=SECRET)
    assert [(row["end_user"], row["tags"]) for row in named_rows] == [(known, {"team": "search"})] * 3
    assert (nobody["end_user"], nobody["tags"]) == (None, {})


@pytest.mark.parametrize(("more", "param"), [
    ({"user": 7}, "user"),
    ({"safety_identifier": ["ann"]}, "safety_identifier"),
    ({"gearshift": []}, "gearshift"),
    ({"gearshift": {"tags": {"team": 7}}}, "gearshift.tags"),
    ({"gearshift": {"tag": {"team": "x"}}}, "gearshift.tag"),
])  # fmt: skip
@pytest.mark.asyncio
async def test_a_wrong_user_or_hint_is_refused_before_anything_is_paid(
    valkey_url: str, tmp_path: Path, more: Json, param: str
) -> None:
    async with World(valkey_url, tmp_path, tree(**paid(10 * BOUND))) as world:
        got = await embed(world, **more)
        assert world.rows(b"d") == []
    assert (got.status, got.error["param"]) == (400, param)


@pytest.mark.parametrize(("hints", "status"), [
    ({"models": ["large"]}, 400), ({"models": ["small", "large"]}, 200),
    ({"regions": ["us"]}, 400), ({"regions": ["eu"]}, 200),
    ({"residency": "local"}, 400), ({"residency": "local", "regions": ["eu"]}, 200),
])  # fmt: skip
@pytest.mark.asyncio
async def test_a_text_goes_nowhere_that_its_own_hints_forbid(
    valkey_url: str, tmp_path: Path, hints: Json, status: int
) -> None:
    plain = tree()
    plain["models"]["small"]["deployments"][0]["region"] = "eu"
    async with World(valkey_url, tmp_path, plain) as world:
        got = await embed(world, gearshift=hints)
        assert len(world.rows(b"d")) == (status == 200)
    assert got.status == status
    assert status == 200 or got.error["code"] == "no_eligible_model"


@pytest.mark.asyncio
async def test_odd_usage_is_counted_in_the_series(valkey_url: str, tmp_path: Path) -> None:
    silent = {"small": {"fault": "usage_missing"}}
    async with World(valkey_url, tmp_path, tree("small", "large"), scripts=silent) as world:
        for model in ("small", "large"):
            assert (await embed(world, model=model)).status == 200
        (family,) = world.gateway.metrics.usage_flags.collect()
        outcomes = [row["usage_flags"] for row in world.rows(b"o")]
    counted = [(sample.labels, sample.value) for sample in family.samples if sample.name.endswith("_total")]
    assert outcomes == [["usage_missing"], []]
    assert counted == [({"model": "small", "flag": "usage_missing"}, 1.0)]
