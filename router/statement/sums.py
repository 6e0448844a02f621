"""Entries summed by what they are divided by: a request that ended is one entry, and its cost an integer or unknown."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from router.statement.columns import Key, ended, grouped, of_tenants

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(slots=True)
class Sums:
    """Of some entries, all integers.

    Attributes:
        cached_input_tokens / cache_write_tokens / reasoning_tokens: Parts of input, input and output.
        nano_usd: Of the entries whose cost is known.
        unknown: Entries whose cost is not: it is not in `nano_usd`, and is not zero.
        failed / failed_nano_usd: Those among them that ended without an answer, and what they cost.
        cancelled / cancelled_nano_usd: Likewise those whose client left.
    """

    requests: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    nano_usd: int = 0
    unknown: int = 0
    failed: int = 0
    failed_nano_usd: int = 0
    cancelled: int = 0
    cancelled_nano_usd: int = 0

    def add(self, other: "Sums") -> None:
        for each in SUMMED:
            setattr(self, each, getattr(self, each) + getattr(other, each))


SUMMED = tuple(each.name for each in fields(Sums))


@dataclass(slots=True)
class Statement:
    """Entries divided by ``by``, names of ``DIVISIONS``.

    Attributes:
        open: Requests without an end yet, which are no entries.
    """

    by: tuple[str, ...]
    groups: dict[Key, Sums] = field(default_factory=dict)
    open: int = 0

    def add(self, table: "pa.Table") -> None:
        """Take in rows of the joined log, with ``COLUMNS``."""
        entries = ended(table)
        self.open += len(table) - len(entries)
        for key, sums in grouped(entries, self.by):
            self.groups.setdefault(key, Sums()).add(Sums(**sums))

    def ordered(self) -> list[tuple[Key, Sums]]:
        """The groups by their names; what the log does not name comes first."""
        return sorted(self.groups.items(), key=lambda group: tuple(part or "" for part in group[0]))

    def total(self) -> Sums:
        whole = Sums()
        for each in self.groups.values():
            whole.add(each)
        return whole


def sum_up(tables: "Iterable[pa.Table]", *statements: tuple[Statement, Sequence[str] | None]) -> None:
    """Read once, and add every row to each statement: those of its tenants, None for all."""
    for table in tables:
        for statement, tenants in statements:
            statement.add(table if tenants is None else of_tenants(table, tenants))
