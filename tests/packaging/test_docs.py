"""The documentation against the code: links lead somewhere, every setting is explained, nothing named is missing."""

import json
import re
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from importlib import import_module
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import pytest
import typer
from prometheus_client.metrics import MetricWrapperBase
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.main import get_command

from policies.cli import VERBS
from policies.records import KINDS, STATUSES, AttemptRecord, DecisionRow, FeedbackRow, OutcomeRow
from policies.registry import registered_policies
from policies.zoo.conditions import CONDITION_NAMES
from router.config.schema import Config
from router.http.hints import Hints
from router.metrics import Metrics

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|srcset|href)=\"([^\"]+)\"")
SETTING = re.compile(r"^\| `([a-z0-9_<>.\[\]]+)` \| (\S.*?) \|", re.MULTILINE)
HEADER = re.compile(r"x-gearshift-[a-z-]+")
SERIES = re.compile(r"\bgearshift_[a-z_]+")
CODE = re.compile(r"^\| \d{3} \| `([a-z_]+)`", re.MULTILINE)


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def sources() -> str:
    return "\n".join(path.read_text() for path in sorted((ROOT / "router").rglob("*.py")))


def anchors(text: str) -> set[str]:
    """The anchors GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def parts_of(kind: Any) -> Iterator[tuple[str, type[BaseModel]]]:
    """Models inside an annotation, with what stands between the key and their own keys."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield "", kind
    elif get_origin(kind) in (Union, UnionType):
        for option in get_args(kind):
            yield from parts_of(option)
    elif get_origin(kind) is list:
        yield from (("[]" + inner, model) for inner, model in parts_of(get_args(kind)[0]))
    elif get_origin(kind) is dict:
        yield from ((".<name>" + inner, model) for inner, model in parts_of(get_args(kind)[1]))
    elif get_args(kind):
        yield from parts_of(get_args(kind)[0])


def shown(field: FieldInfo) -> str:
    """A default as the tables write it."""
    if field.is_required():
        return "required"
    if field.default is None:
        return "–"
    plain = json.dumps(field.default)
    return f"`{field.default}`" if isinstance(field.default, str) and field.default else f"`{plain}`"


# Explained once, where a model has them; elsewhere the same keys are referred to.
REFERRED = ("models.<name>.deployments[].timeouts", "models.<name>.mode_overrides", "tenants.<name>.key_caps")


def settings(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, str]]:
    """Every key of the configuration with its default; a section whose keys all follow is none itself."""
    for name, field in model.model_fields.items():
        inner = list(parts_of(field.annotation))
        key = path + name
        if not inner or key in REFERRED or not isinstance(field.default, BaseModel):
            yield key, shown(field)
        if key not in REFERRED:
            for between, below in inner:
                yield from settings(below, f"{key}{between}.")


@cache
def options_of(verb: str) -> frozenset[str] | None:
    """Options of a verb, ``train knn`` included; None where there is no such verb."""
    name, _, below = verb.partition(" ")
    if name not in VERBS:
        return None
    module, _, attribute = VERBS[name][0].partition(":")
    command = getattr(import_module(module), attribute)
    if not isinstance(command, typer.Typer):
        app = typer.Typer()
        app.command()(command)
        command = app
    found = get_command(command)
    subcommands = getattr(found, "commands", {})
    if below and below not in subcommands:
        return None
    asked = [subcommands[below]] if below else [found, *subcommands.values()]
    return frozenset(option for each in asked for parameter in each.params for option in parameter.opts) | {"--help"}


@pytest.mark.parametrize("source", PAGES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(source: Path) -> None:
    broken = []
    for link in (first or second for first, second in LINK.findall(source.read_text())):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (source.parent / path).resolve() if path else source
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            broken.append(link)
    assert broken == []


def test_every_setting_is_documented_with_its_default() -> None:
    documented = dict(SETTING.findall(page("config.md")))
    assert len(documented) > 70
    assert documented == dict(settings(Config))


def test_the_documented_headers_are_those_the_gateway_knows() -> None:
    documented = set(HEADER.findall(page("http.md")))
    assert documented == set(HEADER.findall(sources())) - {"x-gearshift-"}


def test_the_documented_series_are_those_the_gateway_exposes() -> None:
    exposed = set()
    for metric in vars(Metrics()).values():
        if isinstance(metric, MetricWrapperBase):
            described = next(iter(metric.describe()))
            exposed.add(described.name + ("_total" if described.type == "counter" else ""))
    assert set(SERIES.findall(page("operations.md"))) == exposed


def test_the_documented_error_codes_are_those_the_gateway_sends() -> None:
    found = set(re.findall(r"\bcode(?: = |=)\"([a-z_]+)\"", sources()))
    found |= set(re.findall(r"status, type, code = \d+, \"[a-z_]+\", \"([a-z_]+)\"", sources()))
    assert set(CODE.findall(page("http.md"))) == found | {"internal_error"}


def test_every_hint_is_documented() -> None:
    missing = [hint.name for hint in fields(Hints) if f"| `{hint.name}` |" not in page("http.md")]
    assert missing == []


def test_every_column_of_the_log_is_documented() -> None:
    named = set(re.findall(r"`(\w+)`", page("log.md")))
    rows = (DecisionRow, AttemptRecord, OutcomeRow, FeedbackRow)
    assert {column.name for row in rows for column in fields(row)} - named == set()
    assert {*KINDS, *STATUSES} - named == set()


COMMAND = re.compile(r"gearshift ((?:train )?[a-z_]+)((?: +(?:--?[a-z-]+|[^\s`|#\\-][^\s`|#]*))*)")


def test_every_documented_command_and_option_exists() -> None:
    unknown = []
    for source in [*PAGES, ROOT / "bench" / "README.md"]:
        for verb, rest in COMMAND.findall(source.read_text()):
            if (known := options_of(verb)) is None:
                unknown.append(f"{source.name}: gearshift {verb}")
                continue
            given = re.findall(r"(?<!\S)--?[a-z][a-z-]*", rest)
            unknown += [f"{source.name}: gearshift {verb} {option}" for option in given if option not in known]
    assert unknown == []


def test_every_policy_and_condition_is_documented() -> None:
    named = set(re.findall(r"`(\w+)`", page("policies.md")))
    assert {*registered_policies(), *CONDITION_NAMES} - named == set()
