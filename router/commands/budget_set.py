"""`gearshift budget set`: what a tenant that the store keeps may spend."""

import sys
from enum import StrEnum
from typing import Annotated

import typer

from router.commands.directory import AsJson, ConfigFile, StoreDir, opened, print_json


class Per(StrEnum):
    hour = "hour"
    day = "day"
    month = "month"


def set_budget(
    tenant: Annotated[str, typer.Argument(help="A tenant kept in the store; the file's have theirs in the file")],
    per: Annotated[Per, typer.Option(help="Window, by UTC; one budget each")],
    config: ConfigFile = None,
    usd: Annotated[
        float | None, typer.Option(help="What it may spend in each window; left out: no such budget")
    ] = None,
    pace: Annotated[
        bool | None, typer.Option("--pace/--no-pace", help="Make it last its window; left out: as it was")
    ] = None,
    store_dir: StoreDir = None,
    as_json: AsJson = False,
) -> None:
    """Set or take away a tenant's budget; gateways follow within a second, what is spent stays spent."""
    with opened(config, store_dir) as store:
        budgets = store.directory.set_budget(tenant, per.value, usd, pace=pace)["budgets"]
    if as_json:
        print_json(budgets)
    told = [f"{each['usd']:g} USD per {each['per']}{', paced' if each.get('pace') else ''}" for each in budgets]
    sys.stderr.write(f"tenant {tenant} has {'; '.join(told) or 'no budget'}\n")
