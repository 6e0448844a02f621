"""Secrets: the few places that may name an environment variable, and how their values are kept out of messages."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from router.config.problems import Path, Problem

_REFERENCE = re.compile(r"\$\{([^}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FREE_TEXT = ("system", "because")  # prompts and sentences: `${x}` in them is text and stays as written
SECRET_PLACES = "api_key, tenants.<name>.keys, admin.key, headers, alerts.webhook and store.url"


@dataclass(slots=True)
class Resolved:
    """A tree with its references replaced; ``values`` are all secret texts in it, never to be shown."""

    tree: Any
    problems: list[Problem] = field(default_factory=list)
    values: set[str] = field(default_factory=set)
    inline: list[Path] = field(default_factory=list)  # secrets written into the file itself
    unset: set[Path] = field(default_factory=set)


def is_secret(path: Path) -> bool:
    """Whether the value at this place is a secret (the only places where ``${NAME}`` is read)."""
    if path in (("store", "url"), ("admin", "key"), ("alerts", "webhook")):
        return True
    if path[:1] == ("tenants",):
        return len(path) == 4 and path[2] == "keys"
    if path[:1] != ("models",) or len(path) < 5 or path[2] != "deployments":
        return False
    return path[4:] == ("api_key",) or (path[4] == "headers" and len(path) == 6)


def resolve(tree: Any, env: Mapping[str, str]) -> Resolved:
    """Replace ``${NAME}`` in secrets by its value; references elsewhere, unset and empty variables are problems."""
    resolved = Resolved(tree=None)
    resolved.tree = _walk(tree, path=(), env=env, out=resolved)
    return resolved


def _walk(value: Any, *, path: Path, env: Mapping[str, str], out: Resolved) -> Any:
    if isinstance(value, dict):
        return {key: _walk(item, path=(*path, key), env=env, out=out) for key, item in value.items()}
    if isinstance(value, list):
        return [_walk(item, path=(*path, index), env=env, out=out) for index, item in enumerate(value)]
    if isinstance(value, str):
        return _resolve_text(value, path=path, env=env, out=out)
    return value


def _resolve_text(text: str, *, path: Path, env: Mapping[str, str], out: Resolved) -> str:
    if not is_secret(path):
        if _REFERENCE.search(text) and path[-1:] and path[-1] not in _FREE_TEXT:
            out.problems.append(
                Problem(path, f"${{…}} is read only in secrets ({SECRET_PLACES}); write the value here")
            )
        return text
    if "${" not in text:
        _note_inline(text, path=path, out=out)
        return text

    def value_of(match: re.Match[str]) -> str:
        value = _lookup(match[1], path=path, env=env, out=out)
        return quote(value, safe="") if path == ("store", "url") and match[0] != text else value

    result = _REFERENCE.sub(value_of, text)
    if "${" in _REFERENCE.sub("", text):
        out.problems.append(Problem(path, "a reference is not closed; write ${NAME}"))
        out.unset.add(path)
    out.values.add(result)
    return result


def _lookup(name: str, *, path: Path, env: Mapping[str, str], out: Resolved) -> str:
    value = env.get(name, "")
    if not _NAME.fullmatch(name):
        out.problems.append(
            Problem(path, "expected ${NAME} with a variable's plain name (no defaults, no expressions)")
        )
    elif not value:
        state = "empty" if name in env else "not set"
        out.problems.append(
            Problem(path, f"environment variable {name} is {state}; export {name}=… or remove this entry")
        )
    if not value:
        out.unset.add(path)
    else:
        out.values.update((value, quote(value, safe="")))
    return value


def _note_inline(text: str, *, path: Path, out: Resolved) -> None:
    if path == ("store", "url"):
        userinfo = text.partition("://")[2].rpartition("@")[0]
        if not userinfo:
            return
        out.values.update((text, userinfo, userinfo.partition(":")[2]))
    elif text.startswith("hmac:"):
        return
    elif path == ("alerts", "webhook"):
        out.values.add(text)  # kept out of messages; but a hook on one's own network is no secret
        return
    else:
        out.values.add(text)
    out.inline.append(path)


def masked(message: str, values: set[str]) -> str:
    """The message with every secret text replaced. Very short ones are kept: masking them would garble words."""
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= 6:
            message = message.replace(value, "***")
    return message
