"""YAML as written: plain values, the line of every key, no surprises: `off` is a text, a repeated key a mistake."""

import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import yaml

from router.config.problems import ConfigError, Path, Problem


@dataclass(slots=True)
class Document:
    """A parsed file.

    Attributes:
        tree: Its values; keys are always texts.
        lines: 1-based line of each path.
        problems: Repeated keys.
    """

    tree: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


class _Loader(yaml.SafeLoader):
    """YAML 1.2's scalars: `off`, `no` and `12:30` are texts, `1e-3` is a number, and dates are texts."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]


_DIGITS = [*"-+.0123456789"]
_FLOAT = r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf)|\.(?:nan|NaN)"
_SCALARS: tuple[tuple[str, str, list[str]], ...] = (
    ("bool", r"true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(?:0|[1-9][0-9_]*)", _DIGITS),
    ("float", _FLOAT, _DIGITS),
    ("merge", "<<", ["<"]),
)
for _tag, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)


def read_document(text: str, *, source: str) -> Document:
    """Parse one YAML document.

    Raises:
        ConfigError: The text is not YAML (with line and column), or an alias holds itself.
    """
    document = Document()
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is not None:
            _mark(loader, node, path=(), document=document, inside=())
            document.tree = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise ConfigError(source, [_syntax_problem(error)]) from error
    except yaml.YAMLError as error:
        raise ConfigError(source, [Problem((), f"not readable as YAML: {str(error).splitlines()[0]}")]) from error
    except ValueError as error:
        raise ConfigError(source, [Problem((), f"a value is not what its YAML tag says: {error}")]) from error
    finally:
        loader.dispose()
    return document


def _syntax_problem(error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    context = f" {error.context}" if error.context else ""
    return Problem(
        (), f"{where}not readable as YAML: {error.problem}{context}; check indentation, quotes and brackets there"
    )


def _mark(loader: yaml.SafeLoader, node: yaml.Node, *, path: Path, document: Document, inside: tuple[int, ...]) -> None:
    if id(node) in inside:
        raise yaml.constructor.ConstructorError(None, None, "an alias holds itself", node.start_mark)
    inside = (*inside, id(node))
    if isinstance(node, yaml.MappingNode):
        _mark_mapping(loader, node, path=path, document=document, inside=inside)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            document.lines.setdefault((*path, index), item.start_mark.line + 1)
            _mark(loader, item, path=(*path, index), document=document, inside=inside)


def _mark_mapping(
    loader: yaml.SafeLoader, node: yaml.MappingNode, *, path: Path, document: Document, inside: tuple[int, ...]
) -> None:
    seen: dict[Hashable, int] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.constructor.ConstructorError(None, None, "a key must be a plain text", key.start_mark)
        if key.tag == "tag:yaml.org,2002:merge":
            _mark(loader, value, path=path, document=document, inside=inside)
            continue
        key.tag = "tag:yaml.org,2002:str"
        line, place = key.start_mark.line + 1, (*path, key.value)
        if key.value in seen:
            message = (
                f"written twice, on lines {seen[key.value]} and {line}; the later one would win silently, keep one"
            )
            document.problems.append(Problem(place, message))
        seen[key.value] = line
        document.lines[place] = line
        _mark(loader, value, path=place, document=document, inside=inside)
