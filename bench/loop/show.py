"""A run of the loop as tables, on a terminal and in Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.loop.judge import Foretold, OffPolicy, Served
from bench.loop.run import LoopResult
from training.hull import Interval

_SCALES = {"quality": 100.0, "usd": 1_000.0, "utility": 100.0}
HEADS = ("accuracy, %", "USD per 1,000", "utility × 100")


@dataclass(frozen=True, slots=True)
class Shown:
    """A table of texts."""

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def tables_of(result: LoopResult) -> list[Shown]:
    """Before and after, then what was foretold."""
    live = result.live
    arm = {name: _number(name, value) for name, value in live.best_arm_measures.items()}
    rows = [
        ("before: the rules that logged, exploring", *_served(live.logging)),
        ("the same rules, not exploring", *_served(live.rules)),
        ("after: the learned policy", *_served(live.learned)),
        ("**after − before, paired**", *(_signed(name, found) for name, found in live.gains.items())),
        ("after − rules not exploring, paired", *(_signed(name, found) for name, found in live.over_rules.items())),
        (f"{live.best_arm} alone, the best in hindsight", *arm.values()),
    ]
    shown = [Shown(f"{result.counts['live']:,} prompts served live", ("", *HEADS), rows)]
    if not result.off_policy.refused:
        shown.append(_foretold(result.off_policy))
    return shown


def lines_of(result: LoopResult) -> list[str]:
    """What the tables do not say."""
    live, off = result.live, result.off_policy
    taught = ", ".join(f"{name} {n:,}" for name, n in result.learned.judged_rounds.items())
    logged = ", ".join(f"{name} {n:,}" for name, n in result.logged.items())
    lines = [
        f"learned from {result.counts['prompts']:,} logged prompts: {taught}",
        f"learned policy less the best single arm: utility × 100 {_signed('utility', live.over_best_arm)}",
        f"its accuracy above the best mixture of single arms of equal cost: {_signed('quality', live.over_hull)}",
        f"utility × 100 if every outcome were known beforehand: {100 * live.oracle:.2f}",
        "served by the learned policy: " + _parts(live.learned),
        "served by the rules, not exploring: " + _parts(live.rules),
        "seconds: " + ", ".join(f"{name} {seconds:g}" for name, seconds in result.seconds.items()),
        f"rows of the log by policy: {logged}; late decisions: {result.late}",
    ]
    if off.refused:
        return [*lines, f"off-policy evaluation refused: {off.refused}"]
    held = [name for name, each in _all(off) if each.held]
    missed = [name for name, each in _all(off) if not each.held]
    told = f"the live value lies in {len(held)} of {len(held) + len(missed)} off-policy intervals"
    return [*lines, told + (f"; outside: {', '.join(missed)}" if missed else "")]


def markdown(result: LoopResult) -> str:
    """Tables and lines for a page of documentation."""
    parts = []
    for table in tables_of(result):
        parts.append(f"**{table.title}**\n")
        parts.append("\n".join(_row(cells) for cells in (table.head, ["---"] * len(table.head), *table.rows)) + "\n")
    return "\n".join(parts) + "\n" + "\n".join(f"- {line}" for line in lines_of(result)) + "\n"


def _foretold(off: OffPolicy) -> Shown:
    title = f"gearshift evaluate on {off.n_rounds:,} fresh rounds (ESS {off.effective:,.0f}), beside the live value"
    rows = []
    for label, found in (("value", off.values), ("gain over the rules", off.gains)):
        for name, each in found.items():
            told = f"{_number(name, each.value)} [{_number(name, each.low)}, {_number(name, each.high)}]"
            rows.append((f"{_head(name)}, {label}", told, _number(name, each.live), "yes" if each.held else "**no**"))
    return Shown(title, ("", "foretold, 95 %", "live", "held"), rows)


def _all(off: OffPolicy) -> list[tuple[str, Foretold]]:
    return [(f"{name}, {what}", each) for what, found in (("value", off.values), ("gain", off.gains))
            for name, each in found.items()]  # fmt: skip


def _head(measure: str) -> str:
    return HEADS[list(_SCALES).index(measure)]


def _number(measure: str, value: float) -> str:
    digits = 4 if measure == "usd" else 2
    return f"{_SCALES[measure] * value:.{digits}f}"


def _signed(measure: str, found: Interval) -> str:
    digits, by = (4 if measure == "usd" else 2), _SCALES[measure]
    return f"{by * found.value:+.{digits}f} [{by * found.low:+.{digits}f}, {by * found.high:+.{digits}f}]"


def _served(served: Served) -> list[str]:
    return [
        f"{_number(name, each.value)} [{_number(name, each.low)}, {_number(name, each.high)}]"
        for name, each in served.measures.items()
    ]


def _parts(served: Served) -> str:
    return ", ".join(f"{name} {share:.0%}" for name, share in served.shares.items())


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
