"""Pydantic's findings in our words: what was expected, what was found, and the likely intent."""

import re
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from router.config.problems import Path, Problem, did_you_mean, listed
from router.config.schema import Config
from router.config.secrets import is_secret

_UNION_TAGS = ("float", "int", "bool", "str")
_BOUNDS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "of at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "of at most"),
}
_KINDS = {
    "string": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list [low, high]",
    "dict": "a mapping",
    "finite": "a finite number",
}


def translate(error: ValidationError, *, below: Path = ()) -> list[Problem]:
    """One Problem for each place pydantic objects to, in a part of the configuration that stands at `below`."""
    problems: dict[Path, Problem] = {}
    for item in error.errors(include_url=False):
        path = real_path((*below, *item["loc"]))
        problems.setdefault(path, Problem(path, _message(path, item)))
    return list(problems.values())


def real_path(loc: tuple[Any, ...]) -> Path:
    """The place in the file, without what pydantic adds to it."""
    if loc[-1:] == ("[key]",):
        loc = loc[:-1]
    # A value that fits no member of a union is reported once per member, its type appended.
    return loc[:-1] if "when" in loc[:-1] and loc[-1] in _UNION_TAGS else loc


def _message(path: Path, item: Any) -> str:
    kind, context = item["type"], item.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(path)
    if kind == "missing":
        return "required, but not there" + _expected_keys(path)
    if kind == "too_short":
        return "expected at least one entry, got none"
    got = "" if is_secret(path) else f", got {shown(item['input'])}"
    if kind == "literal_error":
        words = re.findall(r"'([^']*)'", context["expected"])
        return f"expected one of {listed(words)}{got}{did_you_mean(item['input'], words)}"
    if kind in _BOUNDS:
        key, phrase = _BOUNDS[kind]
        return f"expected a number {phrase} {context[key]:g}{got}"
    if kind in ("model_type", "model_attributes_type"):
        return f"expected a mapping{_expected_keys((*path, ''))}{got}"
    expected = _KINDS.get(kind.partition("_")[0])
    return f"expected {expected}{got}" if expected else f"{item['msg']}{got}"


def _unknown_key(path: Path) -> str:
    known = keys_at(path[:-1])
    return f"unknown key{did_you_mean(path[-1], known)}; known here: {listed(known)}"


def _expected_keys(path: Path) -> str:
    known = keys_at(path[:-1])
    return f" (keys: {listed(known)})" if known else ""


def shown(value: object) -> str:
    """A found value as it is printed: short, and never the inside of a mapping or list (a secret may stand in it)."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 48 else f"{text[:44]}…{text[0]}"


def keys_at(path: Path) -> list[str]:
    """Names of the keys the schema knows inside ``path``; none inside a free mapping."""
    annotation: Any = Config
    for part in path:
        annotation = _inside(annotation, part)
    model = next((kind for kind in _alternatives(annotation) if _is_model(kind)), None)
    return list(model.model_fields) if model else []


def _inside(annotation: Any, part: str | int) -> Any:
    for kind in _alternatives(annotation):
        if _is_model(kind) and part in kind.model_fields:
            return kind.model_fields[part].annotation
        if get_origin(kind) is dict:
            return get_args(kind)[1]
        if get_origin(kind) is list:
            return get_args(kind)[0]
    return None


def _alternatives(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [kind for choice in get_args(annotation) for kind in _alternatives(choice)]
    return [annotation]


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
