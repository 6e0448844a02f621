"""The result at a terminal: one table per pool, policies by saving at 97 %, and what the run was."""

from collections.abc import Mapping
from typing import Any

_YARDSTICK = "†"


def print_result(result: Mapping[str, Any]) -> None:
    """Print a benchmark result on stdout; wide enough for a pipe as for a screen."""
    from rich.console import Console

    console = Console()
    console = console if console.is_terminal else Console(width=150)
    for name, pool in result["pools"].items():
        console.print(_table(name, pool, split=str(result["split"])))
        console.print(f"{_YARDSTICK} reads labels or outcomes that a gateway never sees\n", style="dim")
    for line in _origin(result):
        console.print(line, style="dim", markup=False, highlight=False, soft_wrap=True)


def _origin(result: Mapping[str, Any]) -> list[str]:
    from training.report.origin import encoder_told, skipped_pools, time_told

    told = {"encoder": encoder_told(result), "took": time_told(result)}
    lines = [f"{name} {text}" for name, text in told.items() if text]
    return lines + [f"skipped {pool}: {reason}" for pool, reason in skipped_pools(result)]


def _table(name: str, pool: Mapping[str, Any], *, split: str) -> Any:
    from rich.table import Table

    best = pool["best_single"]
    title = f"{name}: {split}, {pool['n_test']} queries; best single arm {best['arm']}, accuracy {best['accuracy']:.4f}"
    table = Table(title=title, title_justify="left")
    table.add_column("policy")
    for head in ("save@95", "@97 [95 %]", "@99", "@100", "committed @97", "max acc.", "APGR", "CPT80", "USD/correct"):
        table.add_column(head, justify="right")
    for head in ("ECE", "µs", "fit s"):
        table.add_column(head, justify="right")
    policies = pool["policies"]
    for policy in sorted(policies, key=lambda each: -(_known(policies[each]["save"]["97"]))):
        table.add_row(policy + ("" if policies[policy]["label_free"] else _YARDSTICK), *_cells(policies[policy]))
    return table


def _cells(policy: Mapping[str, Any]) -> list[str]:
    save, committed, interval = policy["save"], policy["save_committed"]["97"], policy["ci"]["save_97"]
    band = "" if interval is None else f" [{interval[0]:.0f}, {interval[1]:.0f}]"
    saving = (
        "–"
        if committed["saving_pct"] is None or committed["realised_ratio"] is None
        else f"{committed['saving_pct']:.1f} at {committed['realised_ratio']:.3f}"
    )
    return [
        _number(save["95"], 1),
        _number(save["97"], 1) + band,
        _number(save["99"], 1),
        _number(save["100"], 1),
        saving,
        _number(policy["max_accuracy"], 4),
        _number(policy["apgr"], 3),
        _number(policy["cpt80"], 1),
        _number(policy["cost_of_pass"], 6),
        _number(policy["ece"], 3),
        _number(policy["decision_us"], 0),
        _number(policy["fit_s"], 1),
    ]


def _known(value: float | None) -> float:
    return float("-inf") if value is None else value


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
