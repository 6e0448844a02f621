"""Outcome tables: which arm answered which query how well and for how much, for fitting, replay and evaluation."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from policies.arms import Arm
from policies.pools import Pool, PoolArm, PoolError, load_pool_definition
from policies.predictions import Reals
from policies.prices import NANO, Price, Usage, cost_nano_usd

Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]
Columns = dict[str, list[object]]

# Token counts of these sources hold the hidden reasoning; those of any other source are of the visible reply at most.
COUNTS_HIDDEN_REASONING = frozenset({"api", "source table", "o200k_visible+thinking"})
QUERY_COLUMNS = ("query_id", "prompt")
OUTCOME_COLUMNS = (
    *("query_id", "model", "mode", "variant", "score", "prompt_tokens", "completion_tokens"),
    *("token_source", "cost_usd", "latency_s"),
)


@dataclass(frozen=True, slots=True)
class OutcomeTable:
    """Every arm's outcome on every query: n queries × m arms, no gaps.

    Attributes:
        domains: Domain label of each query, length n: for reports, splits and training; what serves reads none.
        scores: 0..1, shape (n, m).
        usd: USD of each cell, shape (n, m).
        nano_usd: The same in integer nano-USD, rounded up once per cell, shape (n, m).
        prompt_tokens: Shape (n,): the first arm's count.
        input_tokens / completion_tokens: Counts that were billed, shape (n, m).
        seconds: Recorded time of each cell, NaN where the set has none, shape (n, m).
        prices: Nominal price of each arm, None if only recorded costs exist.
        benchmarks: Benchmark each query comes from, length n; empty texts where unknown.
        at: When each query was asked, POSIX seconds, NaN where unknown, shape (n,).
    """

    name: str
    query_ids: tuple[str, ...]
    prompts: tuple[str, ...]
    domains: tuple[str, ...]
    arms: tuple[Arm, ...]
    scores: Reals
    usd: Reals
    nano_usd: Integers
    prompt_tokens: Integers
    input_tokens: Integers
    completion_tokens: Integers
    seconds: Reals
    prices: tuple[Price | None, ...]
    benchmarks: tuple[str, ...] = ()
    at: Reals = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        if not self.benchmarks:
            object.__setattr__(self, "benchmarks", ("",) * len(self.query_ids))
        if not len(self.at):
            object.__setattr__(self, "at", np.full(len(self.query_ids), np.nan))

    def __len__(self) -> int:
        return len(self.query_ids)

    @property
    def arm_names(self) -> tuple[str, ...]:
        return tuple(arm.name for arm in self.arms)

    def rows(self, mask: Mask) -> "OutcomeTable":
        """The queries where ``mask``, shape (n,), is true, in order."""
        return self.at_rows(np.flatnonzero(mask))

    def at_rows(self, kept: Integers) -> "OutcomeTable":
        """The queries of these row numbers, in their order."""
        return OutcomeTable(
            name=self.name,
            query_ids=tuple(self.query_ids[i] for i in kept),
            prompts=tuple(self.prompts[i] for i in kept),
            domains=tuple(self.domains[i] for i in kept),
            arms=self.arms,
            scores=self.scores[kept],
            usd=self.usd[kept],
            nano_usd=self.nano_usd[kept],
            prompt_tokens=self.prompt_tokens[kept],
            input_tokens=self.input_tokens[kept],
            completion_tokens=self.completion_tokens[kept],
            seconds=self.seconds[kept],
            prices=self.prices,
            benchmarks=tuple(self.benchmarks[i] for i in kept),
            at=self.at[kept],
        )


@dataclass(frozen=True, slots=True)
class _Cell:
    """One arm's outcome on one query."""

    score: float
    usd: float
    nano_usd: int
    input_tokens: int
    completion_tokens: int
    seconds: float


def load_pool(data_dir: Path | str, pools_file: Path | str, pool_name: str) -> OutcomeTable:
    """Read a pool's outcomes, in the set's order; queries that lack an outcome for any arm of the pool are left out.

    Where the set has several rows for a query and an arm without a ``variant`` (two turns, say), they count as samples
    of one outcome: score, tokens and cost are their means.

    Raises:
        PoolError: A file, column or field is missing or empty where it must not be; the message names it.
    """
    pool = load_pool_definition(Path(pools_file), pool_name)
    folder = Path(data_dir) / pool.set_name
    columns = (*QUERY_COLUMNS, pool.domain, *(column for column, _ in pool.where))
    queries = _read_columns(folder / "queries.parquet", columns, optional=("benchmark",))
    outcomes = _read_columns(folder / "outcomes.parquet", OUTCOME_COLUMNS, models={arm.arm.model for arm in pool.arms})
    cells = [_cells(outcomes, arm, pool=pool, file=folder / "outcomes.parquet") for arm in pool.arms]
    kept = [row for row in _wanted(queries, pool) if all(queries["query_id"][row] in arm for arm in cells)]
    if not kept:
        raise PoolError(f"{folder / 'outcomes.parquet'}: no query has an outcome for every arm of {pool_name!r}")
    return _table(pool, {name: [values[row] for row in kept] for name, values in queries.items()}, cells)


def split_halves(texts: Sequence[str]) -> Mask:
    """Side of each text, shape (n,): half 1 where true. It depends on the text alone, so equal texts never part."""
    raw = (text.encode("utf-8", "surrogatepass") for text in texts)
    return np.array([hashlib.sha256(b"half\0" + each).digest()[0] & 1 for each in raw], dtype=np.bool_)


