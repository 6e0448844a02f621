"""The picture of what a log teaches: saving at equal quality by its length and exploration."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.report.drawing import colour, look


def draw_curve(found: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Write a PNG of ``save_97`` over ``rounds``, a line per ``explore``; no point where 97 % is not reached."""
    from matplotlib.figure import Figure

    with look():
        figure = Figure(figsize=(5.6, 3.4), layout="constrained")
        axes: Any = figure.add_subplot()
        for place, explore in enumerate(sorted({each["explore"] for each in found})):
            rows = [each for each in found if each["explore"] == explore and each["save_97"] is not None]
            axes.plot(
                [each["rounds"] for each in rows],
                [each["save_97"] for each in rows],
                "o-",
                color=colour(f"series-{place + 1}"),
                label=f"exploration {explore:g}",
            )
        rounds = sorted({each["rounds"] for each in found})
        axes.set_xscale("log")
        axes.set_xticks(rounds, [f"{each:,}" for each in rounds])
        axes.minorticks_off()
        axes.set_xlabel("rounds in the log, one answer each")
        axes.set_ylabel("Save@97, %")
        axes.legend()
        figure.savefig(file, dpi=160)
