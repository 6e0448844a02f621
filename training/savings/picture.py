"""The picture of savings: how they added up over time, with their band, beside what predictions alone would say."""

from datetime import UTC, datetime
from typing import Any

import numpy as np

from training.ope.rounds import Reals
from training.report.drawing import DASHES, Picture, colour, figure
from training.savings.task import Savings

_POINTS = 400
_Z = 1.959963984540054  # of a 95 % normal interval
_LEAST = 30  # rounds before which a standard deviation says nothing


def cumulative(savings: Savings) -> Picture:
    """USD saved from the first request on; the band is of 95 %, for each moment by itself."""
    made, axes = figure(3.1)
    lines = [_model(axes, savings)]
    if savings.whole.saved_usd is not None:
        lines.append(_estimate(axes, savings))
    axes.axhline(0.0, color=colour("muted"), linewidth=0.8, zorder=2)
    axes.grid(axis="y")
    axes.set_ylabel("USD saved")
    axes.set_title(f"against {_short(savings.baseline.name)}")
    made.autofmt_xdate(rotation=0, ha="center")
    _dates(axes)
    handles = [line for line in lines if line is not None]
    if handles:
        axes.legend(handles=handles, loc="upper left")
    told = savings.whole
    alt = f"No estimate: {told.refused}." if told.saved_usd is None else (
        f"At the end {told.saved_usd.value:.6g} USD, from {told.saved_usd.low:.6g} to {told.saved_usd.high:.6g}."
    )  # fmt: skip
    caption = "Savings as they added up, net of the router's own costs; the bar at the end is the table's interval."
    return Picture("savings", caption, alt, made)


def _estimate(axes: Any, savings: Savings) -> Any:
    """The doubly robust sum with its band, and the interval of the whole at its end."""
    rounds, whole = savings.rounds, savings.whole
    order = np.argsort(rounds.at, kind="stable")
    gains = (rounds.baseline - rounds.paid - whole.own_usd / len(rounds))[order]
    count = np.arange(1, len(gains) + 1)
    total = gains.cumsum()
    spread = np.sqrt(np.maximum((gains**2).cumsum() / count - (total / count) ** 2, 0.0) * count)
    shown = _thinned(len(gains))
    at = _when(rounds.at[order][shown])
    role = colour("series-1")
    banded = shown >= min(_LEAST, len(gains) - 1)
    low, high = (total + sign * _Z * spread for sign in (-1.0, 1.0))
    band = (at[banded], low[shown][banded], high[shown][banded])
    axes.fill_between(*band, color=role, alpha=0.18, linewidth=0.0, zorder=3)
    label = "estimated (doubly robust), 95 % band"
    (line,) = axes.plot(at, total[shown], color=role, linewidth=2.0, zorder=5, label=label)
    assert whole.saved_usd is not None
    found = whole.saved_usd
    axes.errorbar(
        [at[-1]], [found.value], [[found.value - found.low], [found.high - found.value]],
        fmt="o", color=role, markersize=4, capsize=3, zorder=6,
    )  # fmt: skip
    return line


def _model(axes: Any, savings: Savings) -> Any:
    """What predictions say, None where there are none."""
    predicted, model = savings.paid.predicted, savings.whole.modelled
    if predicted is None or model is None:
        return None
    order = np.argsort(predicted.at, kind="stable")
    gains = model.scale * predicted.baseline - predicted.paid
    known = np.isfinite(predicted.baseline) & np.isfinite(predicted.taken)
    total = np.where(known, gains - savings.whole.own_usd / max(int(known.sum()), 1), 0.0)[order].cumsum()
    shown = _thinned(len(total))
    style = {"color": colour("series-2"), "linewidth": 1.4, "linestyle": DASHES[1], "zorder": 4}
    label = "by predictions alone: a model, no interval"
    (line,) = axes.plot(_when(predicted.at[order][shown]), total[shown], label=label, **style)
    return line


def _thinned(n: int) -> Any:
    return np.unique(np.linspace(0, n - 1, min(n, _POINTS)).astype(np.int64))


def _when(at: Reals) -> Any:
    return np.array([datetime.fromtimestamp(each, UTC).replace(tzinfo=None) for each in at.tolist()])


def _dates(axes: Any) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(maxticks=7)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def _short(name: str) -> str:
    return name if len(name) <= 60 else name[:58] + "…"
