"""Paced budgets through the gateway: who is slowed, by how much, and how workers agree on it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import redis
from counters import with_spent
from rig import Json, World, body, config_of, tree

from policies.context import Context
from policies.policy import ArmFacts, Scores
from policies.predictions import Predictions
from policies.tradeoff import TradeOff
from policies.zoo.choose import most_useful
from router import budget_watch
from router.alerts import Alerts
from router.config.budgets import all_windows
from router.pacing import Pacing
from router.store.balances import Balance, balances, notes_key, read_balances
from router.store.base import StoreUnavailable
from router.store.keys import scope_of
from router.store.ledger import ORGANISATION_ACCOUNT, Window, begins_at, ends_at, label_of, tenant_account
from router.store.valkey import ValkeyStore
from router.store.window_parts import N_PARTS, usual_traffic

SMALL, LARGE = "small/instant", "large/instant"
ASKED = body(max_tokens=100)
USD = 0.01  # what the policy expects of the large arm; the small one costs a hundredth


@dataclass
class Thrifty:
    """A policy that heeds the trade-off: the large arm is better by .3, at the least λ by far the more useful one."""

    encoder_id: str = ""
    name: str = "thrifty"
    version: str = "1"

    def score(self, context: Context, arms: Sequence[ArmFacts], trade_off: TradeOff) -> Scores:
        large = np.array([arm.name == LARGE for arm in arms])
        unknown = np.full(len(arms), np.nan)
        told = Predictions(np.where(large, 0.8, 0.5), unknown, np.where(large, USD, USD / 100.0), unknown)
        return Scores(most_useful(told, trade_off), told)


def paced(usd: float, *, per: str = "month", **more: Any) -> Json:
    """The trade-off is such that the arms are equal at a multiplier of about 15."""
    return {
        "tenants": {
            "t": {
                "budgets": [{"per": per, "usd": usd, "pace": True}],
                "trade_off": "mine",
                "when_spent": "cheapest",
                **more,
            }
        },
        "trade_offs": {"mine": {"usd_per_correct_answer": 0.5}},
    }


async def spent(world: World) -> None:
    """Ten requests, and a window whose money is gone, whatever the date is."""
    for _ in range(10):
        await world.chat(ASKED)
    for organisation, window in all_windows(world.config):
        if window.limit < 1_000_000_000:
            key = scope_of(organisation).now
            (packed,) = await valkey(world).fields(key, window.account)
            assert packed is not None
            await valkey(world).ask("HSET", key, window.account, with_spent(packed, window.per, by=window.limit))
    await look(world)


def valkey(world: World) -> ValkeyStore:
    return cast(ValkeyStore, world.store._store)


async def look(world: World) -> None:
    await budget_watch.look(world.gateway, valkey(world), Alerts(world._session))


async def standing(world: World) -> Balance:
    return (await balances(valkey(world), all_windows(world.config)))[0]


@pytest.mark.asyncio
async def test_a_budget_too_small_for_its_traffic_raises_lambda(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree(**paced(0.02)), policy=Thrifty()) as world:
        await spent(world)
        before = world.rows(b"d")[0]
        got = await world.chat(ASKED)
        shown = (await world.ask("/v1/decide", ASKED)).json
        after = world.rows(b"d")[-1]
        (family,) = world.gateway.metrics.budget_pace.collect()
    assert (before["arm"], before["trade_off"][0]) == (LARGE, 2.0)
    assert got.headers["x-gearshift-arm"] == SMALL
    assert after["trade_off"][0] > 2.0 * 14.0  # what is logged is the λ in force
    assert shown["pace"] == pytest.approx(shown["trade_off"]["quality_per_usd"] / 2.0)
    assert shown["arm"] == SMALL
    (sample,) = family.samples
    assert sample.labels == {"owner": "tenant 't'", "per": "month"}
    assert sample.value > 14.0


@pytest.mark.asyncio
async def test_money_enough_changes_nothing(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree(**paced(1_000_000)), policy=Thrifty()) as world:
        for _ in range(10):
            await world.chat(ASKED)
        await look(world)
        await world.chat(ASKED)
        row = world.rows(b"d")[-1]
    assert (row["arm"], row["trade_off"][0]) == (LARGE, 2.0)


@pytest.mark.asyncio
async def test_a_hint_may_tighten_but_a_pace_holds_for_every_lambda(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree(**paced(0.02)), policy=Thrifty()) as world:
        await spent(world)
        shown = (await world.ask("/v1/decide", body(model="auto:best", max_tokens=100))).json
    assert shown["pace"] > 14.0
    assert shown["trade_off"]["quality_per_usd"] == pytest.approx(2.0 * shown["pace"])  # auto:best is 0.5 USD too


@pytest.mark.asyncio
async def test_another_gateway_goes_on_at_the_pace_that_was_found(valkey_url: str, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    plain = tree(**paced(0.02))
    async with World(valkey_url, tmp_path, plain, policy=Thrifty()) as one:
        await spent(one)
        async with World(valkey_url, tmp_path / "b", plain, policy=Thrifty()) as two:
            assert (await two.ask("/v1/decide", ASKED)).json["pace"] == 1.0  # nothing was read yet
            await look(two)
            shown = (await two.ask("/v1/decide", ASKED)).json
            found = await standing(two)
    assert shown["pace"] > 14.0
    assert found.pace is not None
    assert shown["pace"] == pytest.approx(found.pace)
    assert shown["arm"] == SMALL


@pytest.mark.asyncio
async def test_requests_are_counted_once_by_part_of_the_window(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree(**paced(5)), policy=Thrifty()) as world:
        for _ in range(3):
            await world.chat(ASKED)
        await look(world)
        await look(world)
        await world.chat(ASKED)
        await look(world)
        found = await standing(world)
        ((organisation, window),) = all_windows(world.config)
        with redis.Redis.from_url(valkey_url) as server:
            key = notes_key(organisation, window, found.at)
            parts = {name: value for name, value in server.hgetall(key).items() if name.startswith(b"requests:")}
            expires_s = server.ttl(key)
    assert found.requests == 4
    assert sum(int(value) for value in parts.values()) == 4
    assert expires_s > 0


@pytest.mark.asyncio
async def test_a_worker_reads_of_many_budgets_what_a_command_reads(valkey_url: str, tmp_path: Path) -> None:
    pers = [{"per": "hour", "usd": 5}, {"per": "day", "usd": 9, "pace": True}, {"per": "month", "usd": 90}]
    tenants = {
        f"t{n}": {"keys": [f"key-{n:05d}"], "organisation": f"o{n % 3}", "budgets": pers[: 1 + n % 3]}
        for n in range(150)
    }
    plain = tree(tenants=tenants, organisations={"o1": {"budgets": pers}})
    async with World(valkey_url, tmp_path, plain, policy=Thrifty()) as world:
        for n in (0, 1, 2, 77, 149):
            await world.chat(ASKED, authorization=f"Bearer key-{n:05d}")
        await look(world)
        owned = all_windows(world.config)
        read = await balances(valkey(world), owned)
        with redis.Redis.from_url(valkey_url) as server:
            told = read_balances(server, owned, at=read[0].at)
    assert [each.exists for each in read].count(True) == 15
    paced_only = [replace(each, requests=0, pace=None) if not each.window.paced else each for each in told]
    assert read == paced_only
    assert sum(each.requests for each in read) == 5


@pytest.mark.asyncio
async def test_a_limit_that_is_changed_counts_no_request_again(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree(**paced(100.0)), policy=Thrifty()) as world:
        for n, usd in enumerate((100.0, 101.0, 102.0)):
            plain = tree(**paced(usd))
            world.config = config_of(plain)
            world.gateway.setup = world.setup_of(world.config, Thrifty())
            await look(world)
            for _ in range(5):
                await world.chat(ASKED)
            await look(world)
            assert (await standing(world)).requests == 5 * (n + 1)


@pytest.mark.asyncio
async def test_a_sample_outlives_changes_that_no_prediction_hangs_on(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree(**paced(100.0)), policy=Thrifty()) as world:
        for _ in range(12):
            await world.chat(ASKED)
        await look(world)
        (traffic,) = world.gateway.pacing._traffic.values()
        assert len(traffic.curve) == 12
        changed = tree(**paced(100.0))
        changed["tenants"]["other"] = {"keys": ["key-of-other"]}
        for plain, rows in ((changed, 12), (tree("small", **paced(100.0)), 0)):
            world.config = config_of(plain)
            world.gateway.setup = world.setup_of(world.config, Thrifty())
            await look(world)
            assert len(traffic.curve) == rows


@pytest.mark.asyncio
async def test_without_the_store_a_pace_stays_as_it_is(valkey_url: str, tmp_path: Path) -> None:
    async with World(valkey_url, tmp_path, tree(**paced(0.02)), policy=Thrifty()) as world:
        await spent(world)
        caller = world.gateway.setup.tenants.authenticate({})
        before = world.gateway.pacing.multiplier(caller, world.gateway.rng)
        store = valkey(world)
        await store.aclose()
        with pytest.raises(StoreUnavailable):
            await look(world)
        assert world.gateway.pacing.multiplier(caller, world.gateway.rng) == before > 14.0


@pytest.mark.asyncio
async def test_a_tenant_without_paced_budgets_costs_no_draw(valkey_url: str, tmp_path: Path) -> None:
    plain = tree(tenants={"t": {"budgets": [{"per": "day", "usd": 5}]}})
    async with World(valkey_url, tmp_path, plain, policy=Thrifty()) as world:
        caller = world.gateway.setup.tenants.authenticate({})
        state = world.gateway.rng.bit_generator.state
        assert world.gateway.pacing.multiplier(caller, world.gateway.rng) == 1.0
        assert world.gateway.rng.bit_generator.state == state
        await world.chat(ASKED)
        await look(world)
        assert (await standing(world)).pace is None


class Hashes:
    """A store's hashes, without a store."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, int | str]] = {}

    async def fields(self, key: str, *names: str) -> list[bytes | None]:
        kept = self.kept.get(key, {})
        return [str(kept[name]).encode() if name in kept else None for name in names]

    async def ask(self, *command: str | int) -> object:
        verb, key, *rest = command
        if verb == "EXPIRE":
            return 1
        kept = self.kept.setdefault(str(key), {})
        for name, value in zip(rest[::2], rest[1::2], strict=True):
            kept[str(name)] = value if verb == "HSET" else int(kept.get(str(name), 0)) + int(value)
        return 1


