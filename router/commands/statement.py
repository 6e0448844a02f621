"""`gearshift budget statement`: what was spent, on what and by whom, to the nano-dollar."""

import sys
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from router.commands.directory import ConfigFile, StoreDir, configured
from router.commands.log import moment, opened, store_config

if TYPE_CHECKING:
    import redis

    from router.config.schema import Config
    from router.statement.counters import Compared
    from router.statement.period import Period
    from router.statement.sums import Statement
    from router.store.balances import Owned


class Format(StrEnum):
    table = "table"
    csv = "csv"
    json = "json"


def statement(
    config: ConfigFile = None,
    store_dir: StoreDir = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            help="Divide by organisation, tenant, key, end_user, model, mode, arm, day, hour or tag:NAME; repeat to "
            "divide further; default: tenant"
        ),
    ] = None,
    tenant: Annotated[list[str] | None, typer.Option(help="Only this tenant; repeat for more")] = None,
    since: Annotated[
        str | None, typer.Option(help="Only requests from then on: 90s, 15m, 2h, 7d ago, POSIX seconds or ISO 8601")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Only requests before then, written likewise")] = None,
    window: Annotated[
        str | None,
        typer.Option(
            help="Only requests of a budget window, held beside the store's counters: hour, day or month for the one "
            "now, else 2026-11-30T14, 2026-11-30 or 2026-11"
        ),
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="How to print it")] = Format.table,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json")] = False,
) -> None:
    """Sum what requests cost. Exit status 1: a budget's counter differs from the entries of its window."""
    from router.commands import statement_formats
    from router.statement.columns import DIVISIONS, is_division
    from router.statement.sums import Statement

    divisions = tuple(by or ("tenant",))
    for name in divisions:
        if not is_division(name):
            raise typer.BadParameter(f"expected one of {', '.join(DIVISIONS)}, got {name!r}", param_hint="--by")
    if window is not None and (since is not None or until is not None):
        raise typer.BadParameter("goes with neither --since nor --until", param_hint="--window")
    found = Statement(divisions)
    if window is None:
        now = time.time()
        between = (moment(since, now=now), moment(until, now=now))
        beside = _sum(config, store_dir, found, tenant, between=between)
    else:
        between, beside = _sum_window(config, store_dir, found, tenant, window=window)
    statement_formats.write(
        statement_formats.Told(found, between, tenant or (), beside), "json" if as_json else form.value
    )
    if any(each.difference for each in beside):
        for line in statement_formats.alarms(beside):
            sys.stderr.write(line + "\n")
        raise typer.Exit(1)


def _sum(
    config: Path | None,
    store_dir: Path | None,
    found: "Statement",
    tenants: Sequence[str] | None,
    *,
    between: tuple[float | None, float | None],
) -> "list[Compared]":
    from router.statement.columns import COLUMNS
    from router.statement.sums import sum_up
    from router.store.logbook import read_tables

    with opened(store_config(config, store_dir)) as (url, directory):
        tables = read_tables(url, directory, since=between[0], until=between[1], columns=COLUMNS)
        sum_up(tables, (found, tenants))
    return []


def _sum_window(
    config: Path | None, store_dir: Path | None, found: "Statement", tenants: Sequence[str] | None, *, window: str
) -> "tuple[tuple[float | None, float | None], list[Compared]]":
    """The window's time, and each budget's counter beside all entries of its owner, whatever is shown of them."""
    import redis

    from router.store.base import StoreUnavailable

    told = configured(config, store_dir)
    with opened(told.store) as (url, directory):
        try:
            with redis.Redis.from_url(url, socket_timeout=30) as client:
                seconds, micros = client.time()
                period = _period(window, now=seconds + micros / 1e6)
                beside = sum_window(told, client, url, directory, found, tenants=tenants, period=period)
        except redis.RedisError as error:
            raise StoreUnavailable(f"the store cannot be read: {error}") from error
    return (period.since, period.until), beside


def sum_window(
    config: "Config",
    client: "redis.Redis",
    url: str,
    directory: Path,
    found: "Statement",
    *,
    tenants: Sequence[str] | None,
    period: "Period",
) -> "list[Compared]":
    """Sum a window's entries into `found`, and hold all of its budgets' entries beside their counters.

    Raises:
        StoreUnavailable, redis.RedisError: The store cannot be read.
    """
    from router.statement.columns import COLUMNS
    from router.statement.counters import BY_ACCOUNT, compared
    from router.statement.sums import Statement, sum_up
    from router.store.balances import read_balances
    from router.store.logbook import read_tables

    every, owned = Statement(BY_ACCOUNT), _owned(config, period, tenants, client)
    before = read_balances(client, owned, at=period.since)
    tables = read_tables(url, directory, since=period.since, until=period.until, columns=COLUMNS)
    sum_up(tables, (found, tenants), (every, None))
    after = read_balances(client, owned, at=period.since)
    return compared(owned, every, before=before, after=after)


def _period(window: str, *, now: float) -> "Period":
    from router.statement.period import read_period

    period = read_period(window, now=now)
    if period is None:
        raise typer.BadParameter(
            f"expected hour, day, month, 2026-11-30T14, 2026-11-30 or 2026-11, got {window!r}", param_hint="--window"
        )
    return period


def _owned(config: "Config", period: "Period", tenants: Sequence[str] | None, client: "redis.Redis") -> "list[Owned]":
    """Budgets of this kind of window, those that bind the tenants, be they the file's or the store's."""
    from router.config.budgets import windows_of
    from router.directory.kept import with_kept

    every = with_kept(config, client)
    chosen = [
        (each.organisation, found)
        for name, each in every.tenants.items()
        if not tenants or name in tenants
        for found in windows_of(every, name, each)
        if found.per == period.per
    ]
    return list(dict.fromkeys(chosen))
