"""Limits through the whole gateway: what clients are told, who is refused, and which arms go for which reason."""

import asyncio
import re
from pathlib import Path

import numpy as np
import pytest
import redis
from counters import counts_in
from rig import CHAT, SECRET, Given, Got, Json, World, body, config_of, tree, until

from router.http.rate_headers import duration, rate_headers
from router.shares import TRUST_S, Shares
from router.store.keys import scope_of
from router.store.limits import Allowance, Limit
from router.tenants import caller_of, key_hmac

SMALL, LARGE = "small/instant", "large/instant"
FIRST = Given({SMALL: 1})


def capped(**keys: object) -> Json:
    return {"tenants": {"t": dict(keys)}}


def limits_in(got: Got) -> dict[str, str]:
    return {name: value for name, value in got.headers.items() if name.startswith("x-ratelimit-")}


def refusals(world: World) -> dict[str, float]:
    (family,) = world.gateway.metrics.limit_refusals.collect()
    return {each.labels["limit"]: each.value for each in family.samples if each.name.endswith("_total")}


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "0s"), (1, "1ms"), (999, "999ms"), (1000, "1s"), (8640, "8.64s"), (59_999, "59.999s"), (360_000, "6m0s"),
     (90_500, "1m30.5s"), (4_323_007, "1h12m3.007s")],
)  # fmt: skip
def test_a_time_is_written_as_go_does(ms: int, text: str) -> None:
    assert duration(ms) == text


def test_headers_tell_of_each_kind_the_limit_that_has_least_left() -> None:
    tenant, key = Limit("t", "t", requests=60), Limit("k", "k", requests=10, tokens=500)
    told = dict(rate_headers([Allowance(tenant, 5, 55_000, None, -1), Allowance(key, 9, 6_000, 0, 60_000)]))
    assert told[b"x-ratelimit-limit-requests"] == b"60"
    assert told[b"x-ratelimit-remaining-requests"] == b"5"
    assert told[b"x-ratelimit-reset-requests"] == b"55s"
    assert told[b"x-ratelimit-limit-tokens"] == b"500"
    assert told[b"x-ratelimit-reset-tokens"] == b"1m0s"
    assert rate_headers([]) == []


@pytest.mark.asyncio
@pytest.mark.parametrize("stream", [False, True])
async def test_every_answer_tells_what_is_left(valkey_url: str, tmp_path: Path, stream: bool) -> None:
    caps = capped(requests_per_minute=10, tokens_per_minute=100_000)
    async with World(valkey_url, tmp_path, tree(**caps), policy=FIRST) as world:
        got = await world.chat(body(max_tokens=100, stream=stream))
        failed = await world.chat(body(max_tokens=100, model="small", fake={"fault": "status_400"}))
    told = limits_in(got)
    assert (told["x-ratelimit-limit-requests"], told["x-ratelimit-remaining-requests"]) == ("10", "9")
    assert told["x-ratelimit-reset-requests"] == "6s"
    assert told["x-ratelimit-limit-tokens"] == "100000"
    assert 99_000 < int(told["x-ratelimit-remaining-tokens"]) < 99_900, "prompt and 100 tokens are taken"
    assert re.fullmatch(r"\d+ms", told["x-ratelimit-reset-tokens"])
    assert failed.status == 400
    assert limits_in(failed)["x-ratelimit-remaining-requests"] == "8"


