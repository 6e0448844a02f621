"""What a command reads when it is pointed at a pool, at records, or at half of either."""

from pathlib import Path

import orjson
import pytest

from policies.pools import PoolError
from training.records.load import load_outcomes
from training.records.record import RecordError


@pytest.fixture
def collected(tmp_path: Path) -> Path:
    """A folder as ``gearshift collect`` leaves it: two arms answered two questions, a third arm one of them."""
    answered = (("small/instant", 1e-6, "ab"), ("big/reasoning:low", 1e-3, "ab"), ("odd/instant", 0.0, "a"))
    rows = [
        {"query_id": query, "prompt": f"question {query}", "arm": arm, "score": 1, "output_tokens": 5, "usd": usd}
        for arm, usd, queries in answered
        for query in queries
    ]
    folder = tmp_path / "outcomes"
    folder.mkdir()
    (folder / "outcomes.jsonl").write_bytes(b"\n".join(orjson.dumps(row) for row in rows))
    (folder / "calls.journal").write_text("not a table")
    return folder


def test_a_collected_folder_is_a_table_of_its_own_name(collected: Path) -> None:
    table = load_outcomes(collected, arms=("small/instant", "big/reasoning:low"))
    assert (table.name, table.prompts) == ("outcomes", ("question a", "question b"))
    assert table.usd.tolist() == [[1e-6, 1e-3]] * 2
    assert table.prices == (None, None)


def test_without_names_only_what_every_arm_answered_is_kept(collected: Path) -> None:
    table = load_outcomes(collected)
    assert table.arm_names == ("big/reasoning:low", "odd/instant", "small/instant")
    assert table.query_ids == ("a",)


@pytest.mark.parametrize(("pools", "pool"), [(Path("pools.json"), None), (None, "mine")])
def test_half_a_pool_is_a_mistake(collected: Path, pools: Path | None, pool: str | None) -> None:
    with pytest.raises(PoolError, match="--pools and --pool belong together"):
        load_outcomes(collected, pools_file=pools, pool=pool)


def test_an_arm_that_nobody_ran_names_those_that_were(collected: Path) -> None:
    with pytest.raises(RecordError, match=r"no arm 'new/instant' in it; it has .*small/instant"):
        load_outcomes(collected, arms=("new/instant",))


def test_arms_of_a_pool_are_not_named_twice(collected: Path) -> None:
    with pytest.raises(PoolError, match=r"those of pool 'mine' stand in pools\.json"):
        load_outcomes(collected, pools_file=Path("pools.json"), pool="mine", arms=("odd/instant",))
