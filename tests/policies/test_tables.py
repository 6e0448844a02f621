from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.pools import PoolError
from policies.tables import load_pool, split_halves

PRICE = {"input": 1.0, "output": 10.0}
QUERIES: dict[str, list[Any]] = {
    "query_id": ["q1", "q2", "q3"],
    "prompt": ["one", "two", "three"],
    "subject": ["law", "law", "art"],
    "group": ["eval", "other", "eval"],
}


def row(query: str, model: str, **fields: Any) -> dict[str, Any]:
    plain = {"mode": "instant", "variant": "", "score": 1.0, "prompt_tokens": 100, "completion_tokens": 10}
    rest = {"token_source": "o200k_visible", "cost_usd": None, "latency_s": None}
    return {"query_id": query, "model": model, **plain, **rest, **fields}


def write(folder: Path, outcomes: list[dict[str, Any]], arms: list[dict[str, Any]], **pool: Any) -> tuple[Path, Path]:
    (folder / "s").mkdir()
    pq.write_table(pa.table(QUERIES), folder / "s" / "queries.parquet")
    schema = pa.schema({"query_id": pa.string(), "model": pa.string(), "mode": pa.string(), "variant": pa.string(),
                        "score": pa.float64(), "prompt_tokens": pa.int32(), "completion_tokens": pa.int32(),
                        "token_source": pa.string(), "cost_usd": pa.float64(), "latency_s": pa.float64()})  # fmt: skip
    pq.write_table(pa.Table.from_pylist(outcomes, schema=schema), folder / "s" / "outcomes.parquet")
    pools = folder / "pools.json"
    pools.write_bytes(orjson.dumps({"_readme": "", "p": {"set": "s", "domain": "subject", "arms": arms, **pool}}))
    return folder, pools


def arm(model: str, mode: str = "instant", **fields: Any) -> dict[str, Any]:
    return {"model": model, "mode": mode, "usd_per_mtok": PRICE, **fields}


def test_rows_cost_tokens_times_price(tmp_path: Path) -> None:
    outcomes = [row("q1", "a/b", score=0.5, completion_tokens=3, latency_s=1.5), row("q1", "c")]
    table = load_pool(*write(tmp_path, outcomes, [arm("a/b"), arm("c")]), "p")
    assert table.arm_names == ("a/b/instant", "c/instant")
    assert table.scores.tolist() == [[0.5, 1.0]]
    assert table.nano_usd.tolist() == [[100 * 1000 + 3 * 10_000, 200_000]]
    assert table.usd.tolist() == [[0.00013, 0.0002]]
    assert table.seconds[0, 0] == 1.5
    assert np.isnan(table.seconds[0, 1])


def test_queries_that_lack_an_arm_are_left_out(tmp_path: Path) -> None:
    outcomes = [row("q1", "a"), row("q2", "a"), row("q3", "a"), row("q2", "b"), row("q3", "b", mode="reasoning")]
    assert load_pool(*write(tmp_path, outcomes, [arm("a"), arm("b")]), "p").query_ids == ("q2",)


def test_nominal_tokens_stand_in_only_where_hidden_reasoning_was_not_counted(tmp_path: Path) -> None:
    sources = ["o200k_visible", "none", "api"]
    outcomes = [row(f"q{i}", "a", token_source=source) for i, source in enumerate(sources, start=1)]
    outcomes[1]["completion_tokens"] = None
    table = load_pool(*write(tmp_path, outcomes, [arm("a", nominal_completion_tokens=500)]), "p")
    assert table.completion_tokens[:, 0].tolist() == [500, 500, 10]


def test_only_the_declared_variant_counts_and_names_the_effort(tmp_path: Path) -> None:
    outcomes = [
        row("q1", "a", mode="reasoning", variant=f"effort={e}", score=s) for e, s in (("low", 0.0), ("high", 1.0))
    ]
    arms = [arm("a", "reasoning", variant="effort=low"), arm("a", "reasoning", variant="effort=high")]
    table = load_pool(*write(tmp_path, outcomes, arms), "p")
    assert table.arm_names == ("a/reasoning:low", "a/reasoning:high")
    assert table.scores.tolist() == [[0.0, 1.0]]


