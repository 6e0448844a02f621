"""`gearshift budget forecast`: by window and owner, the same with the gateway up and down."""

import asyncio
import json
from datetime import datetime
from pathlib import Path

import pytest
import redis
from rig import tree
from typer.testing import CliRunner

from router.commands.budget import command
from router.config.budgets import windows_of
from router.config.load import load_config
from router.store.balances import balances, notes_key
from router.store.embedded import EmbeddedValkey
from router.store.keys import scope_of
from router.store.ledger import sums_of
from router.store.valkey import StoreOptions, ValkeyStore
from router.store.window_parts import note, part_of


@pytest.fixture
def config(tmp_path: Path) -> Path:
    budgets = [{"per": "hour", "usd": 1}, {"per": "month", "usd": 1_000}]
    tenants = {"t": {"organisation": "acme", "budgets": budgets}, "free": {"keys": ["key-of-the-free"]}}
    path = tmp_path / "gearshift.yaml"
    path.write_text(json.dumps(tree(tenants=tenants, store={"dir": str(tmp_path / "data")})))
    return path


def told(config: Path, *more: str) -> str:
    result = CliRunner().invoke(command, ["forecast", "--config", str(config), *more], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


async def spend(url: str, config: Path, spool: Path) -> None:
    """2 USD since the window began, noted as a worker does: more than the hour's, little of the month's."""
    loaded = load_config(config)
    owned = [("acme", window) for window in windows_of(loaded, "t", loaded.tenants["t"])]
    store = ValkeyStore(url, StoreOptions(spool_dir=spool))
    await store.start()
    for organisation, window in owned:
        (balance,) = await balances(store, [(organisation, window)])
        spent_field, reserved_field = sums_of(window.per, balance.label)
        key = scope_of(organisation).account(window.account)
        await store.ask("HSET", key, spent_field, 2_000_000_000, reserved_field, 0)
        (balance,) = await balances(store, [(organisation, window)])
        await note(store, organisation, balance, requests=4, pace=None)
        with redis.Redis.from_url(url) as server:
            key = notes_key(organisation, window, balance.at)
            assert server.hget(key, f"spent:{part_of(balance)}") == b"2000000000"
            assert server.hget(key, "requests") == b"4"
    await store.aclose()


def test_the_date_is_foretold_up_and_down(config: Path, tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path / "data") as server:
        asyncio.run(spend(server.url, config, tmp_path / "data" / "spool"))
        up = json.loads(told(config, "--json"))
    down = json.loads(told(config, "--json"))
    assert list(up) == list(down) == ["t"]
    for hour, month in (up["t"], down["t"]):
        assert (hour["per"], month["per"]) == ("hour", "month")
        assert hour["lasts"] is False
        assert hour["spent_usd"] == 2.0
        assert datetime.fromisoformat(hour["exhausted_at"]) <= datetime.fromisoformat(hour["ends_at"])
        assert month["usd_per_hour"] > 0.0
        assert month["spent_at_end_usd"] >= 2.0
    table = told(config)
    assert "tenant 't'" in table
    assert "USD/hour" in table


def test_nothing_spent_is_foretold_to_last(config: Path, tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path / "data"):
        hour, month = json.loads(told(config, "--json"))["t"]
    assert hour["lasts"] is month["lasts"] is True
    assert hour["exhausted_at"] is None
    assert "not before it ends" in told(config)
