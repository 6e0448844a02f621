"""`gearshift budget`: what tenants have spent and what is left to them, whether the gateway runs or not."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from router.commands.budget_forecast import forecast
from router.commands.budget_set import set_budget
from router.commands.directory import ConfigFile, StoreDir, configured
from router.commands.statement import statement

if TYPE_CHECKING:
    import redis

    from router.config.schema import Config

command = typer.Typer(help="Read and set the tenants' budgets.", no_args_is_help=True, add_completion=False)
command.command("set")(set_budget)
command.command()(statement)
command.command()(forecast)

NANO = 1_000_000_000


@command.callback()
def budget() -> None:
    """Read and set the tenants' budgets."""


@command.command()
def show(
    config: ConfigFile = None,
    store_dir: StoreDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object by tenant")] = False,
) -> None:
    """Show what is spent, reserved and left in each tenant's windows now."""
    tenants = read(config, store_dir)
    if as_json:
        sys.stdout.write(json.dumps(tenants, indent=2) + "\n")
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("tenant", "whose", "per", "window (UTC)", "spent USD", "reserved USD", "limit USD", "left USD"):
        table.add_column(name, justify="right" if name.endswith("USD") else "left", no_wrap=True)
    for name, told in tenants.items():
        for window in told["windows"]:
            amounts = (f"{window[part]:.6f}" for part in ("spent_usd", "reserved_usd", "limit_usd", "left_usd"))
            table.add_row(name, window["owner"], window["per"], window["window"], *amounts)
    console = Console()
    (console if console.is_terminal else Console(width=160)).print(table)


def read(config: Path | None, store_dir: Path | None) -> dict[str, Any]:
    """By tenant with a budget: the sums of its tightest window, and all windows that bind it.

    Raises:
        ConfigError: The file is not valid.
        StoreUnavailable: The store cannot be reached or started.
    """
    import redis

    from router.store.base import StoreUnavailable
    from router.store.place import open_store_for_cli

    told = configured(config, store_dir)
    with open_store_for_cli(told.store) as url:
        try:
            with redis.Redis.from_url(url, socket_timeout=30) as client:
                return shown_budgets(told, client)
        except redis.RedisError as error:
            raise StoreUnavailable(f"the store cannot be read: {error}") from error


def shown_budgets(config: "Config", client: "redis.Redis") -> dict[str, Any]:
    """The same of the file's tenants and the store's, over an open client. Raises redis.RedisError."""
    from router.config.budgets import windows_of
    from router.directory.kept import with_kept
    from router.store.balances import read_balances

    every, shown = with_kept(config, client), dict[str, Any]()
    for name, tenant in every.tenants.items():
        owned = [(tenant.organisation, window) for window in windows_of(every, name, tenant)]
        if owned:
            windows = [_told(each) for each in read_balances(client, owned)]
            shown[name] = _tenant(tenant.organisation, tenant.when_spent, windows)
    return shown


def _tenant(organisation: str, when_spent: str, windows: list[dict[str, Any]]) -> dict[str, Any]:
    tightest = min(windows, key=lambda window: window["left_nano_usd"])
    sums = {part: tightest[part] for part in ("spent_usd", "reserved_usd", "limit_usd", "left_usd")}
    return {"organisation": organisation, "when_spent": when_spent, **sums, "windows": windows}


def _told(balance: Any) -> dict[str, Any]:
    """USD as numbers to read, nano-USD as integers to count with."""
    amounts = {
        "spent": balance.spent, "reserved": balance.reserved, "limit": balance.window.limit, "left": balance.left,
    }  # fmt: skip
    return {
        "owner": balance.window.owner,
        "per": balance.window.per,
        "window": balance.label,
        "ends_at": datetime.fromtimestamp(balance.ends_at, UTC).isoformat(),
        "pace": balance.pace,
        **{f"{name}_usd": nano / NANO for name, nano in amounts.items()},
        **{f"{name}_nano_usd": nano for name, nano in amounts.items()},
    }
