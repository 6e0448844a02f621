"""A bar picture of CPU milliseconds per request on a logarithmic scale, as SVG written by hand."""

from __future__ import annotations

import math
from xml.sax.saxutils import escape

from bench.report import number
from bench.results import Results, Series
from bench.stats import Spread

_LEFT, _WIDTH, _BAR, _GAP, _TOP = 330, 560, 18, 8, 46


def _x(value: float, low: float, high: float) -> float:
    share = (math.log10(value) - math.log10(low)) / (math.log10(high) - math.log10(low))
    return _LEFT + share * _WIDTH


def _bar(series: Series, figure: Spread, *, y: float, low: float, high: float) -> str:
    end = _x(figure.median, low, high)
    middle = y + _BAR / 2
    kind = "ours" if series.is_ours else "peer"
    whisker = f"M{_x(figure.low, low, high):.1f} {middle}H{_x(figure.high, low, high):.1f}"
    return (
        f'<text class="name" x="{_LEFT - 10}" y="{middle + 4}">{escape(series.label)}</text>'
        f'<rect class="{kind}" x="{_LEFT}" y="{y}" width="{end - _LEFT:.1f}" height="{_BAR}"/>'
        f'<path class="whisker" d="{whisker}"/>'
        f'<text x="{max(end, _x(figure.high, low, high)) + 6:.1f}" y="{middle + 4}">{number(figure.median)}</text>'
    )


def _scale(low: float, high: float, bottom: float) -> str:
    out, power = "", low
    while power <= high * 1.0001:
        x = _x(power, low, high)
        out += f'<path class="grid" d="M{x:.1f} {_TOP - 6}V{bottom}"/>'
        out += f'<text class="tick" x="{x:.1f}" y="{bottom + 14}">{power:g}</text>'
        power *= 10
    return out


def svg(results: Results) -> str:
    """The picture; dearest at the bottom, whiskers from the cheapest to the dearest round."""
    bars = sorted(((f, s) for s in results.series if (f := s.spread("cpu_ms"))), key=lambda pair: pair[0].median)
    bars = [(f, s) for f, s in bars if f.low > 0]
    if not bars:
        return '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>'
    low = 10.0 ** math.floor(math.log10(min(f.low for f, _ in bars)) - 0.01)
    high = 10.0 ** math.ceil(math.log10(max(f.high for f, _ in bars)))
    bottom = _TOP + len(bars) * (_BAR + _GAP)
    drawn = "".join(_bar(s, f, y=_TOP + i * (_BAR + _GAP), low=low, high=high) for i, (f, s) in enumerate(bars))
    style = (
        "text{font:12px system-ui,sans-serif;fill:#222}.title{font-size:15px;font-weight:600}.name{text-anchor:end}"
        ".tick{text-anchor:middle;fill:#666}.grid{stroke:#ddd}.whisker{stroke:#222}.ours{fill:#0f766e}.peer{fill:#9ca3af}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + 70}" height="{bottom + 24}" role="img">'
        f'<style>{style}</style><rect width="100%" height="100%" fill="#fff"/>'
        f'<text class="title" x="10" y="22">CPU ms per request (log scale, one core; lower is better)</text>'
        f"{_scale(low, high, bottom)}{drawn}</svg>\n"
    )
