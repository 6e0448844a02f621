"""Right if an answer holds JSON that a schema accepts."""

import json
import re
from itertools import islice
from typing import Any

import orjson

from policies.checks.base import (
    MOST_CHARS,
    CheckError,
    Example,
    Grade,
    Options,
    Reference,
    Verdict,
    flag_option,
    known_options,
    right_if,
)

_FENCE = re.compile(r"```[\w-]*[ \t]*\n(.*?)```", re.DOTALL)
_MOST_STARTS = 64  # of brackets from which a bare value is tried
_ABSENT = object()


class JsonSchema:
    """The answer, its last fenced block that is JSON, or its first bare object or list must satisfy ``schema``.

    Options: ``schema`` (an object) and ``strict`` (false; true: nothing may stand around the JSON). References to
    other documents are not followed. With a reference (JSON text) the value must also equal it.

    Source: JSON Schema 2020-12 and the drafts before it, by ``$schema``; ``format`` is not asserted.
    """

    def prepare(self, reference: Reference, options: Options) -> Grade:
        known_options(options, ("schema", "strict"), check="json_schema")
        strict = flag_option(options, "strict", False, check="json_schema")
        validator, unusable = _validator(options.get("schema")), _unusable()
        wanted = _wanted(reference)

        def grade(answer: str) -> Verdict:
            value = _whole(answer) if strict else _embedded(answer[-MOST_CHARS:])
            if value is _ABSENT:
                return Verdict(0.0, "not JSON" if strict else "no JSON in the answer")
            try:
                fault = next(validator.iter_errors(value), None)
                if fault is not None:
                    return Verdict(0.0, f"breaks the schema: {fault.validator}")
                return right_if(wanted is _ABSENT or value == wanted, reason="valid, but differs from the reference")
            except RecursionError:
                return Verdict(0.0, "nested too deep for the schema")
            except unusable as problem:
                return Verdict(None, f"the schema cannot be applied: {type(problem).__name__}")
            except BaseException as problem:  # Rust's panics are no Exception and have no type to import
                if type(problem).__name__ != "PanicException":  # the stack ended inside the registry
                    raise
                return Verdict(0.0, "nested too deep for the schema")

        return grade

    def example(self) -> Example:
        schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
        return Example(right='Here: ```json\n{"n": 3}\n```', wrong='{"n": "three"}', options={"schema": schema})


def _validator(schema: object) -> Any:
    if not isinstance(schema, dict):
        raise CheckError("check json_schema: option schema: expected an object")
    try:
        from jsonschema import SchemaError, validators
        from referencing import Registry
    except ImportError as missing:
        raise CheckError("check json_schema needs the package jsonschema: pip install 'gearshift[train]'") from missing
    kind = validators.validator_for(schema, default=validators.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except SchemaError as problem:
        raise CheckError(f"check json_schema: option schema: {problem.message} at {problem.json_path}") from problem
    except _unusable() as problem:  # a pattern that repeats too often, for one
        raise CheckError(f"check json_schema: option schema: {type(problem).__name__}: {problem}") from problem
    registry: Registry[Any] = Registry()  # empty: a $ref must never fetch anything
    return kind(schema, registry=registry)


def _unusable() -> tuple[type[Exception], ...]:
    """What a schema that passes its own metaschema still raises when it is applied."""
    from jsonschema.exceptions import UnknownType
    from referencing.exceptions import Unresolvable

    said = Unresolvable, UnknownType, re.error  # a reference that leads nowhere, a type nobody knows, a broken pattern
    # multipleOf with a number beyond every float; a $ref that is no text or no URI, or leads to what is no schema.
    unsaid = ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError
    return *said, *unsaid


def _wanted(reference: Reference) -> object:
    if reference is None:
        return _ABSENT
    if not isinstance(reference, str) or (value := _whole(reference)) is _ABSENT:
        raise CheckError("check json_schema: reference: expected JSON text or nothing")
    return value


def _whole(text: str) -> object:
    try:
        return orjson.loads(text)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        return _ABSENT


def _embedded(text: str) -> object:
    """The answer itself, else its last fenced block that is JSON, else the first bare object or list."""
    for part in (text, *reversed(_FENCE.findall(text))):
        value = _whole(part)
        if value is not _ABSENT:
            return value
    decoder = json.JSONDecoder(parse_constant=_no_number)
    for start in islice(re.finditer(r"[{\[]", text), _MOST_STARTS):
        try:
            return decoder.raw_decode(text, start.start())[0]
        except (ValueError, RecursionError):
            continue
    return _ABSENT


def _no_number(name: str) -> object:
    """NaN and Infinity are no JSON."""
    raise ValueError(name)
