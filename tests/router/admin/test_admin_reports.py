"""Budgets, forecasts and statements over HTTP: the same figures as the commands print."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
import redis
from admin_api import CONFIG, SECRET, Api, placed
from typer.testing import CliRunner

from router.commands.budget import command as budget
from router.directory.directory import Directory
from router.store.base import End, Start
from router.store.ledger import Hold, Window, tenant_account
from router.store.valkey import StoreOptions, ValkeyStore


async def spend(url: str, directory: Path, nano_usd: int) -> None:
    """A request of the tenant `acme`, settled, and one that stays open."""
    store = ValkeyStore(url, StoreOptions(spool_dir=directory / "spool"))
    await store.start()
    at, owner = await store.now(), {"organisation": "default", "tenant": "acme"}
    window = Window(tenant_account("acme"), "day", 10**9, "tenant 'acme'")
    for request in ("r1", "r2"):
        ids = {"request_id": request, "decision_id": f"d-{request}"}
        row = orjson.dumps({**ids, **owner, "kind": "drawn", "at": at})
        await store.begin(Start(request, "default", b'{"tenant": "acme"}', row, b"", Hold(10**6, (window,))))
    done = orjson.dumps({"request_id": "r1", "decision_id": "d-r1", **owner, "status": "ok", "nano_usd": nano_usd})
    await store.settle(End("r1", "default", done, "d-r1", "acme", reserved=True, nano_usd=nano_usd))
    await store.aclose()


@pytest.fixture
def api(valkey_url: str, tmp_path: Path) -> Iterator[Api]:
    with redis.Redis.from_url(valkey_url) as client:
        settings = {"budgets": [{"per": "day", "usd": 1}]}
        Directory(client, config=CONFIG, secret=SECRET, by="x").create_tenant("acme", settings)
        asyncio.run(spend(valkey_url, tmp_path, 250_000_000))
        yield Api(client, placed(valkey_url, tmp_path))


def test_a_statement_sums_what_ended_and_counts_what_is_open(api: Api) -> None:
    told = api.ask("GET", "/admin/v1/statement?by=tenant&by=day&since=1h").json
    (group,) = told["groups"]
    assert (group["tenant"], group["requests"], group["nano_usd"], group["usd"]) == (
        "acme",
        1,
        250_000_000,
        "0.250000000",
    )
    assert (told["by"], told["open_requests"], told["total"]["nano_usd"]) == (["tenant", "day"], 1, 250_000_000)
    assert api.ask("GET", "/admin/v1/statement?tenant=nobody").json["total"]["requests"] == 0
    assert api.ask("GET", "/admin/v1/statement?until=2020-01-01").json["total"]["requests"] == 0


def test_a_window_is_held_beside_the_counters(api: Api) -> None:
    told = api.ask("GET", "/admin/v1/statement?window=day").json
    (of_file, of_store) = told["windows"]
    assert (of_store["owner"], of_store["counter_nano_usd"], of_store["difference_nano_usd"]) == (
        "tenant 'acme'",
        250_000_000,
        0,
    )
    assert of_file["counter_nano_usd"] == 0


def test_a_forecast_has_each_window_of_each_budget(api: Api) -> None:
    told = api.ask("GET", "/admin/v1/budgets/forecast").json
    assert [(name, [window["per"] for window in windows]) for name, windows in told.items()] == [
        ("of-the-file", ["day"]),
        ("acme", ["day"]),
    ]
    assert told["acme"][0]["spent_usd"] == 0.25


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("by=week", "by: expected one of organisation, tenant"),
        ("since=soon", "since: expected 90s, 15m"),
        ("until=soon", "until: expected 90s, 15m"),
        ("window=fortnight", "window: expected hour, day, month"),
        ("window=day&since=1h", "neither since nor until"),
    ],
)
def test_what_cannot_be_asked_is_refused(api: Api, query: str, told: str) -> None:
    got = api.ask("GET", f"/admin/v1/statement?{query}")
    assert (got.status, got.error["code"], got.error["param"]) == (400, "invalid_request", query.partition("=")[0])
    assert told in got.error["message"]


def test_the_command_and_the_api_tell_the_same(api: Api, valkey_url: str, tmp_path: Path) -> None:
    file = tmp_path / "gearshift.yaml"
    tree = CONFIG.model_dump(mode="json", exclude_unset=True)
    file.write_text(json.dumps({**tree, "store": {"url": valkey_url, "dir": str(tmp_path)}}))
    for words, path in (("show --json", "budgets"), ("statement --format json", "statement")):
        result = CliRunner().invoke(budget, [*words.split(), "--config", str(file)], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout) == api.ask("GET", f"/admin/v1/{path}").json
