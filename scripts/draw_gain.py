"""Draws cost against accuracy from a replay's result: `python scripts/draw_gain.py RESULT.json PICTURE.svg`."""

import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 860, 520, 64, 24, 64, 56
X_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
LETTER, LINE = 6.6, 14  # width of an average letter and height of a line, in pixels
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#222}.title{font-size:15px;font-weight:600}.tick{fill:#666}"
    ".grid{stroke:#e5e7eb}.hull{fill:none;stroke:#9ca3af;stroke-width:2;stroke-dasharray:6 4}.arm{fill:#6b7280}"
    ".chance{fill:#fff;stroke:#6b7280;stroke-width:1.5}.oracle{fill:#b45309}.told{fill:#fff;stroke:#1d4ed8;stroke-width:1.5}"
    ".ours{fill:#0f766e}.whisker{stroke:#0f766e;stroke-width:1.5}"
    ".strong{font-weight:600;fill:#0f766e}"
)


@dataclass(frozen=True)
class Point:
    """A way to choose: cost in USD per 1,000 queries, accuracy in percent, its 95 % interval."""

    name: str
    kind: str
    usd: float
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class Scale:
    """From cost (logarithmic) and accuracy to pixels."""

    usd: tuple[float, float]
    accuracy: tuple[float, float]

    def x(self, usd: float) -> float:
        low, high = (math.log(edge) for edge in self.usd)
        return LEFT + (math.log(usd) - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(self, accuracy: float) -> float:
        low, high = self.accuracy
        return HEIGHT - BOTTOM - (accuracy - low) / (high - low) * (HEIGHT - TOP - BOTTOM)


def points_of(report: dict[str, Any]) -> list[Point]:
    """Routers and baselines of a report."""
    routers = [
        _point(row["name"], "ours" if row["name"].startswith("linear") else "told", row["gain"])
        for row in report["routers"]
    ]
    kinds = {"uniform random": "chance", "oracle": "oracle"}
    arms = [
        _point(each["name"].replace("/instant", ""), kinds.get(each["name"], "arm"), each)
        for each in report["baselines"]
    ]
    return arms + routers


def _point(name: str, kind: str, row: dict[str, Any]) -> Point:
    accuracy = row["accuracy"]
    return Point(name, kind, 1000 * row["usd"], 100 * accuracy["value"], 100 * accuracy["low"], 100 * accuracy["high"])


def hull(points: Sequence[Point]) -> list[Point]:
    """Corners of what a coin toss between single arms reaches, by rising cost."""
    corners: list[Point] = []
    for point in sorted(points, key=lambda each: (each.usd, -each.accuracy)):
        if corners and point.accuracy <= corners[-1].accuracy:
            continue
        while len(corners) > 1 and _slope(corners[-2], corners[-1]) <= _slope(corners[-2], point):
            corners.pop()
        corners.append(point)
    return corners


def _slope(left: Point, right: Point) -> float:
    return (right.accuracy - left.accuracy) / (right.usd - left.usd)


def hull_line(corners: Sequence[Point], scale: Scale) -> list[tuple[float, float]]:
    """The hull in pixels: straight in USD, so bent on a logarithmic scale."""
    return [
        (
            scale.x(left.usd + (right.usd - left.usd) * part / 40),
            scale.y(left.accuracy + (right.accuracy - left.accuracy) * part / 40),
        )
        for left, right in pairwise(corners)
        for part in range(41)
    ]


def mark(point: Point, scale: Scale) -> str:
    """A point, with its interval where it is ours."""
    x, y = scale.x(point.usd), scale.y(point.accuracy)
    if point.kind == "ours":
        low, high = scale.y(point.low), scale.y(point.high)
        cap = f"M{x - 4:.1f} {low:.1f}h8M{x - 4:.1f} {high:.1f}h8"
        dot = f'<circle class="ours" cx="{x:.1f}" cy="{y:.1f}" r="5.5"/>'
        return f'<path class="whisker" d="M{x:.1f} {low:.1f}V{high:.1f}{cap}"/>{dot}'
    if point.kind == "oracle":
        return f'<path class="oracle" d="M{x:.1f} {y - 7:.1f}l7 7l-7 7l-7 -7z"/>'
    return f'<circle class="{point.kind}" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'


Box = tuple[float, float, float, float]  # left, top, right, bottom


def labels(points: Sequence[Point], scale: Scale, *, taken: list[Box]) -> Iterator[str]:
    """Each point's name beside it, at the first place that is free."""
    for point in sorted(points, key=lambda each: each.kind != "ours"):
        x, y, width = scale.x(point.usd), scale.y(point.accuracy), LETTER * len(point.name)
        places = [(x + dx - share * width, y + dy) for dx, dy, share in
                  ((10, 4, 0), (-10, 4, 1), (0, -11, 0.5), (0, 30, 0.5), (10, 18, 0), (-10, 18, 1), (10, -9, 0),
                   (-10, -9, 1), (0, -25, 0.5), (0, 38, 0.5))]  # fmt: skip
        free = [place for place in places if _is_free(_box(place, width), taken)]
        left, base = (free or places)[0]
        taken.append(_box((left, base), width))
        strong = " strong" if point.kind == "ours" else ""
        yield f'<text class="name{strong}" x="{left:.1f}" y="{base:.1f}">{escape(point.name)}</text>'


def _box(place: tuple[float, float], width: float) -> Box:
    return place[0], place[1] - LINE + 3, place[0] + width, place[1] + 3


def _is_free(box: Box, taken: Sequence[Box]) -> bool:
    inside = box[0] >= LEFT and box[2] <= WIDTH - 4
    return inside and not any(
        box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3] for other in taken
    )


