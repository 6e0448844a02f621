"""Seconds over the length of a log, both on logarithmic scales: a straight line of slope 1 is linear time."""

from __future__ import annotations

from collections.abc import Sequence

from training.report.drawing import Picture, colour, figure, legend, look, png, series

Point = tuple[int, float, float]  # rounds, seconds of `train log`, seconds of `evaluate`


def drawn(points: Sequence[Point]) -> bytes:
    """A PNG; the grey line is what linear time would be from the longest log down."""
    rounds = [each[0] for each in points]
    with look():
        made, axes = figure(3.2)
        lines = [
            axes.plot(rounds, [each[place] for each in points], marker="o", label=name, **series(place - 1))[0]
            for place, name in ((1, "gearshift train log"), (2, "gearshift evaluate"))
        ]
        longest, seconds = rounds[-1], points[-1][1] + points[-1][2]
        linear = [seconds * n / longest for n in rounds]
        lines += axes.plot(rounds, linear, color=colour("rest"), linewidth=1.0, label="linear in both together")
        axes.set(xscale="log", yscale="log", xlabel="rounds in the log", ylabel="seconds")
        axes.grid(color=colour("grid"))
        legend(made, lines, columns=2)
        return png(Picture("log-scale", "", "", made))
