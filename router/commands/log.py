"""`gearshift log`: what was asked, decided, answered and paid, whether the gateway runs or not."""

import os
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from router.config.schema import StoreConfig

command = typer.Typer(help="Read the log: one line per client request.", no_args_is_help=True, add_completion=False)

RECENT_S = (600.0, 86_400.0, None)  # how far back `tail` looks, in turn

Config = Annotated[Path | None, typer.Option(help="YAML file; without one, the default store")]
StoreDir = Annotated[Path | None, typer.Option(help="Data directory, instead of store.dir")]


class Format(StrEnum):
    jsonl = "jsonl"
    csv = "csv"
    parquet = "parquet"


@command.command()
def export(
    form: Annotated[Format, typer.Option("--format", help="What to write")] = Format.jsonl,
    config: Config = None,
    store_dir: StoreDir = None,
    out: Annotated[Path | None, typer.Option(help="File to write; default: standard output")] = None,
    since: Annotated[
        str | None, typer.Option(help="Only requests from then on: 90s, 15m, 2h, 7d ago, POSIX seconds or ISO 8601")
    ] = None,
    with_open: Annotated[
        bool, typer.Option("--open", help="Also requests without an outcome yet, with status open")
    ] = False,
    prompts: Annotated[
        bool, typer.Option("--prompts", help="With the prompts of tenants that opted in to storing them")
    ] = False,
) -> None:
    """Write every request, joined with its outcome and feedback."""
    from router.commands import log_formats

    if form is Format.parquet and out is None:
        raise typer.BadParameter("parquet is written to a file: give one with --out", param_hint="--out")
    hidden = set() if prompts else {"prompt"}
    with _requests(config, store_dir, moment(since, now=time.time())) as found:
        chosen = (row for row in found if with_open or row["status"] != "open")
        rows = ({name: value for name, value in row.items() if name not in hidden} for row in chosen)
        log_formats.write(rows, form.value, out)


@command.command()
def tail(
    config: Config = None,
    store_dir: StoreDir = None,
    lines: Annotated[int, typer.Option("-n", "--lines", min=1, help="How many requests")] = 20,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as requests end")] = False,
) -> None:
    """Show the latest requests."""
    from router.commands import log_view

    store = store_config(config, store_dir)
    if follow:
        _needs_gateway(store)
    with opened(store) as (url, directory):
        latest = _latest(url, directory, lines)
        if not follow:
            log_view.show(latest)
            return
        log_view.follow(url, latest, lines)


@command.command()
def archive(config: Config = None, store_dir: StoreDir = None) -> None:
    """Write what is not in the archive yet there, now, for what reads files alone: evaluate and train log."""
    import redis

    from router.store.archive import archive_once
    from router.store.base import StoreUnavailable

    with opened(store_config(config, store_dir)) as (url, directory):
        try:
            rows = archive_once(url, directory)
        except redis.RedisError as error:
            raise StoreUnavailable(f"the store cannot be read: {error}") from error
    typer.echo(f"{rows} new rows archived below {directory / 'archive'}")


def moment(text: str | None, *, now: float) -> float | None:
    """`read_moment` of an option; None for none."""
    from router.statement.period import read_moment

    if text is None:
        return None
    at = read_moment(text, now=now)
    if at is None:
        raise typer.BadParameter(f"expected 90s, 15m, 2h, 7d, POSIX seconds or ISO 8601, got {text!r}")
    return at


def store_config(config: Path | None, store_dir: Path | None) -> StoreConfig:
    from router.config.load import load_config

    store = load_config(config).store if config is not None else StoreConfig()
    return store if store_dir is None else store.model_copy(update={"dir": str(store_dir)})


def _needs_gateway(config: StoreConfig) -> None:
    # Following would hold the embedded store's lock, and the gateway could not start.
    from router.store.embedded import is_gateway_up
    from router.store.place import EMBEDDED, data_dir

    if config.url == EMBEDDED and not is_gateway_up(data_dir(config)):
        raise typer.BadParameter(
            "no gateway runs on this store; start one, or leave out --follow", param_hint="--follow"
        )


@contextmanager
def opened(config: StoreConfig) -> Iterator[tuple[str, Path]]:
    from router.store.place import data_dir, open_store_for_cli

    with open_store_for_cli(config) as url:
        yield url, data_dir(config)


@contextmanager
def _requests(config: Path | None, store_dir: Path | None, since: float | None) -> Iterator[Iterator[dict[str, Any]]]:
    from router.store.logbook import read_requests

    with opened(store_config(config, store_dir)) as (url, directory):
        try:
            yield read_requests(url, directory, since=since)
        except BrokenPipeError:  # `… | head` has seen enough; Python would complain again while it exits
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _latest(url: str, directory: Path, lines: int) -> list[dict[str, Any]]:
    """The last requests that ended, oldest first."""
    from router.store.logbook import read_requests

    latest: deque[dict[str, Any]] = deque(maxlen=lines)
    for back_s in RECENT_S:
        since = None if back_s is None else time.time() - back_s
        found = [row for row in read_requests(url, directory, since=since) if row["status"] != "open"]
        latest = deque(sorted(found, key=lambda row: row["ended_at"]), maxlen=lines)
        if len(latest) == lines:
            break
    return list(latest)
