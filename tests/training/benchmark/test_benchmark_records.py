"""The benchmark on records without a file of pools: one pool, named for where they lie, at recorded cost."""

from pathlib import Path

import numpy as np
import orjson
import pytest

from policies.tables import OutcomeTable
from training.benchmark.load import load_pool_data, pool_names


@pytest.fixture
def records(world: OutcomeTable, tmp_path: Path) -> Path:
    """Forty queries of the world as lines."""
    file = tmp_path / "mine.jsonl"
    lines = [
        {"query_id": world.query_ids[row], "prompt": world.prompts[row], "arm": name}
        | {"score": float(world.scores[row, arm]), "usd": float(world.usd[row, arm])}
        for row in range(40)
        for arm, name in enumerate(world.arm_names)
    ]
    file.write_bytes(b"\n".join(orjson.dumps(line) for line in lines))
    return file


def test_records_are_one_pool_of_their_own_name(records: Path, world: OutcomeTable) -> None:
    (name,) = pool_names(None, data_dir=records)
    data = load_pool_data(records, None, name)
    assert name == data.table.name == "mine"
    np.testing.assert_allclose(data.table.usd, world.usd[:40])


def test_one_changed_score_is_other_data(records: Path) -> None:
    before = load_pool_data(records, None, "mine").identity
    assert load_pool_data(records, None, "mine").identity == before
    text = records.read_text()
    records.write_text(text.replace('"score":1.0', '"score":0.5', 1))
    assert load_pool_data(records, None, "mine").identity != before
