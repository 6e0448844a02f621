"""A collection in numbers: accuracy and USD of each arm with 95 % intervals, and what is still missing."""

import math
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from training.collect.journal import Past
from training.collect.prompts import Task
from training.collect.run import Ending

Z95 = 1.959964


@dataclass(frozen=True, slots=True)
class ArmLine:
    """One arm.

    Attributes:
        answered / missing: Cells with and without an answer.
        n: Prompts behind the figures: those that every arm answered with a score, so that arms are comparable.
        accuracy / usd: Means over them, None where n is 0 or a cost is unknown; with (low, high).
        errors: Failed cells by status.
    """

    arm: str
    answered: int
    missing: int
    n: int
    accuracy: float | None
    accuracy_ci: tuple[float, float] | None
    usd: float | None
    usd_ci: tuple[float, float] | None
    errors: dict[str, int]


@dataclass(frozen=True, slots=True)
class Summary:
    """The folder after a run; ``complete`` counts prompts that every arm answered with a score."""

    prompts: int
    complete: int
    arms: list[ArmLine]
    spent_usd: float
    held_usd: float
    max_usd: float | None
    stopped: str
    gone: dict[str, str]
    notes: list[str]
    out: str


def summarise(past: Past, tasks: Sequence[Task], ending: Ending, *, max_usd: float, out: str) -> Summary:
    """Count what the journal holds of these prompts and arms."""
    grid = {(task.query_id, arm): past.cells.get((task.query_id, arm)) for task in tasks for arm in ending.arms}
    whole = [
        task.query_id
        for task in tasks
        if all((cell := grid[task.query_id, arm]) is not None and cell["score"] is not None for arm in ending.arms)
    ]
    lines = [_line(arm, [grid[task.query_id, arm] for task in tasks], whole=whole, grid=grid) for arm in ending.arms]
    cap = None if math.isinf(max_usd) else max_usd
    return Summary(
        prompts=len(tasks),
        complete=len(whole),
        arms=lines,
        spent_usd=past.spent_usd,
        held_usd=past.held_usd,
        max_usd=cap,
        stopped=ending.stopped,
        gone=dict(ending.gone),
        notes=list(ending.notes),
        out=out,
    )


def wilson(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share; for graded scores it is on the wide side.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    centre = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n * n)) / (1 + Z95**2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def mean_interval(values: Sequence[float]) -> tuple[float, tuple[float, float] | None]:
    """Mean of amounts and its normal 95 % interval, None for a single one."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, None
    error = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values))
    return mean, (max(0.0, mean - Z95 * error), mean + Z95 * error)


def _line(arm: str, cells: list[dict[str, Any] | None], *, whole: list[str], grid: dict[Any, Any]) -> ArmLine:
    answered = sum(cell is not None and cell["status"] == "ok" for cell in cells)
    kept = [grid[query_id, arm] for query_id in whole]
    costs = [cell["usd"] for cell in kept]
    accuracy = sum(cell["score"] for cell in kept) / len(kept) if kept else None
    usd, usd_ci = mean_interval(costs) if kept and None not in costs else (None, None)
    return ArmLine(
        arm=arm,
        answered=answered,
        missing=len(cells) - answered,
        n=len(kept),
        accuracy=accuracy,
        accuracy_ci=None if accuracy is None else wilson(accuracy, len(kept)),
        usd=usd,
        usd_ci=usd_ci,
        errors=dict(Counter(cell["status"] for cell in cells if cell is not None and cell["status"] != "ok")),
    )


def show(summary: Summary) -> None:
    """The summary as a table, with what to do next."""
    from rich.console import Console
    from rich.table import Table

    title = f"{summary.complete} of {summary.prompts} prompts answered by every arm"
    table = Table(title=title)
    for heading in ("arm", "accuracy, 95 %", "USD each, 95 %", "answers", "errors"):
        table.add_column(heading, overflow="fold", no_wrap=heading in ("arm", "accuracy, 95 %"))
    for line in summary.arms:
        errors = ", ".join(f"{status} {count}" for status, count in line.errors.items())
        accuracy = _measured(line.accuracy, line.accuracy_ci, ".3f")
        usd, answers = _measured(line.usd, line.usd_ci, ".3g"), f"{line.answered} of {line.answered + line.missing}"
        table.add_row(line.arm, accuracy, usd, answers, errors)
    console = Console()
    console.print(table)
    cap = "" if summary.max_usd is None else f" of {summary.max_usd:g}"
    held = f", and {summary.held_usd:.6f} held for calls without a bill" if summary.held_usd else ""
    console.print(f"spent {summary.spent_usd:.6f} USD{cap}{held}", highlight=False)
    for arm, why in summary.gone.items():
        console.print(f"{arm} was not asked further: {why}", highlight=False)
    for note in summary.notes:
        console.print(f"note: {note}", highlight=False)
    console.print(_next(summary), highlight=False, soft_wrap=True)


def _next(summary: Summary) -> str:
    if summary.stopped == "cap":
        return "stopped at the cap; the same command with a higher --max-usd goes on where this ended"
    if summary.stopped:
        return f"stopped: {summary.stopped}"
    if any(line.missing for line in summary.arms):
        return "some cells have no answer; the same command asks them again"
    folder = shlex.quote(summary.out)
    return f"full table; learn from it: gearshift train default --data {folder} --out policy"


def _measured(value: float | None, interval: tuple[float, float] | None, form: str) -> str:
    """Such as 0.812 (0.701–0.889); empty where unknown."""
    if value is None:
        return ""
    return f"{value:{form}}" + (f" ({interval[0]:{form}}–{interval[1]:{form}})" if interval is not None else "")
