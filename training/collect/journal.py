"""What happened, as it happened: an append-only file from which a killed run goes on.

One JSON object a line, of four kinds: ``task`` (a prompt as it was first met), ``start`` and ``end`` of a paid call
(its bound, then its bill), and ``cell`` (one arm's graded answer to one prompt; of several the last counts). A start
without an end is a call whose bill is unknown: its bound counts as spent.
"""

from dataclasses import dataclass, field
from pathlib import Path

from training.collect.lines import Lines, Row

NAME = "calls.journal"
KINDS = ("task", "start", "end", "cell")
Cell = tuple[str, str]  # query id, arm


@dataclass(slots=True)
class Past:
    """A journal, read.

    Attributes:
        tasks / cells: Last row of each, by query id and by (query id, arm).
        bills: Ends of calls, in order.
        spent_usd: Sum of the bills; ``held_usd``: bounds of calls whose bill is unknown.
    """

    tasks: dict[str, Row] = field(default_factory=dict)
    cells: dict[Cell, Row] = field(default_factory=dict)
    bills: list[Row] = field(default_factory=list)
    spent_usd: float = 0.0
    held_usd: float = 0.0

    def answered(self, cell: Cell) -> bool:
        """Whether the cell needs no further call; one that ended in an error does."""
        return cell in self.cells and self.cells[cell]["status"] == "ok"


class Journal(Lines):
    """A folder's journal."""

    def __init__(self, folder: Path) -> None:
        """Raises CollectError: the folder cannot be written, or another process collects into it."""
        super().__init__(folder / NAME, kinds=KINDS)

    def past(self) -> Past:
        """Everything written so far. Raises CollectError naming the first line that is no row."""
        past, open_bounds = Past(), {}
        for row in self.rows():
            if row["kind"] == "task":
                past.tasks[row["query_id"]] = row
            elif row["kind"] == "cell":
                past.cells[row["query_id"], row["arm"]] = row
            elif row["kind"] == "start":
                open_bounds[row["call"]] = row["bound_usd"]
            else:
                bound = open_bounds.pop(row["call"], 0.0)
                past.bills.append(row)
                past.spent_usd += row["usd"] or 0.0
                past.held_usd += bound if row["usd"] is None and row["billable"] else 0.0
        past.held_usd += sum(bound or 0.0 for bound in open_bounds.values())
        return past
