"""`gearshift budget show`: the same figures with the gateway up and down."""

import asyncio
import json
from pathlib import Path

import pytest
from rig import tree
from typer.testing import CliRunner

from router.commands.budget import command
from router.config.budgets import windows_of
from router.config.load import load_config
from router.store.base import End, Start
from router.store.embedded import EmbeddedValkey
from router.store.ledger import Hold
from router.store.valkey import StoreOptions, ValkeyStore


@pytest.fixture
def config(tmp_path: Path) -> Path:
    budgets = [{"per": "day", "usd": 1}, {"per": "month", "usd": 20}]
    tenants = {"t": {"organisation": "acme", "budgets": budgets}, "free": {"keys": ["key-of-the-free"]}}
    shared = {"organisations": {"acme": {"budgets": [{"per": "month", "usd": 100}]}}}
    path = tmp_path / "gearshift.yaml"
    path.write_text(json.dumps(tree(tenants=tenants, store={"dir": str(tmp_path / "data")}, **shared)))
    return path


def shown(config: Path, *more: str) -> str:
    result = CliRunner().invoke(command, ["show", "--config", str(config), *more], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


async def spend(url: str, config: Path, spool: Path) -> None:
    """A request that cost 0.25 USD, and one under way that may cost half a USD."""
    told = load_config(config)
    windows = windows_of(told, "t", told.tenants["t"])
    store = ValkeyStore(url, StoreOptions(spool_dir=spool))
    await store.start()
    for request in ("r1", "r2"):
        await store.begin(Start(request, "acme", b"{}", b"{}", b"", Hold(500_000_000, windows)))
    await store.settle(End("r1", "acme", b"{}", "d", "t", reserved=True, nano_usd=250_000_000))
    await store.aclose()


def test_the_figures_are_shown_up_and_down(config: Path, tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path / "data") as server:
        asyncio.run(spend(server.url, config, tmp_path / "data" / "spool"))
        up = json.loads(shown(config, "--json"))
    assert list(up) == ["t"]
    assert (up["t"]["spent_usd"], up["t"]["reserved_usd"], up["t"]["limit_usd"]) == (0.25, 0.5, 1.0)
    assert [(each["owner"], each["per"], each["left_nano_usd"]) for each in up["t"]["windows"]] == [
        ("tenant 't'", "day", 250_000_000),
        ("tenant 't'", "month", 19_250_000_000),
        ("organisation 'acme'", "month", 99_250_000_000),
    ]
    # With the gateway down nobody will end what it left open: that is charged.
    down = json.loads(shown(config, "--json"))
    assert (down["t"]["spent_usd"], down["t"]["reserved_usd"]) == (0.75, 0.0)
    table = shown(config)
    assert "organisation 'acme'" in table
    assert "0.750000" in table
