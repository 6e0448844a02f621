"""The small world as a user's data: a folder of Parquet files and a file of pools."""

from collections.abc import Callable
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from policies.tables import OutcomeTable

WriteSet = Callable[..., Path]


def _write(table: OutcomeTable, folder: Path, *, rows: range, benchmarks: bool) -> None:
    folder.mkdir(parents=True)
    queries = {
        "query_id": [table.query_ids[row] for row in rows],
        "prompt": [table.prompts[row] for row in rows],
        "subject": [table.domains[row] for row in rows],
    }
    if benchmarks:
        queries["benchmark"] = ["even" if row % 2 == 0 else "odd" for row in rows]
    outcomes = [
        {
            "query_id": table.query_ids[row],
            "model": arm.model,
            "mode": arm.mode,
            "variant": "",
            "score": float(table.scores[row, index]),
            "prompt_tokens": int(table.input_tokens[row, index]),
            "completion_tokens": int(table.completion_tokens[row, index]),
            "token_source": "api",
            "cost_usd": None,
            "latency_s": None,
        }
        for row in rows
        for index, arm in enumerate(table.arms)
    ]
    pq.write_table(pa.table(queries), folder / "queries.parquet")
    types = pa.schema([("cost_usd", pa.float64()), ("latency_s", pa.float64())])
    made = pa.Table.from_pylist(outcomes)
    for field in types:
        made = made.set_column(made.schema.get_field_index(field.name), field, pa.nulls(len(outcomes), field.type))
    pq.write_table(made, folder / "outcomes.parquet")


@pytest.fixture
def write_set(world: OutcomeTable, tmp_path: Path) -> WriteSet:
    """Writes rows of the world below ``tmp_path/NAME`` and returns that directory."""

    def write(name: str, *, rows: range = range(120), benchmarks: bool = False) -> Path:
        _write(world, tmp_path / name / "world", rows=rows, benchmarks=benchmarks)
        return tmp_path / name

    return write


@pytest.fixture
def pools_file(tmp_path: Path) -> Path:
    """One pool, ``easy_hard``, over the set ``world``."""
    arms = [
        {"model": "cheap", "mode": "instant", "usd_per_mtok": {"input": 0.1, "output": 0.1}},
        {"model": "dear", "mode": "instant", "usd_per_mtok": {"input": 10.0, "output": 10.0}},
    ]
    file = tmp_path / "pools.json"
    file.write_bytes(
        orjson.dumps({"_readme": "two arms", "easy_hard": {"set": "world", "domain": "subject", "arms": arms}})
    )
    return file