@pytest.mark.asyncio
async def test_a_refusal_is_openais_with_the_time_to_wait(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree(**capped(requests_per_minute=2)), policy=FIRST) as world:
        got = [await world.chat(body()) for _ in range(3)]
        assert len(world.rows(b"d")) == len(world.rows(b"o")) == 2
        assert refusals(world) == {"requests": 1}
    last = got[-1]
    assert [each.status for each in got] == [200, 200, 429]
    assert (last.error["type"], last.error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert "tenant 't' has used its 2 requests per minute; try again in" in last.error["message"]
    assert 28 <= int(last.headers["retry-after"]) <= 30
    assert limits_in(last)["x-ratelimit-remaining-requests"] == "0"
    assert "x-should-retry" not in last.headers


@pytest.mark.asyncio
async def test_tokens_are_taken_for_the_longest_answer_and_given_back_at_the_end(
    valkey_url: str, tmp_path: Path
) -> None:
    caps = capped(tokens_per_minute=3_000)
    async with World(valkey_url, tmp_path, tree(**caps), policy=FIRST) as world:
        long = body(max_tokens=2_000, fake={"first_s": 0.2})
        got = await asyncio.gather(world.chat(long), world.chat(long))
        usage = next(each.json["usage"] for each in got if each.status == 200)
        again = await world.chat(body(max_tokens=1))
    assert sorted(each.status for each in got) == [200, 429]
    refused = max(got, key=lambda each: each.status)
    assert "ask for less (max_tokens)" in refused.error["message"]
    left = int(limits_in(again)["x-ratelimit-remaining-tokens"])
    own = len(str(body())) + 256
    assert 3_000 - usage["total_tokens"] - own - 60 < left < 3_000


@pytest.mark.asyncio
async def test_an_unbounded_answer_takes_the_models_own_bound(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree(**capped(tokens_per_minute=20_000)), policy=FIRST) as world:
        got = await world.chat(body())
    assert int(limits_in(got)["x-ratelimit-remaining-tokens"]) < 20_000 - 8192


@pytest.mark.asyncio
async def test_open_requests_are_counted_in_all_workers(valkey_url: str, tmp_path: Path) -> None:
    plain = tree(**capped(concurrency=1))
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    async with (
        World(valkey_url, one, plain, policy=FIRST) as first,
        World(valkey_url, two, plain, policy=FIRST) as other,
    ):
        wire, task = first.start(CHAT, body(fake={"first_s": 30.0}))
        await until(lambda: bool(first.store.begun))
        refused = await other.chat(body())
        wire.left.set()  # the client goes, and with it the request
        await task
        after = await other.chat(body())
    assert (refused.status, refused.error["code"], refused.headers["retry-after"]) == (429, "rate_limit_exceeded", "1")
    assert "has 1 requests open" in refused.error["message"]
    assert after.status == 200


@pytest.mark.asyncio
async def test_a_key_and_an_organisation_bind_beside_the_tenant(valkey_url: str, tmp_path: Path) -> None:
    key_id = key_hmac(SECRET, "key-one")[:8]
    tenants = {
        "a": {"keys": ["key-one", "key-two"], "organisation": "o", "key_caps": {key_id: {"requests_per_minute": 1}}},
        "b": {"keys": ["key-b"], "organisation": "o"},
    }
    plain = tree(tenants=tenants, organisations={"o": {"requests_per_minute": 3}})
    async with World(valkey_url, tmp_path, plain, policy=FIRST) as world:
        got = [
            await world.chat(body(), authorization=f"Bearer {key}")
            for key in ("key-one", "key-one", "key-two", "key-b", "key-b")
        ]
    assert [each.status for each in got] == [200, 429, 200, 200, 429]
    assert f"key {key_id} of tenant 'a'" in got[1].error["message"]
    assert "organisation 'o' has used its 3 requests" in got[4].error["message"]


MODES = {"modes": ["instant", "reasoning"], "thinking": "reasoning_effort"}


def thinking(**more: object) -> Json:
    plain = tree("small", **more)
    plain["models"]["small"] |= MODES
    return plain


THINKS = Given({"small/reasoning": 0.9, "small/instant": 0.1})


@pytest.mark.asyncio
async def test_a_mode_that_has_its_share_is_drawn_again_and_then_not_eligible(valkey_url: str, tmp_path: Path) -> None:
    caps = capped(mode_shares={"reasoning": 0.25})
    async with World(valkey_url, tmp_path, thinking(**caps), policy=THINKS) as world:
        world.gateway.rng = np.random.default_rng(1)  # its first number is 0.51: reasoning
        for n in range(24):
            assert (await world.chat(body(f"question {n}"))).status == 200
        rows = world.rows(b"d")
    modes = [row["arm"].split("/")[1] for row in rows]
    for end in range(1, 25):
        assert modes[:end].count("reasoning") <= end / 4
    assert modes.count("reasoning") >= 4, "the share is used, too"
    why = "reasoning has its share, 25 % of the requests of tenant 't'"
    redrawn = [row for row in rows if row["redraws"]]
    assert redrawn[0]["redraws"][0]["arm"] == "small/reasoning"
    assert redrawn[0]["removed"] == {"small/reasoning": why}
    told_before = [row for row in rows if row["removed"] and not row["redraws"]]
    assert told_before, "what the store said is not drawn to be refused again"
    assert {row["removed"]["small/reasoning"] for row in told_before} == {why}
    assert all(sum(row["propensities"]) == pytest.approx(1) for row in rows)


@pytest.mark.asyncio
async def test_explain_tells_that_a_share_is_full(valkey_url: str, tmp_path: Path) -> None:
    caps = capped(mode_shares={"reasoning": 0.25})
    async with World(valkey_url, tmp_path, thinking(**caps), policy=THINKS) as world:
        await world.chat(body("one", model="small/instant"))
        told = (await world.ask("/v1/decide", body("two"))).json
    assert told["arm"] == "small/instant"
    assert "has its share" in told["removed"]["small/reasoning"]


@pytest.mark.asyncio
async def test_a_named_mode_that_has_its_share_is_429(valkey_url: str, tmp_path: Path) -> None:
    caps = capped(mode_shares={"reasoning": 0.5}, share_window_s=1200)
    async with World(valkey_url, tmp_path, thinking(**caps), policy=THINKS) as world:
        refused = await world.chat(body(model="small/reasoning"))
        none_left = await world.chat(body(gearshift={"modes": ["reasoning"]}))
        await world.chat(body(model="small/instant"))
        named = await world.chat(body(model="small/reasoning"))
        assert refusals(world) == {"share": 2}
    for got in (refused, none_left):
        assert (got.status, got.error["code"]) == (429, "mode_share_exceeded")
        assert (got.headers["retry-after"], got.headers["x-should-retry"]) == ("100", "false")
        assert "reasoning has its share, 50 % of the requests of tenant 't'" in got.error["message"]
    assert named.status == 200


@pytest.mark.asyncio
async def test_tool_results_stay_on_their_arm_whatever_its_share(valkey_url: str, tmp_path: Path) -> None:
    caps = capped(mode_shares={"reasoning": 0.5})
    async with World(valkey_url, tmp_path, thinking(**caps), policy=THINKS) as world:
        await world.chat(body("before", model="small/instant"))
        tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
        asked = body("look it up", model="small/reasoning", tools=tools, fake={"tool_calls": 1})
        first = await world.chat(asked)
        call = first.json["choices"][0]["message"]
        result = {"role": "tool", "tool_call_id": call["tool_calls"][0]["id"], "content": "42"}
        for _ in range(3):
            got = await world.chat({"model": "auto", "messages": [*asked["messages"], call, result], "tools": tools})
            assert (got.status, got.headers["x-gearshift-mode"]) == (200, "reasoning")


def test_what_was_heard_of_a_share_is_soon_forgotten() -> None:
    now = [0.0]
    shares = Shares(clock=lambda: now[0])
    config = config_of(thinking(**capped(mode_shares={"reasoning": 0.2})))
    caller = caller_of(config, "t", config.tenants["t"], key_id="")
    (limit,) = caller.limits
    assert shares.full(caller) == {}
    shares.heard("default", [Allowance(limit, None, -1, None, -1, ("reasoning",))])
    assert list(shares.full(caller)) == ["reasoning"]
    now[0] = TRUST_S
    assert shares.full(caller) == {}
    now[0] = 0.0
    shares.heard("default", [Allowance(limit, None, -1, None, -1, ())])
    assert shares.full(caller) == {}


def placed(**regions: str | None) -> Json:
    """Models by where their deployment is; None: it does not say."""
    plain = tree(*regions)
    for name, region in regions.items():
        if region is not None:
            plain["models"][name]["deployments"][0]["region"] = region
    return plain


@pytest.mark.asyncio
async def test_a_prompt_stays_where_the_tenant_and_the_request_allow(valkey_url: str, tmp_path: Path) -> None:
    plain = placed(here="eu", there="us", nowhere=None) | capped(regions=["eu", "us"])
    async with World(valkey_url, tmp_path, plain, policy=Given({})) as world:
        told = (await world.ask("/v1/decide", body())).json
        tighter = (await world.ask("/v1/decide", body(gearshift={"regions": ["us", "moon"]}))).json
        local = await world.chat(body(gearshift={"residency": "local"}))
        named = await world.chat(body(model="nowhere"))
        cards = (await world.ask("/v1/models", method="GET")).json["data"]
    assert [each["arm"] for each in told["arms"]] == ["here/instant", "there/instant"]
    assert told["removed"] == {
        "nowhere/instant": "the prompt may not leave eu, us or this gateway for this request or tenant, and a "
        "deployment is elsewhere"
    }
    assert [each["arm"] for each in tighter["arms"]] == ["there/instant"]
    assert (local.status, local.error["code"]) == (400, "no_eligible_model")
    assert (named.status, named.error["code"]) == (400, "no_eligible_model")
    assert "nowhere" not in {card["id"] for card in cards}


@pytest.mark.asyncio
async def test_organisation_tenant_and_key_allow_together(valkey_url: str, tmp_path: Path) -> None:
    key_id = key_hmac(SECRET, "key-one")[:8]
    tenants = {"a": {"keys": ["key-one", "key-two"], "organisation": "o", "models": ["x", "y"], "key_caps": {
        key_id: {"models": ["y", "z"]}
    }}}  # fmt: skip
    plain = tree("w", "x", "y", "z", tenants=tenants, organisations={"o": {"models": ["w", "y"]}})
    async with World(valkey_url, tmp_path, plain, policy=Given({})) as world:
        for key in ("key-one", "key-two"):
            got = await world.ask("/v1/decide", body(), headers={"authorization": f"Bearer {key}"})
            assert [each["arm"] for each in got.json["arms"]] == ["y/instant"]


@pytest.mark.asyncio
async def test_a_shutdown_while_a_request_opens_leaves_nothing_open(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree(**capped(concurrency=3)), policy=FIRST) as world:
        _, task = world.start(CHAT, body())
        await until(lambda: bool(world.store.starts))  # the call is under way
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with redis.Redis.from_url(valkey_url) as server:
            (record,) = server.hvals(scope_of("default").now)
        assert counts_in(record)[3] == 0
        assert world.outcome()["status"] == "cancelled"
