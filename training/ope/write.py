"""Writes an evaluation as a folder: JSON, one page that loads nothing from elsewhere, and the forest plots as PNG."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from training.ope.evaluate import Evaluation
from training.ope.forest import forest
from training.ope.groups import Group
from training.ope.show import lines_of
from training.report.drawing import COLOURS, Picture, look, png, svg


@dataclass(frozen=True, slots=True)
class PageTable:
    """A table of a page, its cells as they are shown."""

    title: str
    headers: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture of a page."""

    svg: str
    caption: str


def write_picture(picture: Picture, folder: Path) -> Drawn:
    """Write it as PNG beside the page, and return it for the page; under ``look()``."""
    (folder / f"{picture.name}.png").write_bytes(png(picture))
    return Drawn(svg(picture, picture.name), f"{picture.caption} {picture.alt}")


def write_page(
    place: Path, title: str, *, lines: Sequence[str], tables: Sequence[PageTable], pictures: Sequence[Drawn]
) -> Path:
    """Write one page that loads nothing from elsewhere; returns its place."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("training.ope", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("page.html.j2").render(
        title=title,
        lines=lines,
        tables=tables,
        pictures=pictures,
        light={role: pair[0] for role, pair in COLOURS.items()},
        dark={role: pair[1] for role, pair in COLOURS.items()},
    )
    place.write_text(page, encoding="utf-8")
    return place


def as_json(evaluation: Evaluation) -> bytes:
    """As ``gearshift evaluate --json`` prints it; what is infinite is null."""
    return orjson.dumps(evaluation.plain(), option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY)


def write_evaluation(evaluation: Evaluation, folder: Path) -> Path:
    """Write ``evaluation.json``, ``evaluation.html`` and ``forest-MEASURE.png``; returns the page."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "evaluation.json").write_bytes(as_json(evaluation) + b"\n")
    with look():
        drawn = [write_picture(forest(evaluation, measure), folder) for measure in evaluation.logging]
    return write_page(
        folder / "evaluation.html",
        "Off-policy evaluation",
        lines=lines_of(evaluation),
        tables=_tables(evaluation),
        pictures=drawn,
    )


def _tables(evaluation: Evaluation) -> list[PageTable]:
    tables = []
    for name, verdict in evaluation.policies.items():
        rows = [
            (measure, estimator, _number(found.value), _number(found.low), _number(found.high), _range(found.bernstein))
            for measure, estimators in verdict.estimates.items()
            for estimator, found in estimators.items()
        ]
        if rows:
            heads = ("measure", "estimator", "value", "low", "high", "empirical Bernstein")
            tables.append(PageTable(name, heads, rows))
        for kind, groups in (("tenant", verdict.by_tenant), ("cluster", verdict.by_cluster)):
            if groups:
                tables.append(_group_table(f"{name}, by {kind}", kind, groups))
    return tables


def _group_table(title: str, kind: str, groups: dict[str, Group]) -> PageTable:
    rows = []
    for label, group in groups.items():
        found = group.estimates.get("utility")
        told = ("refused", "", "") if found is None else (_number(found.value), _number(found.low), _number(found.high))
        rows.append((label, f"{group.support.n_rounds:,}", f"{group.support.effective:,.0f}", *told))
    return PageTable(title, (kind, "rounds", "ESS", "utility", "low", "high"), rows)


def _number(value: float) -> str:
    return f"{value:.4g}"


def _range(bounds: tuple[float, float] | None) -> str:
    return "" if bounds is None else f"[{bounds[0]:.3f}, {bounds[1]:.3f}]"
