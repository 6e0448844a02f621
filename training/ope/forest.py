"""The forest plot of an evaluation: every estimator of every policy with its interval, beside what the log earned."""

from typing import Any

from training.ope.estimators import ESTIMATORS
from training.ope.evaluate import Evaluation
from training.report.drawing import WIDTH_IN, Picture, colour

_ROW_IN, _HEAD_IN = 0.19, 0.95
_TITLES = {"quality": "quality", "usd": "USD per request", "seconds": "seconds", "utility": "utility"}


def forest(evaluation: Evaluation, measure: str = "utility") -> Picture:
    """Estimates of one measure; refused policies are named without a bar."""
    from matplotlib.figure import Figure

    rows = _rows(evaluation, measure)
    figure = Figure(figsize=(WIDTH_IN * 1.5, _HEAD_IN + _ROW_IN * len(rows)), layout="constrained")
    axes: Any = figure.add_subplot()
    logged = evaluation.logging.get(measure)
    if logged is not None:
        axes.axvspan(logged.low, logged.high, color=colour("grid"), zorder=1)
        axes.axvline(logged.value, color=colour("muted"), linewidth=1.0, zorder=2)
    for place, (label, estimator, found) in enumerate(reversed(rows)):
        if found is not None:
            strong = estimator == "dr"
            role = colour("series-1" if strong else "rest")
            axes.plot([found.low, found.high], [place, place], color=role, linewidth=2.6 if strong else 1.6, zorder=3)
            axes.plot([found.value], [place], "o", color=role, markersize=5 if strong else 3.5, zorder=4)
        axes.text(-0.01, place, label, transform=axes.get_yaxis_transform(), ha="right", va="center", fontsize=8)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.set_yticks([])
    axes.set_xlabel(_TITLES[measure])
    axes.set_title("grey: what the log earned; blue: doubly robust; 95 % intervals", fontsize=8, color=colour("muted"))
    alt = "; ".join(f"{label}: {'refused' if found is None else f'{found.value:.4f}'}" for label, _, found in rows)
    return Picture(f"forest-{measure}", f"Off-policy estimates of {_TITLES[measure]}.", alt, figure)


def _rows(evaluation: Evaluation, measure: str) -> list[tuple[str, str, Any]]:
    rows: list[tuple[str, str, Any]] = []
    for name, verdict in evaluation.policies.items():
        found = verdict.estimates.get(measure)
        if found is None:
            rows.append((f"{name} (refused)" if verdict.refused else f"{name} (unknown)", "", None))
            continue
        rows += [(f"{name}  {estimator}", estimator, found[estimator]) for estimator in ESTIMATORS]
    return rows
