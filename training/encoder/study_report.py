"""The study's own page: a table for each pool and router, and Save@97 against microseconds per query as a picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

PAGE, PICTURE = "encoders.md", "encoders.png"
_METRIC = "save_97"
_MARKERS = "osD^vP*X"
_ABOUT = (
    "each encoder is fitted on the fold's training prompts alone, the routers on top are the same. Differences are to "
    "`{reference}` on the same queries, with paired 95 % intervals. R² is the share of the variance of scores "
    "explained: of all, and of the differences between arms."
)


def write_study(result: Mapping[str, Any], out: Path) -> list[Path]:
    """Write the page and the picture; the same result gives the same bytes."""
    out.mkdir(parents=True, exist_ok=True)
    (out / PAGE).write_text(page(result), encoding="utf-8")
    (out / PICTURE).write_bytes(picture(result))
    return [out / PAGE, out / PICTURE]


def page(result: Mapping[str, Any]) -> str:
    """The whole page as Markdown."""
    lines = [
        "# Encoders compared on real routing",
        "",
        f"{result['split']}, {_seeds(result)}; {_ABOUT.format(reference=result['reference'])}",
        "",
        f"![Save@97 against microseconds per query]({PICTURE})",
    ]
    for pool, facts in result["pools"].items():
        for router, rows in facts["routers"].items():
            lines += ["", f"## {pool}, router `{router}`", "", *table(facts, rows, reference=result["reference"])]
        lines += _notes(facts)
    return "\n".join(lines) + "\n"


def _seeds(result: Mapping[str, Any]) -> str:
    first, n_seeds = result["seed"], result["seeds"]
    return f"seed {first}" if n_seeds == 1 else f"the mean of seeds {first} to {first + n_seeds - 1}"


def table(facts: Mapping[str, Any], rows: Mapping[str, Any], *, reference: str) -> list[str]:
    """Rows of a Markdown table, one for each encoder."""
    heading = (
        "encoder", "dim", "fit, s", "30 words, µs", "400 words, µs", "Save@95 / 97 / 99 / 100, %",
        f"Save@97 − `{reference}`", "R², %", "R² of differences, %", "queries",
    )  # fmt: skip
    lines = ["| " + " | ".join(heading) + " |", "|" + "---|" * len(heading)]
    for name, row in rows.items():
        about = facts["encoders"][name]
        saves = " / ".join(_number(row["save"][level], 1) for level in ("95", "97", "99", "100"))
        cells = (
            f"`{name}`" + ("*" if about["note"] else ""), str(about["dim"]), _number(about["fit_s"], 1),
            *(_number(about["query_us"][words], 0) for words in ("30", "400")), saves,
            _difference(row), _number(row["explained_pct"], 1), _number(row["contrast_explained_pct"], 1),
            f"{row['n_test']:,}",
        )  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _notes(facts: Mapping[str, Any]) -> list[str]:
    notes = [f"\\* `{name}`: {about['note']}." for name, about in facts["encoders"].items() if about["note"]]
    return ["", *notes] if notes else []


def _difference(row: Mapping[str, Any]) -> str:
    versus = row.get("versus")
    if versus is None:
        return "–"
    value, low, high = versus[_METRIC]
    return f"{_number(value, 1, sign=True)} [{_number(low, 1, sign=True)}, {_number(high, 1, sign=True)}]"


def _number(value: float | None, digits: int, *, sign: bool = False) -> str:
    if value is None:
        return "n/a"
    return f"{value:{'+' if sign else ''},.{digits}f}"


def picture(result: Mapping[str, Any]) -> bytes:
    """PNG: a panel for each pool and router; dots with 95 % intervals over the time of a 30-word query."""
    from io import BytesIO

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [
        (pool, router, facts) for pool, facts in result["pools"].items() for router in facts["routers"]
    ]  # fmt: skip
    figure = Figure(figsize=(6.4, 3.4 * max(len(panels), 1)), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for index, (pool, router, facts) in enumerate(panels):
        axes = figure.add_subplot(len(panels), 1, index + 1)
        axes.set_title(f"{pool}, router {router}", fontsize=10, loc="left")
        _draw(axes, facts, facts["routers"][router])
    file = BytesIO()
    canvas.print_png(file, metadata={"Software": None})
    return file.getvalue()


def _draw(axes: Any, facts: Mapping[str, Any], rows: Mapping[str, Any]) -> None:
    axes.set_xscale("log")
    axes.grid(visible=True, color="#e1e5e9", linewidth=0.6)
    axes.set_xlabel("microseconds per 30-word query, one thread")
    axes.set_ylabel("Save@97, %")
    for index, (name, row) in enumerate(rows.items()):
        value, (low, high) = row["save"]["97"], row["ci"][_METRIC] or (None, None)
        if value is None:
            continue
        at, style = max(facts["encoders"][name]["query_us"]["30"], 0.1), {"color": f"C{index % 10}"}
        if low is not None:
            axes.plot([at, at], [low, high], linewidth=1.2, **style)
        axes.plot([at], [value], marker=_MARKERS[index % len(_MARKERS)], linestyle="", label=name, **style)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7.5, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.margins(x=0.15)
