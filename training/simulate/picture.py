"""Cumulative regret of every player, with the span of the orders, as one picture."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from training.report.drawing import Picture, colour, figure, legend, series
from training.simulate.play import FULL

_SHOWN_SPAN = 2  # players whose orders' span is drawn
_N_COLOURS = 6


def regret_picture(result: Mapping[str, Any]) -> Picture:
    """From a result of ``training.simulate.task``: mean over orders, the span of the first few players shaded."""
    made, axes = figure(4.3)
    names = list(result["policies"])
    handles = []
    for index, name in enumerate(names):
        curves = [np.array(order["policies"][name]["curve"]) for order in result["orders"]]
        at, values = curves[0][:, 0], np.stack([curve[:, 1] for curve in curves])
        style = _style(name, index)
        (line,) = axes.plot(at, values.mean(axis=0), label=name.replace("_", " "), **style)
        handles.append(line)
        if index < _SHOWN_SPAN and len(curves) > 1:
            axes.fill_between(at, values.min(axis=0), values.max(axis=0), color=style["color"], alpha=0.12, linewidth=0)
    axes.axhline(0, color=colour("muted"), linewidth=0.8)
    for share in _changes(result["scenario"]):
        axes.axvline(share * result["orders"][0]["n"], color=colour("ink"), linewidth=0.9, linestyle=(0, (4, 3)))
    axes.set(xlabel="requests", ylabel="regret against the best fixed arm")
    axes.grid(visible=True)
    axes.margins(x=0)
    legend(made, handles, columns=3)
    ends = {name: np.mean([order["policies"][name]["regret"] for order in result["orders"]]) for name in names}
    said = "; ".join(f"{name} {end:.0f}" for name, end in ends.items())
    alt = f"Cumulative regret against the best fixed arm in hindsight over the stream. At its end: {said}."
    return Picture(
        "regret", f"Regret, scenario {result['scenario']['name']}, {len(result['orders'])} orders", alt, made
    )


def _style(name: str, index: int) -> dict[str, Any]:
    if name == FULL:
        return {"color": colour("ink"), "linestyle": (0, (1, 1)), "linewidth": 1.5}
    return series(index) if index < _N_COLOURS else series(index) | {"color": colour("muted")}


def _changes(scenario: Mapping[str, Any]) -> Sequence[float]:
    times = (scenario[name] for name in ("breaks_at", "price_at", "out_from", "out_until", "joins_at"))
    return sorted({float(time) for time in times if 0.0 < time < 1.0})
