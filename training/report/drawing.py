"""One look for every picture: colours by role, so that a page can swap them for the dark, and bytes that repeat.

Only here and in the pictures beside it is matplotlib imported; no pyplot, hence no state between figures.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

# Role -> (on white, on black). The series are told apart by lightness and dashes too, not by hue alone.
COLOURS: dict[str, tuple[str, str]] = {
    "paper": ("#ffffff", "#0d1117"),
    "ink": ("#1f2328", "#e6edf3"),
    "muted": ("#59636e", "#9aa4af"),
    "grid": ("#e1e5e9", "#2d333b"),
    "rest": ("#b9c1c9", "#545d68"),
    "series-1": ("#0065a8", "#58b4ff"),
    "series-2": ("#c44e00", "#ff9a5c"),
    "series-3": ("#00795b", "#35c99e"),
    "series-4": ("#9b3c85", "#e493cf"),
    "series-5": ("#8a6800", "#e0b83b"),
    "series-6": ("#565b96", "#acb0f0"),
}
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)), (0, (3, 2)), (0, (1, 2)))
MARKERS = "osD^vP"
MAIN_LINES = 5  # besides the mix of single arms
WIDTH_IN = 5.0

_SETTINGS = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9.0,
    "svg.fonttype": "none",  # text stays text: searchable, and scaled by the reader
    "svg.hashsalt": "gearshift",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "axes.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "path.simplify": True,
}


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawn figure with what it shows in words.

    Attributes:
        name: Part of its file name.
        alt: What a reader who cannot see it needs to know.
    """

    name: str
    caption: str
    alt: str
    figure: Any


def colour(role: str) -> str:
    """The colour on white; pages replace it by a variable of the same role."""
    return COLOURS[role][0]


def series(index: int) -> dict[str, Any]:
    """Colour, dash and width of the ``index``-th line; the first stands out."""
    style = {"color": colour(f"series-{index % 6 + 1}"), "linestyle": DASHES[index % len(DASHES)]}
    return style | {"linewidth": 2.4 if index == 0 else 1.5, "zorder": 6 if index == 0 else 4}


@contextmanager
def look() -> Iterator[None]:
    """Settings under which figures are made and written."""
    import matplotlib as mpl

    colours = {
        "text.color": colour("ink"),
        "axes.labelcolor": colour("ink"),
        "axes.edgecolor": colour("muted"),
        "xtick.color": colour("muted"),
        "ytick.color": colour("muted"),
        "xtick.labelcolor": colour("ink"),
        "ytick.labelcolor": colour("ink"),
        "grid.color": colour("grid"),
    }
    with mpl.rc_context(_SETTINGS | colours):
        yield


def figure(height_in: float, *, rows: int = 1, columns: int = 1, **shared: Any) -> tuple[Any, Any]:
    """A figure of the common width and its axes (an array if there are several)."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    made = Figure(figsize=(WIDTH_IN, height_in), layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06))
    return made, made.subplots(rows, columns, **shared)


def legend(made: Any, handles: Sequence[Any], *, columns: int) -> None:
    """A legend below the axes, where it cannot cover anything."""
    made.legend(handles=list(handles), loc="outside lower left", ncols=columns, handlelength=2.4, columnspacing=1.4)


def height_in(picture: Picture) -> float:
    """For placing pictures side by side."""
    return float(picture.figure.get_figheight())


def png(picture: Picture) -> bytes:
    """The picture on white, without date or version."""
    target = BytesIO()
    picture.figure.savefig(target, format="png", dpi=160, facecolor="white", metadata={"Software": None})
    return target.getvalue()


def svg(picture: Picture, prefix: str) -> str:
    """Inline SVG: colours as CSS variables, ids that cannot meet those of another picture of the page."""
    target = BytesIO()
    metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
    picture.figure.savefig(target, format="svg", transparent=True, metadata=metadata)
    text = target.getvalue().decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = text.replace("url(#", f"url(#{prefix}-").replace('href="#', f'href="#{prefix}-')
    for role, (on_white, _) in COLOURS.items():
        text = text.replace(on_white, f"var(--{role})")
    text = re.sub(r"font: ([\d.]+)px 'DejaVu Sans'", r"font: \1px var(--font)", text)
    text = re.sub(r'(<svg [^>]*?)width="[\d.]+pt" height="[\d.]+pt"', r"\1", text, count=1, flags=re.DOTALL)
    return text.replace("<svg ", '<svg role="img" focusable="false" ', 1)
