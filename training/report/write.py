"""Write a result as one HTML file that loads nothing, and each picture as PNG; the same input gives the same bytes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from training.report.drawing import COLOURS, Picture, height_in, look, png, svg
from training.report.origin import facts, origin_lines, skipped_pools
from training.report.pictures import pictures
from training.report.result import PoolResult, ReportError, pools
from training.report.summary import overall_sentences, summary_sentences
from training.report.tables import Table, glance_table, markdown, pool_tables, saving_table, versus_table
from training.report.words import counted

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class ReportFiles:
    """What was written."""

    html: Path
    pictures: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class _Drawn:
    caption: str
    alt: str
    svg: str
    order: int


@dataclass(frozen=True, slots=True)
class _Section:
    name: str
    facts: str
    sentences: list[str]
    columns: tuple[list[_Drawn], list[_Drawn]]
    tables: list[Table]


def read_result(path: Path) -> dict[str, Any]:
    """The result at ``path``, or ``result.json`` in it if that is a folder.

    Raises:
        ReportError: There is no such file, or it holds no JSON object.
    """
    file = path / "result.json" if path.is_dir() else path
    try:
        result = orjson.loads(file.read_bytes())
    except OSError as problem:
        raise ReportError(f"{file}: {problem.strerror}; give a run's folder or its result.json") from problem
    except orjson.JSONDecodeError as problem:
        raise ReportError(f"{file}: no JSON ({problem})") from problem
    if not isinstance(result, dict):
        raise ReportError(f"{file}: expected an object with pools, got {type(result).__name__}")
    return result


def write_report(result: Mapping[str, Any], folder: Path, *, progress: Progress | None = None) -> ReportFiles:
    """Write ``report.html`` and ``pictures/POOL-NAME.png`` into a folder, which is made if needed.

    Args:
        result: What ``gearshift benchmark --json`` prints.
        folder: Where to write; files of an earlier report are replaced.
        progress: Told (what, pools done, of).

    Raises:
        ReportError: The result is none, or of another format.
    """
    found = list(pools(result))
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    sections, files = [], []
    with look():
        for done, pool in enumerate(found, start=1):
            drawn = pictures(pool)
            files += [_write_png(picture, pool, folder) for picture in drawn]
            sections.append(_section(pool, drawn))
            if progress is not None:
                progress("drawing", done, len(found))
    html = folder / "report.html"
    html.write_text(_page(result, found, sections), encoding="utf-8")
    return ReportFiles(html, tuple(files))


def markdown_tables(result: Mapping[str, Any]) -> str:
    """The table of all pools, what it comes from, then saving and comparisons of each pool; lost cells are bold."""
    found = list(pools(result))
    parts = [markdown(glance_table(found)), *origin_lines(result)]
    if len(parts) > 1:
        parts[-1] += "\n"  # a list ends before the heading that follows
    for pool in found:
        parts.append(f"### {pool.name}\n")
        parts += [f"{table.note}\n\n{markdown(table)}" for table in (saving_table(pool), versus_table(pool))]
    return "\n".join(parts)


def _write_png(picture: Picture, pool: PoolResult, folder: Path) -> Path:
    file = folder / "pictures" / f"{_slug(pool.name)}-{picture.name}.png"
    file.write_bytes(png(picture))
    return file


def _section(pool: PoolResult, drawn: list[Picture]) -> _Section:
    return _Section(
        name=pool.name,
        facts=_pool_facts(pool),
        sentences=summary_sentences(pool.raw, pool=pool.name),
        columns=_columns(drawn, prefix=_slug(pool.name)),
        tables=pool_tables(pool),
    )


def _columns(drawn: list[Picture], *, prefix: str) -> tuple[list[_Drawn], list[_Drawn]]:
    """Two columns of about equal height; a narrow page puts them back into one by ``order``."""
    columns: tuple[list[_Drawn], list[_Drawn]] = ([], [])
    heights = [0.0, 0.0]
    for order, picture in enumerate(drawn):
        side = int(heights[1] < heights[0])
        heights[side] += height_in(picture) + 0.8  # caption and margins
        image = svg(picture, f"{prefix}-{picture.name}")
        columns[side].append(_Drawn(picture.caption, picture.alt, image, order))
    return columns


def _pool_facts(pool: PoolResult) -> str:
    prompts = {"test prompt": pool.raw.get("n_test"), "training prompt": pool.raw.get("n_train")}
    counts = [counted(round(n), noun) for noun, n in prompts.items() if n]
    domains = pool.raw.get("domains") or {}
    return " · ".join([*counts, counted(len(pool.arms), "arm"), *[counted(len(domains), "domain")] * bool(domains)])


def _page(result: Mapping[str, Any], found: list[PoolResult], sections: list[_Section]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("training.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"slug": _slug, "unbroken": _unbroken}
    return environment.get_template("page.html.j2").render(
        facts=facts(result),
        skipped=skipped_pools(result),
        overall=overall_sentences(found),
        glance=glance_table(found),
        sections=sections,
        light={role: pair[0] for role, pair in COLOURS.items()},
        dark={role: pair[1] for role, pair in COLOURS.items()},
    )


def _unbroken(text: str) -> str:
    """No line break between a number and its unit."""
    return text.replace(" %", "\u00a0%").replace(" µs", "\u00a0µs")


def _slug(text: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in text.lower())
