"""Bytes to one JSON object, refused with the remedy when they are not: the first thing to touch what a client sent."""

from collections.abc import Mapping
from typing import Any

import orjson

from router.config.schema import Limits
from router.errors import BadRequest

MAX_CONTAINERS = 200_000  # a second of parsing and collecting sits in ten megabytes of []
_TO_ROUND = bytes.maketrans(b"[]{}", b"()()")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def decode_object(raw: bytes, limits: Limits) -> dict[str, Any]:
    """The JSON object that ``raw`` is. Of repeated keys the last counts; integers beyond 64 bits become floats.

    Raises:
        BadRequest: Not UTF-8, not JSON (NaN and lone surrogates are not), nested too deep, or not an object.
    """
    brackets = _brackets(raw) if raw.count(b"[") + raw.count(b"{") > limits.json_depth else b""
    if len(brackets) > 2 * MAX_CONTAINERS:
        raise BadRequest(
            f"the body holds more than {MAX_CONTAINERS} arrays and objects; send less", param="body", code="too_complex"
        )
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadRequest(_why_not_json(raw, error), param="body", code="invalid_json") from None
    if type(body) is not dict:
        raise BadRequest(
            f'the body is a JSON {json_kind(body)}; send one JSON object, e.g. {{"model": "auto", "messages": [...]}}',
            param="body",
            code="invalid_json",
        )
    if _deeper_than(brackets, limits.json_depth):
        raise BadRequest(
            f"the body is nested deeper than {limits.json_depth} levels; flatten it", param="body", code="too_deep"
        )
    return body


def _brackets(raw: bytes) -> bytes:
    """The brackets outside of strings, all made round. Passes of C speed: megabytes must not stall the event loop."""
    bare = b"".join(raw.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])
    return bare.translate(_TO_ROUND, _NOT_BRACKETS)


def _deeper_than(brackets: bytes, depth: int) -> bool:
    for _ in range(depth):
        if not brackets:
            return False
        brackets = brackets.replace(b"()", b"")  # one level off every branch
    return bool(brackets)


def json_kind(value: object) -> str:
    """What JSON calls a decoded value."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    kinds: Mapping[type, str] = {dict: "object", list: "array", str: "string", int: "number", float: "number"}
    return kinds[type(value)]


def _why_not_json(raw: bytes, error: orjson.JSONDecodeError) -> str:
    """The decoder's reason and place; never the text itself."""
    if not raw.strip():
        return "the body is empty; send a JSON object with content-type: application/json"
    if raw.startswith(b"\xef\xbb\xbf"):
        return "the body begins with a byte order mark; send plain UTF-8 JSON"
    try:
        raw.decode()
    except UnicodeDecodeError as bad:
        return f"the body is not UTF-8 (byte {bad.start}); send UTF-8 JSON"
    place = f"line {error.lineno} column {error.colno}"
    return f"the body is not valid JSON ({error.msg}, {place}); check what the client sends"
