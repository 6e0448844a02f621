"""A pool as the benchmark needs it: its table and a hash of everything the table was read from."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from policies.pools import PoolError, load_pool_definition
from policies.tables import OutcomeTable, load_pool
from training.records.load import load_outcomes


@dataclass(frozen=True, slots=True)
class PoolData:
    """One pool of one data directory.

    Attributes:
        identity: Hash of the set's files and of the pool's definition, or of all that was read from records.
    """

    table: OutcomeTable
    identity: str


def pool_names(pools_file: Path | None, *, data_dir: Path) -> tuple[str, ...]:
    """Every pool of the file; records that are compared without one are a pool of their own name.

    Raises:
        PoolError: It cannot be read.
    """
    return (data_dir.stem,) if pools_file is None else tuple(_entries(pools_file))


def load_pool_data(data_dir: Path, pools_file: Path | None, pool_name: str) -> PoolData:
    """Read one pool, or ``data_dir`` as records where there is no file of pools.

    Raises:
        PoolError, RecordError: A file, column or field is missing; the message names it.
    """
    if pools_file is None:
        table = load_outcomes(data_dir)
        return PoolData(table, _identity_of(table))
    set_name = _set_name(pools_file, pool_name)
    table = load_pool(data_dir, pools_file, pool_name)
    return PoolData(table, _identity(data_dir / set_name, _entries(pools_file)[pool_name]))


def prompt_bytes(data_dir: Path, pools_file: Path | None, pool_name: str) -> int:
    """Size of the file that holds a pool's prompts; 0 where it cannot be told, which loading the pool will say."""
    try:
        place = data_dir if pools_file is None else data_dir / _set_name(pools_file, pool_name) / "queries.parquet"
        return place.stat().st_size
    except (OSError, PoolError):
        return 0


def _set_name(pools_file: Path, pool_name: str) -> str:
    return load_pool_definition(pools_file, pool_name).set_name


def _entries(pools_file: Path) -> dict[str, Any]:
    try:
        pools = orjson.loads(pools_file.read_bytes())
    except (OSError, ValueError) as problem:
        raise PoolError(f"{pools_file}: cannot be read as JSON: {problem}") from problem
    if not isinstance(pools, dict):
        raise PoolError(f"{pools_file}: expected an object of pools")
    return {name: entry for name, entry in pools.items() if not name.startswith("_")}


def _identity(folder: Path, entry: Any) -> str:
    digest = hashlib.sha256(orjson.dumps(entry, option=orjson.OPT_SORT_KEYS))
    for name in ("queries.parquet", "outcomes.parquet"):
        with (folder / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _identity_of(table: OutcomeTable) -> str:
    texts = (table.query_ids, table.prompts, table.domains, table.benchmarks, table.arm_names)
    digest = hashlib.sha256(orjson.dumps(texts))
    for numbers in (table.scores, table.usd, table.input_tokens, table.completion_tokens, table.seconds, table.at):
        digest.update(numbers.tobytes())
    return digest.hexdigest()
