"""Savings for people: a table, and in words what it rests on."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from policies.prices import NANO
from training.ope.groups import Difference
from training.ope.show import WHY
from training.savings.estimate import Modelled, Saved
from training.savings.task import Savings

if TYPE_CHECKING:
    from rich.table import Table

HEADS = ("rounds", "ESS", "paid USD", "baseline USD", "saved USD", "saved, %", "by predictions alone")


def table_of(savings: Savings) -> "Table":
    """One row per group and one of the whole."""
    from rich.table import Table

    table = Table("", *HEADS, show_footer=False)
    for name, found in savings.groups.items():
        table.add_row(name, *cells(found))
    table.add_row("all", *cells(savings.whole), style="bold")
    return table


def cells(found: Saved) -> list[str]:
    """Below the heads."""
    share = found.share
    percent = "" if share is None else f"{100 * share.value:.1f} [{100 * share.low:.1f}, {100 * share.high:.1f}]"
    estimated = (_interval(found.baseline_usd), _interval(found.saved_usd), percent)
    return [
        f"{found.rounds:,}",
        f"{found.support.effective:,.0f}",
        f"{found.paid_usd + found.own_usd:.6g}",
        *(("refused", "refused", "") if found.refused else estimated),
        _model(found.modelled),
    ]


def lines_of(savings: Savings) -> Iterator[str]:
    """What the reader must know beside the table."""
    about, whole = savings.log, savings.whole
    yield (
        f"baseline: {savings.baseline.name}; {about['n_rounds']:,} rounds of {about['n_rows']:,} rows, in "
        f"{about['reached_rounds']:,} of which it could have answered; in the others nothing is saved"
    )
    if whole.refused is not None:
        yield f"REFUSED: {whole.refused}"
        yield f"BY A MODEL ALONE, with no interval: {_model(whole.modelled)}"
    elif whole.saved_usd is not None:
        yield f"saved, net of the router's own costs: {_interval(whole.saved_usd)} USD; doubly robust, 95 % intervals"
    yield _quality(savings)
    yield _own(savings)
    if whole.modelled is not None:
        model = whole.modelled
        yield (
            f"by predictions alone: those in the rows of {model.requests:,} decisions, times {model.scale:.3g}, by "
            "which what was paid differs from what had been predicted of the arms drawn; no interval, for nothing in "
            "a log says how wrong they are"
        )
    yield from _left_out(savings)
    if about["sample_ratio"]["mismatch"]:
        p_value = about["sample_ratio"]["p_value"]
        yield (
            f"WARNING: arms were not drawn as often as their propensities say (p = {p_value:.1e}); something chose "
            "beside the policy, or rows are missing: trust no estimate here before that is explained"
        )
    for found in savings.groups.values():
        if found.refused is not None:
            yield f"refused: {found.refused}"


def _quality(savings: Savings) -> str:
    if savings.quality is None:
        return f"quality beside the baseline's: unknown ({savings.quality_refused})"
    found = savings.quality
    state = "higher" if found.low > 0 else "lower" if found.high < 0 else "no difference shown"
    return (
        f"quality less the baseline's: {found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}] ({state}), on "
        f"{savings.judged:,} judged rounds"
    )


def _own(savings: Savings) -> str:
    steps, failed, whole = savings.paid.steps, savings.paid.unanswered, savings.whole
    parts = [f"{steps.requests:,} cascade steps {steps.nano_usd / NANO:.6g}"]
    declared = whole.own_usd - steps.nano_usd / NANO
    if declared > 0.0:
        parts.append(f"declared with --own-usd {declared:.6g}")
    return (
        f"own costs, taken off what is saved, USD: {', '.join(parts)}; what was paid for {failed.requests:,} failed "
        f"and cancelled requests, {failed.nano_usd / NANO:.6g}, and for attempts before an answer, is in what was paid"
    )


def _left_out(savings: Savings) -> Iterator[str]:
    excluded = sorted(savings.log["excluded"].items(), key=lambda each: -each[1])
    if excluded:
        yield "left out: " + ", ".join(f"{n:,} {WHY.get(why, why)} ({why})" for why, n in excluded)
    others = {kind: spent for kind, spent in savings.paid.by_kind.items() if kind not in ("drawn", "sticky")}
    if others:
        told = ", ".join(f"{kind} {spent.nano_usd / NANO:.6g}" for kind, spent in sorted(others.items()))
        yield f"paid for requests that nobody routed, USD, with which nothing is saved: {told}"
    unknown = sum(spent.unknown for spent in savings.paid.by_kind.values())
    if unknown:
        yield f"{unknown:,} requests have no known cost"
    if savings.log["newest_at"] is not None:
        newest = datetime.fromtimestamp(savings.log["newest_at"], tz=UTC).strftime("%Y-%m-%d %H:%M:%S")
        yield f"newest row {newest} UTC; `gearshift log archive` adds what came later"


def _interval(found: Difference | None) -> str:
    return "" if found is None else f"{found.value:.6g} [{found.low:.6g}, {found.high:.6g}]"


def _model(found: Modelled | None) -> str:
    return "no predictions" if found is None else f"{found.saved_usd:.6g} USD saved"
