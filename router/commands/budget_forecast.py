"""`gearshift budget forecast`: when each budget will be spent, by the rate of late, whether the gateway runs or not."""

import json
import math
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from router.commands.directory import ConfigFile, StoreDir, configured

if TYPE_CHECKING:
    import redis

    from router.config.schema import Config
    from router.store.balances import Balance

NANO = 1_000_000_000


def forecast(
    config: ConfigFile = None,
    store_dir: StoreDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object by tenant")] = False,
) -> None:
    """Foretell when each budget is spent, from the last quarter of a window; intervals are 80 %."""
    tenants = foretold(config, store_dir)
    if as_json:
        sys.stdout.write(json.dumps(tenants, indent=2) + "\n")
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("tenant", "whose", "per", "spent USD", "limit USD", "USD/hour", "at its end", "spent at (UTC)"):
        table.add_column(name, justify="left" if name in ("tenant", "whose", "per") else "right", no_wrap=True)
    for name, windows in tenants.items():
        for window in windows:
            table.add_row(name, window["owner"], window["per"], *_cells(window))
    console = Console()
    (console if console.is_terminal else Console(width=180)).print(table)


def foretold(config: Path | None, store_dir: Path | None) -> dict[str, list[dict[str, Any]]]:
    """By tenant with a budget: a forecast for each window that binds it.

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
                return forecasts(told, client)
        except redis.RedisError as error:
            raise StoreUnavailable(f"the store cannot be read: {error}") from error


def forecasts(config: "Config", client: "redis.Redis") -> dict[str, list[dict[str, Any]]]:
    """The same of the file's tenants and the store's, over an open client. Raises redis.RedisError."""
    from router.config.budgets import windows_of
    from router.directory.kept import with_kept
    from router.store.balances import read_balances

    every, found = with_kept(config, client), dict[str, list[dict[str, Any]]]()
    for name, tenant in every.tenants.items():
        owned = [(tenant.organisation, window) for window in windows_of(every, name, tenant)]
        if owned:
            standing = read_balances(client, owned)
            found[name] = [_of_window(client, tenant.organisation, each) for each in standing]
    return found


def _of_window(client: "redis.Redis", organisation: str, balance: "Balance") -> dict[str, Any]:
    from router.forecast import Z80, rate_of, steps_of
    from router.store.ledger import begins_at
    from router.store.window_parts import N_PARTS, read_spending

    window, before = balance.window, balance.begins_at - 1
    steps = steps_of(
        read_spending(client, organisation, window, before),
        read_spending(client, organisation, window, balance.at),
        spent=balance.spent,
        part_s=(
            (balance.begins_at - begins_at(window.per, before)) / N_PARTS,
            (balance.ends_at - balance.begins_at) / N_PARTS,
        ),
        elapsed_s=max(balance.at - balance.begins_at, 1.0),
    )
    told: dict[str, Any] = {
        "owner": window.owner,
        "per": window.per,
        "window": balance.label,
        "spent_usd": balance.spent / NANO,
        "limit_usd": window.limit / NANO,
        "ends_at": _moment(balance.ends_at),
    }
    rate, left_usd = rate_of(steps), (window.limit - balance.spent) / NANO
    rest_s = balance.ends_at - balance.at

    def spent_at_end(z: float) -> float | None:
        return _number((balance.spent / NANO) + rate.spent_in(rest_s, z=z))

    def moment(z: float) -> str | None:
        seconds = rate.seconds_to(left_usd, z=z) if not math.isnan(rate.spent_in(1.0, z=z)) else math.inf
        return _moment(balance.at + seconds) if seconds < 100 * 366 * 86_400 else None

    known = not math.isnan(rate.variance)
    at = rate.seconds_to(left_usd)
    return told | {
        "usd_per_hour": rate.usd_per_s * 3600.0,
        "lasts": at >= rest_s,
        "spent_at_end_usd": spent_at_end(0.0),
        "spent_at_end_80_usd": [spent_at_end(-Z80), spent_at_end(Z80)] if known else None,
        "exhausted_at": moment(0.0),
        "exhausted_at_80": [moment(Z80), moment(-Z80)] if known else None,
    }


def _cells(window: dict[str, Any]) -> list[str]:
    low, high = window["spent_at_end_80_usd"] or (None, None)
    end = f"{window['spent_at_end_usd']:.4f}" + ("" if low is None else f" ({low:.4f}…{high:.4f})")
    when = "not before it ends" if window["lasts"] else window["exhausted_at"][:16]
    first, last = window["exhausted_at_80"] or (None, None)
    if first is not None and first < window["ends_at"]:
        when += f" ({first[:16]}…{'never' if last is None else last[:16]})"
    return [
        f"{window['spent_usd']:.4f}", f"{window['limit_usd']:.4f}", f"{window['usd_per_hour']:.6f}", end, when,
    ]  # fmt: skip


def _moment(at: float) -> str:
    return datetime.fromtimestamp(int(at), UTC).isoformat()


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
