"""Tables from records: what is kept, averaged, priced and refused."""

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from policies.features import estimate_tokens
from policies.prices import Price
from policies.tables import load_pool
from training.records.record import RecordError
from training.records.stream import RecordStream, open_records
from training.records.table import table_from_records

FILES = Path(__file__).parent / "files"


def row(query: str, model: str, **cells: Any) -> dict[str, Any]:
    return {"query_id": query, "prompt": f"text of {query}", "model": model, "score": 1.0, "usd": 0.5, **cells}


def stream(folder: Path, *rows: dict[str, Any]) -> RecordStream:
    file = folder / "long.jsonl"
    file.write_bytes(b"".join(orjson.dumps(each) + b"\n" for each in rows))
    return open_records(file)


def test_a_long_csv_becomes_a_table_with_arms_by_name() -> None:
    table, coverage = table_from_records(open_records(FILES / "plain/long.csv"))
    assert table.arm_names == ("gpt-5-mini/reasoning:low", "qwen3-8b/instant")
    assert table.scores.tolist() == [[1.0, 0.0], [0.75, 1.0]]
    assert (table.prompts[1], table.domains, table.at.tolist()) == (
        "Name a colour",
        ("facts", "chat"),
        [1.7e9, 1.7000001e9],
    )
    assert (table.completion_tokens.tolist(), table.nano_usd[0].tolist()) == ([[240, 8], [90, 2]], [500_000, 10_000])
    assert (coverage.n_queries, coverage.n_kept, coverage.n_unscored) == (2, 2, 0)


def test_queries_that_lack_a_scored_outcome_of_an_arm_are_dropped_and_counted(tmp_path: Path) -> None:
    rows = [row("q1", "a"), row("q1", "b"), row("q2", "a"), row("q3", "a"), row("q3", "b", score=None)]
    table, coverage = table_from_records(stream(tmp_path, *rows))
    assert (table.query_ids, coverage.n_queries, coverage.n_kept, coverage.n_unscored) == (("q1",), 3, 1, 1)
    assert coverage.by_arm == {"a/instant": 3, "b/instant": 1}


def test_only_the_arms_asked_for_count_and_in_that_order(tmp_path: Path) -> None:
    rows = [row("q1", "a"), row("q1", "b", score=0.5), row("q2", "a"), row("q2", "c", score=0.0)]
    table, _ = table_from_records(stream(tmp_path, *rows), arms=["b/instant", "a/instant"])
    assert (table.query_ids, table.scores.tolist()) == (("q1",), [[0.5, 1.0]])


def test_several_records_of_a_cell_are_averaged_and_counts_rounded_up(tmp_path: Path) -> None:
    first = row("q1", "a", score=1.0, usd=1e-9, input_tokens=3, output_tokens=4, latency_s=1.0)
    second = row("q1", "a", score=0.5, usd=2e-9, input_tokens=4, output_tokens=4, latency_s=2.0)
    table, _ = table_from_records(stream(tmp_path, first, second))
    assert (table.scores[0, 0], table.nano_usd[0, 0], table.input_tokens[0, 0]) == (0.75, 2, 4)
    assert (table.seconds[0, 0], table.usd[0, 0]) == (1.5, pytest.approx(1.5e-9))


def test_a_price_replaces_the_recorded_cost_and_charges_cached_tokens_apart(tmp_path: Path) -> None:
    tokens = {"input_tokens": 100, "cached_input_tokens": 60, "output_tokens": 10}
    prices = {"a/instant": Price(input=10**9, output=2 * 10**9, cached_input=10**8)}
    table, _ = table_from_records(stream(tmp_path, row("q1", "a", **tokens), row("q1", "b")), prices=prices)
    assert table.nano_usd.tolist() == [[40 * 1000 + 60 * 100 + 10 * 2000, 500_000_000]]
    assert table.prices == (prices["a/instant"], None)


def test_nominal_tokens_and_an_estimate_stand_in_for_counts_that_are_not_there(tmp_path: Path) -> None:
    price = {"a/instant": Price(10**9, 10**9)}
    source = stream(tmp_path, row("q1", "a", usd=None))
    table, _ = table_from_records(source, prices=price, nominal_output_tokens={"a/instant": 50})
    tokens = estimate_tokens("text of q1")
    assert (table.input_tokens[0, 0], table.completion_tokens[0, 0]) == (tokens, 50)
    assert table.nano_usd[0, 0] == (tokens + 50) * 1000
    with pytest.raises(RecordError, match=r"column 'output_tokens': query 'q1', arm a/instant: is empty; give nominal"):
        table_from_records(source, prices=price)


