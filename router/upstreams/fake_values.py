"""A value that fits a JSON schema, so that the scripted upstream can answer typed requests."""

from collections.abc import Mapping
from typing import Any

DEPTH = 16


def instance_of(schema: Mapping[str, Any]) -> Any:
    """The plainest value a schema allows: first of an enum or union, shortest array, every required property.

    Covers what OpenAI's structured outputs allow: objects, arrays, scalars, enum, const, anyOf and $ref to $defs.
    """
    return _value(schema, schema, 0)


def _value(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    if depth > DEPTH:
        return None
    if "$ref" in schema:
        return _value(_resolve(schema["$ref"], root), root, depth + 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for union in ("anyOf", "oneOf", "allOf"):
        if schema.get(union):
            # The last branch ends recursive types: optional fields are written `anyOf: [T, null]`.
            return _value(schema[union][-1 if depth > DEPTH // 2 else 0], root, depth + 1)
    return _typed(schema, root, depth)


def _typed(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: _value(properties.get(name, {}), root, depth + 1) for name in schema.get("required", properties)}
    if kind == "array":
        count = max(int(schema.get("minItems", 1)), 0) if depth < DEPTH // 2 else int(schema.get("minItems", 0))
        return [_value(schema.get("items", {}), root, depth + 1) for _ in range(count)]
    if kind in ("integer", "number"):
        return schema.get("minimum", 1)
    return {"boolean": True, "null": None}.get(kind, "x" * int(schema.get("minLength", 0)) or "fake")


def _resolve(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    node: Any = root
    for key in reference.removeprefix("#").strip("/").split("/"):
        node = node[key] if key else node
    return node if isinstance(node, Mapping) else {}
