"""The joined log as tables that are worth the work on each."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policies.archive_schema import DamagedPartition, read_log
from training.ope.rounds import EvaluationError, Mask

if TYPE_CHECKING:
    import pyarrow as pa

LEAST_CHUNK = 8192  # rows read at once: partitions of a quiet gateway are small


def read_tables(folder: Path, **options: Any) -> "Iterator[pa.Table]":
    """The joined log with the options of ``read_log``.

    Raises:
        EvaluationError: A partition is damaged.
    """
    try:
        yield from read_log(folder, **options)
    except DamagedPartition as damaged:
        raise EvaluationError(str(damaged)) from damaged


def filtered(table: "pa.Table", kept: Mask) -> "pa.Table":
    """The rows of a mask."""
    import pyarrow as pa

    return table if kept.all() else table.filter(pa.array(kept))


def gathered(tables: "Iterable[pa.Table]") -> "Iterator[pa.Table]":
    """The same rows in tables of at least ``LEAST_CHUNK``, but for the last."""
    import pyarrow as pa

    held: list[pa.Table] = []
    for table in tables:
        held.append(table)
        if sum(each.num_rows for each in held) >= LEAST_CHUNK:
            yield pa.concat_tables(held)
            held = []
    if held:
        yield pa.concat_tables(held)
