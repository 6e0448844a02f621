"""How much of a budget is spent as its window goes by, one panel for each stream."""

from __future__ import annotations

from typing import Any

from bench.pacing.play import CHEAPEST, OURS, PARETO, PARETO_TOLD
from training.report.drawing import Picture, colour, figure, legend, look, png, series


def drawn(paths: dict[str, Any]) -> bytes:
    """A PNG of `paths`: by kind of stream the requests' moments, and by player the share spent after each."""
    with look():
        made, axes = figure(4.6, rows=2, columns=2, sharex=True, sharey=True)
        lines: list[Any] = []
        for panel, (kind, (at, spent)) in zip(axes.flat, paths.items(), strict=True):
            shown = (OURS, CHEAPEST, PARETO, PARETO_TOLD)
            lines = [panel.plot(at, spent[name], label=name, **series(i))[0] for i, name in enumerate(shown)]
            panel.set_title(kind)
            panel.axhline(1.0, color=colour("rest"), linewidth=0.8)
            panel.grid(color=colour("grid"))
        for panel in axes[1]:
            panel.set_xlabel("share of the window")
        for panel in axes[:, 0]:
            panel.set_ylabel("share of the budget")
        legend(made, lines, columns=2)
        return png(Picture("pacing", "", "", made))