def _read_columns(
    file: Path, columns: Sequence[str], *, optional: Sequence[str] = (), models: set[str] | None = None
) -> Columns:
    import pyarrow.compute as pc  # heavy, and the serving process must not pay for it
    import pyarrow.parquet as pq

    wanted = list(dict.fromkeys(columns))
    if not file.is_file():
        raise PoolError(f"{file}: no such file; a data directory holds one folder per set")
    try:
        found = pq.read_schema(file).names
        missing = [column for column in wanted if column not in found]
        if missing:
            raise PoolError(f"{file}: column {missing[0]!r} is missing")
        wanted += [column for column in optional if column in found and column not in wanted]
        filters = None if models is None else pc.field("model").isin(sorted(models))
        table = pq.read_table(file, columns=wanted, filters=filters)
    except PoolError:
        raise
    except (OSError, ValueError) as problem:
        raise PoolError(f"{file}: not readable as Parquet: {problem}") from problem
    return {column: table.column(column).to_pylist() for column in wanted}


def _wanted(queries: Columns, pool: Pool) -> list[int]:
    rows = range(len(queries["query_id"]))
    return [row for row in rows if all(queries[column][row] == value for column, value in pool.where)]


def _cells(outcomes: Columns, arm: PoolArm, *, pool: Pool, file: Path) -> Mapping[object, _Cell]:
    """Outcome of ``arm`` on each query it has one for, by query id."""
    samples: dict[object, list[_Cell]] = {}
    for row, model in enumerate(outcomes["model"]):
        if model != arm.arm.model or outcomes["mode"][row] != arm.arm.mode:
            continue
        if arm.variant is not None and outcomes["variant"][row] != arm.variant:
            continue
        outcome = {name: values[row] for name, values in outcomes.items()}
        samples.setdefault(outcome["query_id"], []).append(_cell(outcome, arm, pool=pool, file=file))
    if not samples:
        raise PoolError(f"{file}: no row for arm {arm.arm} (variant {arm.variant!r}) of pool {pool.name!r}")
    return {query_id: cells[0] if len(cells) == 1 else _mean(cells) for query_id, cells in samples.items()}


def _cell(outcome: Mapping[str, object], arm: PoolArm, *, pool: Pool, file: Path) -> _Cell:
    where = f"{file}: query {outcome['query_id']!r}, arm {arm.arm}"
    counted = outcome["token_source"] in COUNTS_HIDDEN_REASONING
    nominal = None if counted else arm.nominal_completion_tokens
    tokens = nominal if nominal is not None else _number(outcome, "completion_tokens", where=where)
    usage = Usage(input=int(_number(outcome, "prompt_tokens", where=where)), output=int(tokens))
    recorded = outcome["cost_usd"] if pool.use_recorded_cost else None
    if recorded is None and arm.price is None:
        raise PoolError(f"{where}: column 'cost_usd' is empty and the pool gives no usd_per_mtok")
    nano_usd = cost_nano_usd(usage, arm.price) if recorded is None else round(float(str(recorded)) * NANO)
    latency_s = outcome["latency_s"]
    return _Cell(
        score=float(_number(outcome, "score", where=where)),
        usd=nano_usd / NANO if recorded is None else float(str(recorded)),
        nano_usd=nano_usd,
        input_tokens=usage.input,
        completion_tokens=usage.output,
        seconds=float("nan") if latency_s is None else float(str(latency_s)),
    )


def _number(outcome: Mapping[str, object], column: str, *, where: str) -> float:
    value = outcome[column]
    if not isinstance(value, int | float) or value != value:
        raise PoolError(f"{where}: column {column!r} is empty")
    return value


def _mean(cells: Sequence[_Cell]) -> _Cell:
    return _Cell(
        score=float(np.mean([cell.score for cell in cells])),
        usd=float(np.mean([cell.usd for cell in cells])),
        nano_usd=-(-sum(cell.nano_usd for cell in cells) // len(cells)),
        input_tokens=-(-sum(cell.input_tokens for cell in cells) // len(cells)),
        completion_tokens=-(-sum(cell.completion_tokens for cell in cells) // len(cells)),
        seconds=float(np.mean([cell.seconds for cell in cells])),
    )


def _table(pool: Pool, queries: Columns, arms: Sequence[Mapping[object, _Cell]]) -> OutcomeTable:
    grid = [[cells[query_id] for cells in arms] for query_id in queries["query_id"]]
    input_tokens = np.array([[cell.input_tokens for cell in row] for row in grid], dtype=np.int64)
    return OutcomeTable(
        name=pool.name,
        query_ids=tuple(str(value) for value in queries["query_id"]),
        prompts=tuple(str(value) for value in queries["prompt"]),
        domains=tuple(str(value) for value in queries[pool.domain]),
        arms=tuple(arm.arm for arm in pool.arms),
        scores=np.array([[cell.score for cell in row] for row in grid]),
        usd=np.array([[cell.usd for cell in row] for row in grid]),
        nano_usd=np.array([[cell.nano_usd for cell in row] for row in grid], dtype=np.int64),
        prompt_tokens=input_tokens[:, 0],
        input_tokens=input_tokens,
        completion_tokens=np.array([[cell.completion_tokens for cell in row] for row in grid], dtype=np.int64),
        seconds=np.array([[cell.seconds for cell in row] for row in grid]),
        prices=tuple(arm.price for arm in pool.arms),
        benchmarks=tuple("" if value is None else str(value) for value in queries.get("benchmark", [])),
    )
