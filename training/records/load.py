"""The outcomes a command was pointed at: a pool of a data directory, or any source of records as it is."""

from collections.abc import Sequence
from pathlib import Path

from policies.pools import PoolError
from policies.tables import OutcomeTable, load_pool
from training.records.prices import read_prices
from training.records.record import RecordError
from training.records.stream import Progress, open_records
from training.records.table import Coverage, table_from_records

LEAST_QUERIES = 50


def load_outcomes(
    data: Path,
    *,
    pools_file: Path | None = None,
    pool: str | None = None,
    arms: Sequence[str] = (),
    prices_file: Path | None = None,
    progress: Progress | None = None,
) -> OutcomeTable:
    """Every arm's outcome on every query that all of them answered.

    Args:
        data: A directory of sets, of which ``pools_file`` and ``pool`` name a part; without them whatever
            ``open_records`` reads: a folder of ``gearshift collect``, a CSV or JSONL file, a gateway's log, a set.
        arms: Names, where not all of the records' arms are meant.
        prices_file: Prices of the records' arms, as for ``read_prices``; the recorded costs where there is none.

    Raises:
        PoolError: The pool cannot be read, or only one of ``pools_file`` and ``pool`` is given.
        RecordError: The records cannot be read, or leave no query that every arm answered.
    """
    return load_covered(
        data, pools_file=pools_file, pool=pool, arms=arms, prices_file=prices_file, progress=progress
    )[0]  # fmt: skip


def load_covered(
    data: Path,
    *,
    pools_file: Path | None = None,
    pool: str | None = None,
    arms: Sequence[str] = (),
    prices_file: Path | None = None,
    progress: Progress | None = None,
) -> tuple[OutcomeTable, Coverage | None]:
    """As ``load_outcomes``, with what became of the records' queries; None for a pool."""
    if pools_file is not None and pool is not None:
        if arms or prices_file is not None:
            option = "--arms names arms" if arms else "--prices names prices"
            raise PoolError(f"{option} of records; those of pool {pool!r} stand in {pools_file}")
        return load_pool(data, pools_file, pool), None
    if pools_file is not None or pool is not None:
        raise PoolError("--pools and --pool belong together; without both, --data is read as records")
    prices = {} if prices_file is None else read_prices(prices_file)
    table, coverage = table_from_records(
        open_records(data), name=data.stem, arms=tuple(arms) or None, prices=prices, progress=progress
    )
    strange = [name for name in prices if name not in coverage.by_arm]
    if strange:
        raise RecordError(f"no arm {strange[0]!r} in {data}; it has {', '.join(coverage.by_arm)}", file=prices_file)
    return table, coverage


def check_learnable(table: OutcomeTable, data: Path) -> None:
    """Refuse what no policy can be learned from.

    Raises:
        RecordError: One arm only, or fewer than 50 queries.
    """
    if len(table.arms) < 2:
        raise RecordError(f"one arm only ({table.arm_names[0]}): there is nothing to choose between", file=data)
    if len(table) < LEAST_QUERIES:
        what = (
            f"{len(table)} queries that every arm answered; a policy needs at least {LEAST_QUERIES}, better thousands"
        )
        raise RecordError(f"{what}: ask more with `gearshift collect`, or leave arms out with --arms", file=data)