DAY = Window(tenant_account("t"), "day", 10_000_000_000, "t", paced=True)
NOON = 86_400.0 * 20_000 + 43_200


def stands(at: float, *, window: Window = DAY, spent_usd: float = 0.0, requests: int = 0) -> Balance:
    return Balance(
        window, label_of(window.per, at), begins_at(window.per, at), ends_at(window.per, at), at,
        round(spent_usd * 1e9), 0, requests,
    )  # fmt: skip


@pytest.mark.asyncio
async def test_a_new_day_goes_on_at_the_last_ones_pace_and_knows_its_traffic() -> None:
    pacing, store = Pacing(), cast(ValkeyStore, Hashes())
    config: Any = object()
    key = ("o", DAY)
    (first,) = (await pacing.look(store, [key], [replace(stands(NOON), pace=7.0)], config=config)).values()
    (second,) = (await pacing.look(store, [key], [stands(NOON + 86_400)], config=config)).values()
    assert (first, second) == (pytest.approx(7.0), pytest.approx(7.0))


@pytest.mark.asyncio
async def test_usual_traffic_is_that_of_earlier_windows() -> None:
    hashes = Hashes()
    store = cast(ValkeyStore, hashes)
    assert await usual_traffic(store, "o", DAY, NOON) == ([1] * N_PARTS, 0.0)
    for days, requests in ((1, 30), (3, 10)):
        key = notes_key("o", DAY, NOON - days * 86_400)
        hashes.kept[key] = {"requests": requests, "requests:9": requests}
    shape, before = await usual_traffic(store, "o", DAY, NOON)
    assert before == 20.0
    assert shape == [0] * 9 + [40] + [0] * 14


