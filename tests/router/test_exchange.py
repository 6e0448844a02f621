"""What becomes of the facts of a request: cost in integers, usage by whom, headers."""

import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rig import Given, World, body, tree

from policies.prices import Usage, cost_nano_usd
from router.config.arms import price_of
from router.config.schema import PriceConfig

TOKENS, PRICE = st.integers(0, 10**7), st.floats(0, 200, allow_nan=False)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(TOKENS, TOKENS, PRICE, PRICE)
def test_a_cost_is_rounded_up_once(n_input: int, n_output: int, usd_in: float, usd_out: float) -> None:
    price = price_of(PriceConfig(input=usd_in, output=usd_out))
    exact = n_input * round(usd_in * 10**9) + n_output * round(usd_out * 10**9)
    assert cost_nano_usd(Usage(n_input, n_output), price) == -(-exact // 10**6) >= math.floor(exact / 10**6) - 1


@pytest.mark.asyncio
async def test_an_unknown_price_is_never_zero(valkey_url: str, tmp_path: Path) -> None:
    plain = tree("a")
    plain["models"]["a"].pop("price")
    async with World(valkey_url, tmp_path, plain) as world:
        got = await world.chat(body())
        assert world.outcome()["nano_usd"] is None
        (family,) = world.gateway.metrics.unpriced.collect()
    assert "x-gearshift-cost-usd" not in got.headers
    assert "cost" not in got.json["usage"]
    assert {s.labels["model"] for s in family.samples} == {"a"}


@pytest.mark.asyncio
async def test_without_a_reference_arm_there_is_no_baseline(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree()) as world:
        got = await world.chat(body())
    assert "x-gearshift-cost-usd" in got.headers
    assert "x-gearshift-baseline-cost-usd" not in got.headers


@pytest.mark.asyncio
async def test_an_answer_without_usage_is_billed_by_our_count(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree()) as world:
        got = await world.chat(body(fake={"fault": "usage_missing"}))
        outcome = world.outcome()
    assert (outcome["usage_source"], outcome["usage_flags"]) == ("counted", ["usage_missing"])
    assert outcome["output_tokens"] > 0
    assert got.json["usage"]["completion_tokens"] == outcome["output_tokens"]


@pytest.mark.asyncio
async def test_tags_and_the_session_are_logged_and_the_session_by_its_hash(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree()) as world:
        await world.chat(body(gearshift={"tags": {"team": "x"}, "session": "my-session"}))
        row = world.row()
    assert row["tags"] == {"team": "x"}
    assert len(row["session"]) == 32
    assert "my-session" not in str(row)


@pytest.mark.asyncio
async def test_a_row_tells_the_trade_off_in_force_and_each_arms_revision(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree(), policy=Given({"small/instant": 1})) as world:
        await world.chat(body(gearshift={"max_usd": 2.0, "quality_floor": 0.5}))
        row, arms, balanced = world.row(), world.gateway.setup.arms, world.gateway.setup.trade_offs["balanced"]
    assert row["trade_off"] == [balanced.quality_per_usd, balanced.quality_per_s, 0.5, 2.0]
    assert row["revisions"] == [arms[name].revision for name in row["arms"]]
    assert sum(row["propensities"]) == pytest.approx(1)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("asked", "logged"), [({"max_tokens": 7}, 7), ({"max_completion_tokens": 9, "max_tokens": 7}, 9), ({}, None)]
)
async def test_the_clients_bound_of_the_answer_is_logged(
    valkey_url: str, tmp_path: Path, asked: dict[str, int], logged: int | None
) -> None:
    async with World(valkey_url, tmp_path, tree()) as world:
        await world.chat(body(**asked))
        assert world.row()["max_tokens"] == logged


@pytest.mark.asyncio
async def test_a_long_client_id_is_cut(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree()) as world:
        await world.chat(body(), x_client_request_id="i" * 500)
        assert world.row()["client_request_id"] == "i" * 128
