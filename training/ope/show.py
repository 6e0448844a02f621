"""An evaluation for people: a table of the policies, and what the log was like, in words."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from training.ope.evaluate import Evaluation, Verdict
from training.ope.groups import Difference
from training.ope.intervals import Estimate

if TYPE_CHECKING:
    from rich.table import Table

WHY = {
    "forced": "named by the client",
    "sticky": "kept from an earlier turn",
    "late": "decided too late",
    "single": "one eligible arm",
    "open": "without an end",
    "no arm served": "refused before an arm answered",
    "too recent": "younger than --feedback-within",
    "unjudged": "nobody judged the answer",
    "no embedding": "logged without embedding",
    "another encoder": "embedded by another encoder",
    "cascade step": "decided after an answer failed its check",
    "outcome without decision": "its decision is not in the log",
}


def table_of(evaluation: Evaluation) -> "Table":
    """One row per policy, the logging policy first."""
    from rich.table import Table

    table = Table("policy", "ESS", "quality", "USD per 1,000", "utility", "utility − logging")
    logged = evaluation.logging
    table.add_row("logging (as it was)", f"{evaluation.log['n_rounds']:,}", *_cells(logged), "")
    for name, verdict in evaluation.policies.items():
        if verdict.refused is not None:
            table.add_row(name, f"{verdict.support.effective:,.0f}", "refused", "", "", "")
            continue
        row = {measure: found["dr"] for measure, found in verdict.estimates.items()}
        table.add_row(name, f"{verdict.support.effective:,.0f}", *_cells(row), _gain(verdict))
    return table


def lines_of(evaluation: Evaluation) -> list[str]:
    """What the reader must know beside the table."""
    log = evaluation.log
    excluded = sum(log["excluded"].values())
    lines = [f"{log['n_rounds']:,} rounds of {log['n_rows']:,} rows; doubly robust estimates, 95 % intervals"]
    if log["newest_at"] is not None:
        newest = datetime.fromtimestamp(log["newest_at"], tz=UTC).strftime("%Y-%m-%d %H:%M:%S")
        lines.append(f"newest row {newest} UTC; `gearshift log archive` adds what came later")
    if excluded:
        told = (f"{n:,} {WHY.get(why, why)} ({why})" for why, n in sorted(log["excluded"].items(), key=lambda x: -x[1]))
        lines.append("left out: " + ", ".join(told))
    quality = "unknown" if log["tq"] is None else f"{log['tq']:.2f}"
    lines.append(f"coverage of clusters × arms (SACo) {log['saco']:.2f}; quality of the log (TQ) {quality}")
    if log["sample_ratio"]["mismatch"]:
        p_value = log["sample_ratio"]["p_value"]
        lines.append(
            f"WARNING: arms were not drawn as often as their propensities say (p = {p_value:.1e}); something "
            "chose beside the policy, or rows are missing: trust no estimate here before that is explained"
        )
    for name, verdict in evaluation.policies.items():
        lines += [f"{name}: {line}" for line in _about(verdict)]
    return lines


def _about(verdict: Verdict) -> list[str]:
    if verdict.refused is not None:
        return [f"refused: {verdict.refused}"]
    lines = []
    if verdict.support.clipped:
        lines.append(
            f"{verdict.support.clipped:.1%} of the weights were clipped: the estimate is biased towards the log"
        )
    if verdict.support.unsupported:
        lines.append(f"{verdict.support.unsupported:.2%} of its choices are missing from the estimate: never drawn")
    if verdict.floor is not None:
        floor, margin = verdict.floor, verdict.floor.margin
        state = "broken" if margin.high < 0 else "kept" if margin.low > 0 else "undecided"
        lines.append(
            f"floor {floor.floor:g} of {floor.reference}: {state}, margin {_signed(margin)}; "
            f"broken in {floor.violation:.0%} of the replicates"
        )
    return lines


def _cells(found: Mapping[str, Difference | Estimate]) -> list[str]:
    quality, usd, utility = found.get("quality"), found.get("usd"), found.get("utility")
    return [_plain(quality), _plain(usd, times=1000.0), _plain(utility)]


def _plain(found: Difference | Estimate | None, *, times: float = 1.0) -> str:
    if found is None:
        return "unknown"
    return f"{times * found.value:.3f} [{times * found.low:.3f}, {times * found.high:.3f}]"


def _signed(found: Difference) -> str:
    return f"{found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"


def _gain(verdict: Verdict) -> str:
    found = verdict.differences.get("utility")
    return "unknown" if found is None else _signed(found)