def _around(point: Point, scale: Scale) -> Box:
    x, y = scale.x(point.usd), scale.y(point.accuracy)
    if point.kind == "ours":
        return x - 6, scale.y(point.high), x + 6, scale.y(point.low)
    return x - 6, y - 6, x + 6, y + 6


def axes(scale: Scale) -> str:
    """Grid, ticks and what they mean."""
    out, bottom = "", HEIGHT - BOTTOM
    for usd in X_TICKS:
        if scale.usd[0] <= usd <= scale.usd[1]:
            x = scale.x(usd)
            out += f'<path class="grid" d="M{x:.1f} {TOP}V{bottom}"/>'
            out += f'<text class="tick" x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{usd:g}</text>'
    for accuracy in range(int(scale.accuracy[0]), int(scale.accuracy[1]) + 1, 10):
        y = scale.y(accuracy)
        out += f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
        out += f'<text class="tick" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{accuracy} %</text>'
    middle = (LEFT + WIDTH - RIGHT) / 2
    return out + f'<text x="{middle}" y="{HEIGHT - 14}" text-anchor="middle">USD per 1,000 queries (log scale)</text>'


def svg(result: dict[str, Any]) -> str:
    """The whole picture."""
    report = result["report"]
    points = points_of(report)
    scale = Scale(
        usd=(min(point.usd for point in points) / 1.5, max(point.usd for point in points) * 1.6),
        accuracy=(
            10 * (min(point.low for point in points) // 10),
            10 * math.ceil(max(point.high for point in points) / 10),
        ),
    )
    line = hull_line(hull([point for point in points if point.kind == "arm"]), scale)
    taken = [_around(point, scale) for point in points] + [(x - 3, y - 3, x + 3, y + 3) for x, y in line]
    named = [point for point in points if point.kind != "told"]  # the line under the title says what those are
    names = labels(named, scale, taken=taken)
    title = f"{report['pool']}: accuracy against cost, {report['n_queries']:,} prompts replayed live"
    below = (
        "Dashed: the best coin toss between single models. Bars: 95 % interval. "
        "Open blue: told each prompt's domain, same two prices."
    )
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in line)
    marks = "".join(mark(point, scale) for point in points)
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
        f'<style>{STYLE}</style><rect width="100%" height="100%" fill="#fff"/>'
        f'<text class="title" x="16" y="26">{escape(title)}</text>'
        f'<text class="tick" x="16" y="46">{escape(below)}</text>'
        f'{axes(scale)}<path class="hull" d="{path}"/>{marks}{"".join(names)}</svg>\n'
    )


def main() -> None:
    """Read the result, write the picture."""
    if len(sys.argv) != 3:
        sys.exit("usage: python scripts/draw_gain.py RESULT.json PICTURE.svg")
    Path(sys.argv[2]).write_text(svg(json.loads(Path(sys.argv[1]).read_text())), encoding="utf-8")


if __name__ == "__main__":
    main()
