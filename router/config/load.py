"""Read a configuration file into a `Config`, or say everything that is wrong with it at once."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path as FilePath
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import orjson
from pydantic import ValidationError

from router.config.consistency import Known, exposure, inconsistencies
from router.config.document import read_document
from router.config.local import fill_local
from router.config.price_table import fill_prices
from router.config.problems import ConfigError, Path, Problem
from router.config.salvage import validate
from router.config.schema import Config, Server, Tenant, TradeOffConfig
from router.config.secrets import masked, resolve


def default_trade_offs() -> dict[str, TradeOffConfig]:
    """The built-in trade-offs: what one more correct answer is worth, in USD; a file may override each by its name.

    At ``balanced``, an arm that is right 10 % more often may cost half a cent more per request.
    """
    worth = {"cheap": 0.005, "balanced": 0.05, "best": 0.5}
    return {name: TradeOffConfig(usd_per_correct_answer=usd) for name, usd in worth.items()}


def load_config(path: str | os.PathLike[str], *, env: Mapping[str, str] | None = None) -> Config:
    """Read, resolve, validate and complete the file.

    Args:
        path: A YAML file.
        env: Where ``${NAME}`` is looked up; the process environment if None.

    Raises:
        ConfigError: Anything is wrong; its text names every problem with key path, line, expectation and remedy.
    """
    source = os.fspath(path)
    return parse_config(_text(path, source), source=source, env=env)


def inline_secrets(path: str | os.PathLike[str]) -> list[Path]:
    """Where the file holds a secret itself, in place of ``${NAME}``. Raises ConfigError as `load_config`."""
    source = os.fspath(path)
    return resolve(read_document(_text(path, source), source=source).tree, {}).inline


def _text(path: str | os.PathLike[str], source: str) -> str:
    try:
        return FilePath(path).expanduser().read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            source, [Problem((), f"cannot be read: {error.strerror or error}; check the path")]
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(source, [Problem((), f"is not UTF-8 text (byte {error.start}); save it as UTF-8")]) from error


def parse_config(text: str, *, source: str, env: Mapping[str, str] | None = None) -> Config:
    """`load_config` of a text; raises the same."""
    document = read_document(text, source=source)
    return build_config(document.tree, source=source, env=env, lines=document.lines, problems=document.problems)


def build_config(
    tree: Any,
    *,
    source: str,
    env: Mapping[str, str] | None = None,
    lines: Mapping[Path, int] | None = None,
    problems: Iterable[Problem] = (),
) -> Config:
    """The configuration of a tree of plain values; ``problems`` found while reading it are reported with the rest.

    Raises:
        ConfigError: Anything is wrong.
    """
    if not isinstance(tree, dict):
        state = "is empty" if tree is None else "holds no mapping"
        raise ConfigError(
            source, [Problem((), f"{state}; expected keys such as models and tenants, see examples/gearshift.yaml")]
        )
    resolved = resolve(tree, os.environ if env is None else env)
    filled, unpriced = fill_prices(fill_local(resolved.tree))
    salvaged = validate(filled)
    found = [*problems, *resolved.problems, *unpriced]
    places = {item.path for item in found}
    found += [item for item in salvaged.problems if item.path not in places]
    if salvaged.config is not None:
        config = _completed(salvaged.config)
        across = inconsistencies(config, _known(filled, salvaged.dropped, resolved.unset))
        found += [item for item in across if item.path not in places]
        if not found:
            return config
    hidden = [Problem(item.path, masked(item.message, resolved.values)) for item in found]
    raise ConfigError(source, hidden, lines=lines)


def _completed(config: Config) -> Config:
    """With the built-in trade-offs, and a tenant for the keyless loopback if none is declared."""
    trade_offs = {**default_trade_offs(), **config.trade_offs}
    return config.model_copy(update={"trade_offs": trade_offs, "tenants": config.tenants or {"default": Tenant()}})


def _known(tree: dict[str, Any], dropped: set[Path], unset: set[Path]) -> Known:
    doubtful = {
        str(place[1]) for place in dropped if place[:1] == ("models",) and place[2:] in ((), ("modes",), ("efforts",))
    }
    return Known(
        models=tuple(_section(tree, "models")),
        doubtful=doubtful,
        trade_offs=tuple({**default_trade_offs(), **_section(tree, "trade_offs")}),
        unset=unset,
    )


def _section(tree: dict[str, Any], key: str) -> dict[str, Any]:
    value = tree.get(key)
    return value if isinstance(value, dict) else {}


def with_server(config: Config, **changes: Any) -> Config:
    """The configuration with ``host``, ``port`` or ``workers`` of the command line in place of the file's.

    Raises:
        ConfigError: The change is no valid setting, or opens a keyless gateway to others.
    """
    given = {key: value for key, value in changes.items() if value is not None}
    tree = {**config.server.model_dump(), **given}
    try:
        changed = config.model_copy(update={"server": Server.model_validate(tree)})
    except ValidationError as error:
        wrong = [Problem(("server", *item["loc"]), item["msg"]) for item in error.errors()]
        raise ConfigError("command line", wrong) from error
    if problems := list(exposure(changed)):
        raise ConfigError("command line", problems)
    return changed


def config_hash(config: Config) -> str:
    """12 hex digits that change with anything that can change an answer or a decision; secrets do not enter."""
    tree = config.model_dump(mode="json")
    tree["server"], tree["admin"] = tree["server"]["limits"], None  # where it listens changes nothing
    tree["store"]["dir"] = None
    del tree["alerts"]  # whom a budget's state is told to changes no answer
    for model in tree["models"].values():
        for deployment in model["deployments"]:
            deployment["api_key"] = None
            deployment["headers"] = sorted(deployment["headers"])
            if deployment["upstream"] == "local":
                deployment["base_url"] = None  # another port at every start
    for tenant in tree["tenants"].values():
        tenant["keys"] = []
    tree["store"]["url"] = _without_userinfo(tree["store"]["url"])
    return hashlib.sha256(orjson.dumps(tree, option=orjson.OPT_SORT_KEYS)).hexdigest()[:12]


def _without_userinfo(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
