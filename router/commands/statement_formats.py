"""A statement as a table, CSV or JSON: nano-USD as integers to count with, USD as exact decimals to read."""

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from router.statement.counters import Compared
from router.statement.sums import SUMMED, Statement, Sums
from router.store.logbook import NANO

_PAID = ("nano_usd", "failed_nano_usd", "cancelled_nano_usd")
_NUMBERS = tuple(
    part for name in SUMMED for part in ((name.replace("nano_usd", "usd"), name) if name in _PAID else (name,))
)
_FORMULA = tuple("=+-@\t\n")
_HEADS = ("requests", "input", "cached", "written", "output", "reasoning", "USD", "unknown", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Told:
    """A statement with what it is of.

    Attributes:
        between: POSIX seconds from and before which requests began, None for no bound.
        tenants: Only these; empty for all.
        windows: The window's budgets, where one was asked for.
    """

    statement: Statement
    between: tuple[float | None, float | None]
    tenants: Sequence[str]
    windows: Sequence[Compared]


def write(told: Told, form: str) -> None:
    """Print it; `form` is ``table``, ``csv`` or ``json``."""
    if form == "json":
        sys.stdout.write(json.dumps(plain(told), indent=2) + "\n")
    elif form == "csv":
        _write_csv(told.statement)
    else:
        _show(told)


def usd(nano_usd: int) -> str:
    """A decimal string, exact to the nano-dollar, below zero too."""
    return f"{'-' if nano_usd < 0 else ''}{abs(nano_usd) // NANO}.{abs(nano_usd) % NANO:09d}"


def alarms(windows: Sequence[Compared]) -> Iterator[str]:
    """One line for each budget whose counter is not the sum of its entries."""
    for each in windows:
        if not each.difference:
            continue
        less = "more" if each.difference > 0 else "less"
        told = (
            f"DIFFERENCE: {each.window.owner}, {each.window.per} {each.label}: the entries come to "
            f"{usd(each.entries)} USD, {usd(abs(each.difference))} {less} than the store counted ({usd(each.after)})"
        )
        if each.difference > 0:
            yield (
                told + "; entries of before the budget was set are counted nowhere, else the counter or the log was "
                "changed by something else than a gateway"
            )
        elif each.unknown:
            yield told + f"; {each.unknown} entries have no known cost, and the budget was charged what they reserved"
        else:
            yield told + "; entries are missing from the log, or the counter was changed by something else"


def _amounts(sums: Sums) -> dict[str, Any]:
    found: dict[str, Any] = asdict(sums)
    return found | {name.replace("nano_usd", "usd"): usd(found[name]) for name in _PAID}


def plain(told: Told) -> dict[str, Any]:
    """As JSON has it."""
    found = told.statement
    since, until = (None if at is None else datetime.fromtimestamp(at, UTC).isoformat() for at in told.between)
    return {
        "since": since,
        "until": until,
        "tenants": list(told.tenants) or None,
        "by": list(found.by),
        "groups": [dict(zip(found.by, key, strict=True)) | _amounts(sums) for key, sums in found.ordered()],
        "total": _amounts(found.total()),
        "open_requests": found.open,
        "windows": [
            {
                "owner": each.window.owner,
                "per": each.window.per,
                "window": each.label,
                "entries_nano_usd": each.entries,
                "counter_nano_usd": each.after,
                "difference_nano_usd": each.difference,
                "unknown": each.unknown,
            }
            for each in told.windows
        ],
    }


def _write_csv(found: Statement) -> None:
    """A header, a line for each group and one for the total; what the log does not name is empty.

    Tags and end users are clients' words. A spreadsheet would run one that begins like a formula, so it gets an
    apostrophe before it, which a spreadsheet takes for "this is text". Source: OWASP, "CSV Injection".
    """
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(("line", *found.by, *_NUMBERS))
    lines = [("group", key, sums) for key, sums in found.ordered()]
    for line, key, sums in (*lines, ("total", (None,) * len(found.by), found.total())):
        amounts = _amounts(sums)
        rows.writerow((line, *map(_inert, key), *(amounts[name] for name in _NUMBERS)))


def _inert(name: str | None) -> str | None:
    if name is None:
        return None
    text = name.replace("\r\n", "\n").replace("\r", "\n")  # csv does not quote a lone \r, and a row would begin there
    return f"'{text}" if text.startswith(_FORMULA) else text


def _show(told: Told) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    found = told.statement
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_footer=True)
    total = _cells(found.total())
    for place, name in enumerate(found.by):
        table.add_column(name, footer="total" if not place else "", overflow="fold")
    for head, cell in zip(_HEADS, total, strict=True):
        table.add_column(head, footer=cell, justify="right", no_wrap=True)
    for key, sums in found.ordered():
        table.add_row(*(part if part is not None else "–" for part in key), *_cells(sums))
    console = Console()
    (console if console.is_terminal else Console(width=200)).print(table)
    for line in _notes(told):
        sys.stdout.write(line + "\n")


def _cells(sums: Sums) -> list[str]:
    tokens = (sums.input_tokens, sums.cached_input_tokens, sums.cache_write_tokens, sums.output_tokens)
    ends = ((sums.failed, sums.failed_nano_usd), (sums.cancelled, sums.cancelled_nano_usd))
    return [
        f"{sums.requests:,}",
        *(f"{count:,}" for count in (*tokens, sums.reasoning_tokens)),
        usd(sums.nano_usd),
        f"{sums.unknown:,}",
        *(f"{count:,}: {usd(nano)}" if count else "0" for count, nano in ends),
    ]


def _notes(told: Told) -> Iterator[str]:
    total = told.statement.total()
    if total.unknown:
        yield f"{total.unknown:,} requests have no known cost: they are in no sum of USD, and were not free"
    if told.statement.open:
        yield f"{told.statement.open:,} requests have not ended yet, and are no entries"
    for each in told.windows:
        if not each.difference:
            named = f"{each.window.owner}, {each.window.per} {each.label}"
            yield f"{named}: the store counted the same, {usd(each.after)} USD"
