"""The table that judges a router on recorded outcomes: its choices beside every single arm, chance and the oracle.

It takes plain choices, so a live replay through a gateway and an offline evaluation are judged by the same code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from policies.tables import OutcomeTable
from training.hull import GainAtEqualCost, Interval, Reals, bootstrap_means, gain_at_equal_cost, interval

# The bar's two trade-offs on ``mmlu_pro_7``, in USD per correct answer. Fixed on half 0 alone, before half 1 was looked
# at: there the last edge of the hull (flash to pro) asks 0.0109 USD for one more correct answer, so near 0.01 choosing
# well matters most, and 0.02 is for someone twice as generous; both lie on the plateau of cross-validation in half 0.
BAR_USD_PER_CORRECT_ANSWER = (0.01, 0.02)


@dataclass(frozen=True, slots=True)
class Choice:
    """What a router did with one query and what came of it."""

    query_id: str
    arm: str
    score: float
    usd: float


@dataclass(frozen=True, slots=True)
class Baseline:
    """A strategy that learns nothing: accuracy and USD per query."""

    name: str
    accuracy: Interval
    usd: float


@dataclass(frozen=True, slots=True)
class RouterRow:
    """A router at one trade-off: its gain over the hull of single arms, and how often it chose each arm."""

    name: str
    gain: GainAtEqualCost
    share: dict[str, float]


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """Routers and baselines on the same queries."""

    pool: str
    n_queries: int
    routers: tuple[RouterRow, ...]
    baselines: tuple[Baseline, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def replay_report(
    table: OutcomeTable, routers: Mapping[str, Sequence[Choice]], *, n_replicates: int = 2_000, seed: int = 0
) -> ReplayReport:
    """Judge routers on a table: gains at equal cost with 95 % intervals, paired over queries.

    Queries with the same prompt are resampled together. Scores and costs are the choices' own; arms' are the table's.

    Raises:
        ValueError: A router did not choose exactly once for every query of the table, or chose an arm it does not hold.
    """
    rows = tuple(
        RouterRow(
            name=name,
            gain=_gain(table, choices, n_replicates=n_replicates, seed=seed),
            share={arm: sum(choice.arm == arm for choice in choices) / len(choices) for arm in table.arm_names},
        )
        for name, choices in routers.items()
    )
    return ReplayReport(table.name, len(table), rows, baselines(table, n_replicates=n_replicates, seed=seed))


def _gain(table: OutcomeTable, choices: Sequence[Choice], *, n_replicates: int, seed: int) -> GainAtEqualCost:
    by_id = {choice.query_id: choice for choice in choices}
    if len(by_id) != len(choices) or set(by_id) != set(table.query_ids):
        raise ValueError(f"{len(choices)} choices do not cover the {len(table)} queries of {table.name} once each")
    strange = sorted({choice.arm for choice in choices} - set(table.arm_names))
    if strange:
        raise ValueError(f"choice of {strange[0]!r}, which {table.name} does not hold")
    return gain_at_equal_cost(
        np.array([by_id[query_id].score for query_id in table.query_ids]),
        np.array([by_id[query_id].usd for query_id in table.query_ids]),
        arm_scores=table.scores,
        arm_usd=table.usd,
        n_replicates=n_replicates,
        seed=seed,
        groups=table.prompts,
    )


def baselines(table: OutcomeTable, *, n_replicates: int = 2_000, seed: int = 0) -> tuple[Baseline, ...]:
    """Every single arm from the cheapest, the uniform draw, and the oracle (best score, then least cost, per query)."""
    columns: dict[str, tuple[Reals, Reals]] = {
        table.arm_names[m]: (table.scores[:, m], table.usd[:, m]) for m in np.argsort(table.usd.mean(axis=0))
    }
    columns["uniform random"] = (table.scores.mean(axis=1), table.usd.mean(axis=1))
    best = oracle_actions(table.scores, table.usd)
    at = np.arange(len(table))
    columns["oracle"] = (table.scores[at, best], table.usd[at, best])
    stacked = np.column_stack([scores for scores, _ in columns.values()])
    replicates = bootstrap_means(stacked, n_replicates=n_replicates, seed=seed, groups=table.prompts)
    return tuple(
        Baseline(
            name=f"{name} (cheapest)" if index == 0 else name,
            accuracy=interval(float(scores.mean()), replicates[:, index]),
            usd=float(usd.mean()),
        )
        for index, (name, (scores, usd)) in enumerate(columns.items())
    )


def oracle_actions(scores: Reals, usd: Reals) -> NDArray[np.intp]:
    """Index of the best arm of each query, the cheapest among equally good ones, shape (n,)."""
    best: NDArray[np.intp] = np.where(scores == scores.max(axis=1, keepdims=True), usd, np.inf).argmin(axis=1)
    return best


def report_table(report: ReplayReport) -> Table:
    """The report for a terminal: hull and gain at equal cost, saving at equal accuracy."""
    table = Table(title=f"{report.pool}: {report.n_queries} queries, 95 % intervals, paired bootstrap over prompts")
    for heading in ("", "accuracy", "USD/1,000", "hull", "gain, points", "saving"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=bool(heading))
    for row in report.routers:
        gain = row.gain
        low, high = 100 * gain.gain.low, 100 * gain.gain.high
        table.add_row(
            f"[bold]{row.name}[/bold]",
            _percent(gain.accuracy),
            f"{1000 * gain.usd:.4f}",
            f"{100 * gain.hull_accuracy:.2f}",
            f"{100 * gain.gain.value:+.2f} [{low:+.2f}, {high:+.2f}]".replace("[", r"\["),
            "beyond all" if np.isnan(gain.saving) else f"{100 * gain.saving:.0f} %",
        )
    for baseline in report.baselines:
        table.add_row(baseline.name, _percent(baseline.accuracy), f"{1000 * baseline.usd:.4f}", "", "", "")
    return table


def report_markdown(report: ReplayReport) -> str:
    """The same table as Markdown, for documents."""
    lines = ["| | accuracy, % | USD per 1,000 | hull, % | gain, points | saving |", "|---|---|---|---|---|---|"]
    for row in report.routers:
        gain = row.gain
        interval = f"[{100 * gain.gain.low:+.2f}, {100 * gain.gain.high:+.2f}]"
        saving = "beyond all" if np.isnan(gain.saving) else f"{100 * gain.saving:.0f} %"
        numbers = f"{_percent(gain.accuracy)} | {1000 * gain.usd:.4f} | {100 * gain.hull_accuracy:.2f}"
        lines.append(f"| **{row.name}** | {numbers} | {100 * gain.gain.value:+.2f} {interval} | {saving} |")
    lines += [f"| {each.name} | {_percent(each.accuracy)} | {1000 * each.usd:.4f} | | | |" for each in report.baselines]
    return "\n".join(lines) + "\n"


def print_report(report: ReplayReport) -> None:
    """Print the report; its columns need some room even where the terminal tells no width."""
    console = Console()
    Console(width=max(console.width, 110)).print(report_table(report))


def _percent(value: Interval) -> str:
    return f"{100 * value.value:.2f} ± {50 * (value.high - value.low):.2f}"
