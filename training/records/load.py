"""The outcomes a command was pointed at: a pool of a data directory, or any source of records as it is."""

from collections.abc import Sequence
from pathlib import Path

from policies.pools import PoolError
from policies.tables import OutcomeTable, load_pool
from training.records.stream import Progress, open_records
from training.records.table import table_from_records


def load_outcomes(
    data: Path,
    *,
    pools_file: Path | None = None,
    pool: str | None = None,
    arms: Sequence[str] = (),
    progress: Progress | None = None,
) -> OutcomeTable:
    """Every arm's outcome on every query that all of them answered.

    Args:
        data: A directory of sets, of which ``pools_file`` and ``pool`` name a part; without them whatever
            ``open_records`` reads: a folder of ``gearshift collect``, a CSV or JSONL file, a gateway's log, a set.
        arms: Names, where not all of the records' arms are meant.

    Raises:
        PoolError: The pool cannot be read, or only one of ``pools_file`` and ``pool`` is given.
        RecordError: The records cannot be read, or leave no query that every arm answered.
    """
    if pools_file is not None and pool is not None:
        if arms:
            raise PoolError(f"--arms names arms of records; those of pool {pool!r} stand in {pools_file}")
        return load_pool(data, pools_file, pool)
    if pools_file is not None or pool is not None:
        raise PoolError("--pools and --pool belong together; without both, --data is read as records")
    table, _ = table_from_records(open_records(data), name=data.stem, arms=tuple(arms) or None, progress=progress)
    return table