def test_a_cost_that_nobody_knows_is_an_error_and_never_zero(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"long\.jsonl, column 'usd': query 'q1', arm a/instant: is empty; give"):
        table_from_records(stream(tmp_path, row("q1", "a", usd=None)))


def test_arms_that_never_met_on_a_query_are_told_with_their_counts(tmp_path: Path) -> None:
    source = stream(tmp_path, row("q1", "a"), row("q2", "a"), row("q3", "b"))
    with pytest.raises(RecordError, match=r"no query of 3 has .* every arm; name the arms .*: b/instant \(1\), a"):
        table_from_records(source)
    with pytest.raises(RecordError, match=r"no arm 'c/instant' in it; it has a/instant, b/instant"):
        table_from_records(source, arms=["c/instant"])
    with pytest.raises(RecordError, match="an arm is named twice"):
        table_from_records(source, arms=["a/instant", "a/instant"])


def test_a_stream_without_any_score_says_so(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="has no scored record"):
        table_from_records(stream(tmp_path, row("q1", "a", score=None)))


OUTCOME_COLUMNS = (
    *("query_id", "model", "mode", "variant", "token_source"),
    *("score", "n_samples", "prompt_tokens", "completion_tokens", "latency_s", "cost_usd"),
)


def drawn(rng: np.random.Generator) -> tuple[float, int, int, int, float]:
    return float(rng.random()), 1, int(rng.integers(1, 99)), int(rng.integers(1, 99)), float(rng.random())


def write_set(folder: Path) -> tuple[Path, Path]:
    """A set of 40 queries and two arms, one with efforts and turns, and a pool over it."""
    rng, place = np.random.default_rng(0), folder / "s"
    place.mkdir()
    ids = [f"q{i}" for i in range(40)]
    columns = {"query_id": ids, "prompt": [f"text {i}" for i in ids], "subject": ["x", "y"] * 20, "group": ["g"] * 40}
    pq.write_table(pa.table(columns | {"benchmark": ["b"] * 40}), place / "queries.parquet")
    kinds = [
        ("a", "instant", "turn1", "api"),
        ("a", "instant", "turn2", "api"),
        ("r", "reasoning", "effort=low", "api"),
    ]
    outcomes = [
        dict(zip(OUTCOME_COLUMNS, (query, *kind, *drawn(rng), None), strict=True))
        for query in ids[:30] + ids[29:]
        for kind in kinds
    ]
    types = (*[pa.string()] * 5, pa.float64(), *[pa.int32()] * 3, pa.float64(), pa.float64())
    schema = pa.schema(list(zip(OUTCOME_COLUMNS, types, strict=True)))
    pq.write_table(pa.Table.from_pylist(outcomes, schema=schema), place / "outcomes.parquet")
    price = {"input": 0.15, "output": 0.6}
    arms = [{"model": "a", "mode": "instant", "usd_per_mtok": price},
            {"model": "r", "mode": "reasoning", "variant": "effort=low", "usd_per_mtok": price}]  # fmt: skip
    pools = folder / "pools.json"
    pools.write_bytes(orjson.dumps({"p": {"set": "s", "domain": "subject", "arms": arms}}))
    return place, pools


def test_a_set_read_as_records_is_the_table_that_its_pool_gives(tmp_path: Path) -> None:
    place, pools = write_set(tmp_path)
    pool = load_pool(tmp_path, pools, "p")
    prices = {name: price for name, price in zip(pool.arm_names, pool.prices, strict=True) if price}
    table, _ = table_from_records(open_records(place), arms=pool.arm_names, prices=prices)
    for name in ("query_ids", "prompts", "domains", "benchmarks", "arms", "prices"):
        assert getattr(table, name) == getattr(pool, name)
    for name in ("scores", "usd", "nano_usd", "input_tokens", "completion_tokens", "prompt_tokens", "seconds"):
        np.testing.assert_allclose(getattr(table, name), getattr(pool, name), rtol=1e-12)


def test_an_outcome_of_a_query_that_the_set_does_not_hold_is_named(tmp_path: Path) -> None:
    place, _ = write_set(tmp_path)
    queries = pq.read_table(place / "queries.parquet")
    pq.write_table(queries.slice(1), place / "queries.parquet")
    with pytest.raises(RecordError, match=r"outcomes\.parquet, row 1, column 'query_id': holds 'q0'; add this"):
        list(open_records(place))