@pytest.mark.asyncio
async def test_months_tell_how_much_but_not_when() -> None:
    hashes, month = Hashes(), replace(DAY, per="month")
    hashes.kept[notes_key("o", month, NOON - 31 * 86_400)] = {"requests": 500, "requests:3": 500}
    assert await usual_traffic(cast(ValkeyStore, hashes), "o", month, NOON) == ([1] * N_PARTS, 500.0)


@pytest.mark.asyncio
async def test_the_strictest_of_a_tenants_budgets_paces_it(valkey_url: str, tmp_path: Path) -> None:
    plain = tree(**paced(5), organisations={"default": {"budgets": [{"per": "month", "usd": 0.02, "pace": True}]}})
    async with World(valkey_url, tmp_path, plain, policy=Thrifty()) as world:
        await spent(world)
        caller = world.gateway.setup.tenants.authenticate({})
        assert [window.account for window in caller.paced] == [tenant_account("t"), ORGANISATION_ACCOUNT]
        assert world.gateway.pacing.multiplier(caller, world.gateway.rng) > 14.0


@pytest.mark.parametrize(("change", "kept"), [
    ({}, 10),
    ({"alerts": {"levels": [50]}}, 10),
    ({"policy": {"name": "uniform"}}, 0),
    ({"modes": {"instant": {"max_tokens": 50}}}, 0),
    ({"models": {**tree()["models"], "other": tree("other")["models"]["other"]}}, 0),
])  # fmt: skip
@pytest.mark.asyncio
async def test_other_models_or_policies_forget_what_was_predicted_and_any_configuration_keeps_the_pace(
    valkey_url: str, tmp_path: Path, change: Json, kept: int
) -> None:
    async with World(valkey_url, tmp_path, tree(**paced(0.02)), policy=Thrifty()) as world:
        await spent(world)
        caller, pacing = world.gateway.setup.tenants.authenticate({}), world.gateway.pacing
        (traffic,) = pacing._traffic.values()
        before, rows = pacing.multiplier(caller, world.gateway.rng), len(traffic.curve)
        world.config = config_of(tree(**{**paced(0.02), **change}))
        world.gateway.setup = world.setup_of(world.config, Thrifty())
        await look(world)  # of what was forgotten: eight requests have to come before another pace is found
        assert (rows, len(traffic.curve)) == (10, kept)
        assert before > 14.0
        assert pacing.multiplier(caller, world.gateway.rng) == pytest.approx(before, rel=0.01)


@pytest.mark.asyncio
async def test_named_arms_count_at_what_they_cost(valkey_url: str, tmp_path: Path) -> None:
    """No pace can lower them: what is left is for the others."""
    async with World(valkey_url, tmp_path, tree(**paced(0.02)), policy=Thrifty()) as world:
        for _ in range(10):
            await world.chat(body(model="small", max_tokens=100))
        await look(world)
        found = await standing(world)
    assert found.requests == 10
    assert found.pace is not None  # eight rows and more: of their bills
