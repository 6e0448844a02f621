"""What the commands for tenants, keys and the audit log share: their options, and the way to the store."""

import os
import pwd
import re
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import redis

    from router.config.schema import Config
    from router.directory.directory import Directory

ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="The YAML file that the gateways serve; without one, the default store")
]
StoreDir = Annotated[Path | None, typer.Option(help="Data directory, instead of store.dir")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class Opened:
    """The store of a configuration while a command lasts."""

    config: "Config"
    client: "redis.Redis"
    url: str
    data_dir: Path
    secret: bytes
    directory: "Directory"


def configured(config_file: Path | None, store_dir: Path | None) -> "Config":
    """The file's configuration, or what a gateway without a file would serve, with its store where the options say.

    Raises:
        ConfigError: The file is not valid.
    """
    from rich.console import Console

    from router.config.discover import discover
    from router.config.load import load_config

    config = load_config(config_file) if config_file is not None else discover(os.environ, console=Console(quiet=True))
    if store_dir is not None:
        config = config.model_copy(update={"store": config.store.model_copy(update={"dir": str(store_dir)})})
    if config_file is None:
        where = f"the store in {config.store.dir}, with the models found here and nothing that a file declares"
        sys.stderr.write(f"no --config given: {where}\n")
    return config


@contextmanager
def opened(config_file: Path | None, store_dir: Path | None) -> Iterator[Opened]:
    """The store, whether a gateway runs or not; where a file names it, its directory is made before the first one ran.

    Raises:
        ConfigError: The file is not valid.
        StoreUnavailable: The store cannot be reached or started; without a file also where no gateway ever ran.
        OtherSecret: The gateways use another key secret.
    """
    import redis

    from router.directory.directory import Directory
    from router.secret import key_secret
    from router.store.base import StoreUnavailable
    from router.store.place import data_dir, open_store_for_cli

    config = configured(config_file, store_dir)
    place = config.store
    if config_file is not None:
        data_dir(place).mkdir(mode=0o700, parents=True, exist_ok=True)
    with open_store_for_cli(place) as url:
        secret = key_secret(data_dir(place), os.environ)
        try:
            with redis.Redis.from_url(url, socket_timeout=30) as client:
                directory = Directory(client, config=config, secret=secret, by=administrator())
                directory.compare_secret()
                yield Opened(config, client, url, data_dir(place), secret, directory)
        except redis.RedisError as error:
            raise StoreUnavailable(f"the store cannot be used: {error}") from error


def administrator() -> str:
    """Who runs this command, as the audit log names them: by the system's word, not the environment's."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = str(os.getuid())
    return f"cli:{user}@{socket.gethostname()}"


def duration(text: str) -> float:
    """Seconds of ``90s``, ``15m``, ``24h``, ``7d`` or ``0``."""
    if text == "0":
        return 0.0
    found = _DURATION.fullmatch(text)
    if found is None:
        raise typer.BadParameter(f"expected 90s, 15m, 24h, 7d or 0, got {text!r}")
    return float(found[1]) * _UNIT_S[found[2]]


def print_json(told: Any) -> None:
    """One JSON value, over lines that people can read."""
    import orjson

    sys.stdout.write(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode() + "\n")


def print_table(columns: tuple[str, ...], rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows by column; nothing stands for None."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*("" if row[column] is None else str(row[column]) for column in columns))
    console = Console(highlight=False, markup=False)
    (console if console.is_terminal else Console(width=160, highlight=False, markup=False)).print(table)
