"""Budget alerts: once for each window and level, whoever looks, and again until they are taken."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import pytest_asyncio
from aiohttp import web
from rig import Json, config_of, tree

from router.alerts import Alerts
from router.config.budgets import all_windows
from router.config.load import config_hash
from router.config.problems import ConfigError
from router.config.schema import AlertsConfig
from router.store.balances import Balance, Owned, balances, notes_key
from router.store.base import StoreUnavailable
from router.store.keys import scope_of
from router.store.ledger import label_of, sums_of
from router.store.valkey import StoreOptions, ValkeyStore

pytestmark = pytest.mark.asyncio
SECRET_PATH = "/hook/of-a-secret-name"
BUDGET = {"tenants": {"t": {"budgets": [{"per": "month", "usd": 10}]}}}


class Hook:
    """A webhook that keeps what it is told; it answers with the statuses given, then 200."""

    def __init__(self) -> None:
        self.told, self.statuses = list[Json](), list[int]()
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        body = orjson.loads(await request.read())
        status = self.statuses.pop(0) if self.statuses else 200
        self.told.append(body | {"status": status})
        return web.Response(status=status)


@pytest_asyncio.fixture
async def hook() -> AsyncIterator[Hook]:
    hook, app = Hook(), web.Application()
    app.router.add_post(SECRET_PATH, hook.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    hook.url = f"http://{host}:{port}{SECRET_PATH}"
    yield hook
    await runner.cleanup()


@pytest_asyncio.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest_asyncio.fixture
async def store(valkey_url: str, tmp_path: Path) -> AsyncIterator[ValkeyStore]:
    store = ValkeyStore(valkey_url, StoreOptions(spool_dir=tmp_path / "spool"))
    await store.start()
    yield store
    await store.aclose()


async def spent(store: ValkeyStore, usd: float) -> tuple[list[Owned], list[Balance]]:
    owned = all_windows(config_of(tree(**BUDGET)))
    organisation, window = owned[0]
    spent_field, reserved_field = sums_of(window.per, label_of(window.per, await store.now()))
    key = scope_of(organisation).account(window.account)
    await store.ask("HSET", key, spent_field, round(usd * 1e9), reserved_field, 0)
    return owned, await balances(store, owned)


def levels(hook: Hook) -> list[int]:
    return [each["level_percent"] for each in hook.told]


async def test_each_level_is_told_once_by_whoever_looks(
    store: ValkeyStore, hook: Hook, session: aiohttp.ClientSession
) -> None:
    config, one, two = AlertsConfig(webhook=hook.url), Alerts(session), Alerts(session)
    for usd in (4.9, 5.0, 6.0, 8.5, 9.9, 9.99):
        owned, standing = await spent(store, usd)
        for alerts in (one, two, Alerts(session)):
            await alerts.look(store, config, owned, standing)
        await asyncio.gather(one.wait(), two.wait())
    assert levels(hook) == [50, 80, 100]
    told = hook.told[0]
    assert (told["type"], told["owner"], told["per"]) == ("budget_alert", "tenant 't'", "month")
    assert (told["spent_usd"], told["limit_usd"], told["status"]) == (5.0, 10.0, 200)
    assert told["id"] == f"default/t1:t/month/{told['window']}/50/10000000000"


async def test_a_hook_that_fails_is_asked_again(store: ValkeyStore, hook: Hook, session: aiohttp.ClientSession) -> None:
    hook.statuses = [500, 302, 503]
    alerts = Alerts(session, pauses_s=(0.0, 0.0, 0.0))
    owned, standing = await spent(store, 5.0)
    await alerts.look(store, AlertsConfig(webhook=hook.url), owned, standing)
    await alerts.wait()
    assert [each["status"] for each in hook.told] == [500, 302, 503, 200]
    await alerts.look(store, AlertsConfig(webhook=hook.url), owned, standing)
    await alerts.wait()
    assert len(hook.told) == 4


async def test_one_that_stays_away_is_told_later_and_its_url_in_no_log(
    store: ValkeyStore, hook: Hook, session: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    alerts = Alerts(session, pauses_s=(0.0,))
    owned, standing = await spent(store, 5.0)
    away = AlertsConfig(webhook="http://127.0.0.1:9" + SECRET_PATH)
    with caplog.at_level(logging.WARNING):
        await alerts.look(store, away, owned, standing)
        await alerts.wait()
    assert "alerts.webhook did not take a budget alert" in caplog.text
    assert "secret-name" not in caplog.text
    other = Alerts(session)
    await other.look(store, AlertsConfig(webhook=hook.url), owned, standing)
    await other.wait()
    assert hook.told == []  # the lease still runs
    lease = notes_key(*owned[0], standing[0].at) + f":alert:50:{owned[0][1].limit}"
    assert await store.ask("DEL", lease) == 1  # a minute later
    await other.look(store, AlertsConfig(webhook=hook.url), owned, standing)
    await other.wait()
    assert levels(hook) == [50]


async def test_nothing_is_told_without_a_hook_nor_below_a_level(
    store: ValkeyStore, hook: Hook, session: aiohttp.ClientSession
) -> None:
    alerts = Alerts(session)
    owned, standing = await spent(store, 5.0)
    await alerts.look(store, AlertsConfig(), owned, standing)
    await alerts.look(store, AlertsConfig(webhook=hook.url, levels=[51]), owned, standing)
    await alerts.wait()
    assert hook.told == []


async def test_a_store_that_is_down_is_told_to_the_caller(
    store: ValkeyStore, hook: Hook, session: aiohttp.ClientSession
) -> None:
    owned, standing = await spent(store, 5.0)
    await store.aclose()
    with pytest.raises(StoreUnavailable):
        await Alerts(session).look(store, AlertsConfig(webhook=hook.url), owned, standing)


async def test_a_worker_that_ends_stops_telling(store: ValkeyStore, hook: Hook, session: aiohttp.ClientSession) -> None:
    hook.statuses = [500] * 9
    alerts = Alerts(session, pauses_s=(60.0,))
    owned, standing = await spent(store, 5.0)
    await alerts.look(store, AlertsConfig(webhook=hook.url), owned, standing)
    await asyncio.wait_for(alerts.aclose(), 5)
    assert len(hook.told) <= 1


@pytest.mark.parametrize(
    ("alerts", "path"),
    [
        ({"webhook": "ftp://example.org"}, "alerts.webhook"),
        ({"levels": [0]}, "alerts.levels[0]"),
        ({"levels": [101]}, "alerts.levels[0]"),
        ({"hook": "http://example.org"}, "alerts.hook"),
    ],
)
async def test_a_mistake_is_told_with_its_place(alerts: Json, path: str) -> None:
    with pytest.raises(ConfigError) as error:
        config_of(tree(**BUDGET, alerts=alerts))
    assert path in str(error.value)


async def test_a_hook_without_budgets_is_a_mistake_and_its_url_is_in_no_message() -> None:
    with pytest.raises(ConfigError, match="has no effect without budgets") as error:
        config_of(tree(alerts={"webhook": "http://example.org/secret-name"}))
    assert "secret-name" not in str(error.value)


async def test_alerts_change_no_decision_hence_no_hash() -> None:
    plain: dict[str, Any] = tree(**BUDGET)
    told = config_of({**plain, "alerts": {"webhook": "http://example.org"}})
    assert config_hash(told) == config_hash(config_of(plain))
    assert "example.org" not in repr(told.alerts)