def test_where_keeps_the_matching_queries(tmp_path: Path) -> None:
    outcomes = [row(f"q{i}", "a") for i in (1, 2, 3)]
    table = load_pool(*write(tmp_path, outcomes, [arm("a")], where={"group": "eval"}), "p")
    assert (table.query_ids, table.domains) == (("q1", "q3"), ("law", "art"))


def test_the_benchmark_of_each_query_is_kept_where_the_set_has_it(tmp_path: Path) -> None:
    folder, pools = write(tmp_path, [row(f"q{i}", "a") for i in (1, 2, 3)], [arm("a")])
    without = load_pool(folder, pools, "p")
    assert (without.benchmarks, np.isnan(without.at).tolist()) == (("", "", ""), [True, True, True])
    pq.write_table(pa.table({**QUERIES, "benchmark": ["x", None, "y"]}), folder / "s" / "queries.parquet")
    table = load_pool(folder, pools, "p")
    assert table.benchmarks == ("x", "", "y")
    assert table.rows(np.array([False, True, True])).benchmarks == ("", "y")


def test_times_follow_their_rows(tmp_path: Path) -> None:
    table = load_pool(*write(tmp_path, [row(f"q{i}", "a") for i in (1, 2, 3)], [arm("a")]), "p")
    timed = replace(table, at=np.array([3.0, 1.0, 2.0]))
    assert timed.rows(np.array([True, False, True])).at.tolist() == [3.0, 2.0]


def test_the_recorded_cost_is_used_only_if_the_pool_says_so(tmp_path: Path) -> None:
    outcomes = [row("q1", "a", cost_usd=0.25)]
    folder, pools = write(tmp_path, outcomes, [arm("a")], use_recorded_cost=True)
    assert load_pool(folder, pools, "p").nano_usd.tolist() == [[250_000_000]]
    pools.write_bytes(pools.read_bytes().replace(b'"use_recorded_cost":true', b'"use_recorded_cost":false'))
    assert load_pool(folder, pools, "p").nano_usd.tolist() == [[200_000]]


def test_several_rows_of_one_query_and_arm_are_averaged(tmp_path: Path) -> None:
    outcomes = [
        row("q1", "a", variant="turn1", score=1.0),
        row("q1", "a", variant="turn2", score=0.5, completion_tokens=30),
    ]
    table = load_pool(*write(tmp_path, outcomes, [arm("a")]), "p")
    assert (table.scores[0, 0], table.nano_usd[0, 0]) == (0.75, 300_000)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"score": None}, "column 'score' is empty"),
        ({"completion_tokens": None}, "column 'completion_tokens' is empty"),
        ({"model": "other"}, "no row for arm a/instant"),
    ],
)
def test_a_hole_in_the_outcomes_is_named(tmp_path: Path, broken: dict[str, Any], message: str) -> None:
    with pytest.raises(PoolError, match=rf"outcomes\.parquet.*{message}"):
        load_pool(*write(tmp_path, [row("q1", "a") | broken], [arm("a")]), "p")


def test_a_missing_column_file_or_pool_is_named(tmp_path: Path) -> None:
    folder, pools = write(tmp_path, [row("q1", "a")], [arm("a")])
    with pytest.raises(PoolError, match="no pool 'x'; it holds p"):
        load_pool(folder, pools, "x")
    pq.write_table(pa.table({"query_id": ["q1"]}), folder / "s" / "outcomes.parquet")
    with pytest.raises(PoolError, match=r"outcomes\.parquet: column 'model' is missing"):
        load_pool(folder, pools, "p")
    (folder / "s" / "queries.parquet").unlink()
    with pytest.raises(PoolError, match=r"queries\.parquet: no such file"):
        load_pool(folder, pools, "p")


@given(st.lists(st.text(), max_size=20))
def test_a_text_keeps_its_side_in_any_company(texts: list[str]) -> None:
    together = split_halves(texts)
    assert together.tolist() == [bool(split_halves([text])[0]) for text in texts]


def test_halves_are_about_equal_and_fixed_for_good() -> None:
    sides = split_halves([f"question {i}" for i in range(4_000)])
    assert sides.mean() == pytest.approx(0.5, abs=0.03)  # four standard errors
    assert sides[:8].astype(int).tolist() == [0, 1, 0, 0, 0, 1, 0, 0]  # another split would void every earlier bar
