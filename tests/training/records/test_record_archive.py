"""The gateway's log as records: who served, what a turn cost in all, and feedback as the score."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest

from policies.archive_schema import Entry, to_table
from policies.records import DecisionRow, FeedbackRow, OutcomeRow
from training.records.record import RecordError
from training.records.stream import open_records

DECISION = DecisionRow(
    request_id="r1", decision_id="d1", client_request_id=None, organisation="o", tenant="t", key_id="k", session="s",
    turn=1, kind="drawn", requested_model="auto", arm="m/instant", arms=["m/instant", "big/reasoning:low"],
    propensities=[0.9, 0.1], quality=[0.5, None], quality_sd=[None, None], usd=[0.1, None], seconds=[1.0, 2.0],
    revisions=["x", "y"], removed={}, trade_off=[20.0, 0.0, 0.5, None], explore=0.02, policy="p@1", config="h",
    encoder_id="e", far=False, state="live", stream=True, prompt_tokens=30, features=[0.1], embedding_dim=2,
    tags={"domain": "law"}, prompt="Is it binding?",
)  # fmt: skip
OUTCOME = OutcomeRow(
    request_id="r1", decision_id="d1", client_request_id=None, organisation="o", tenant="t", status="ok",
    http_status=200, served_arm="big/reasoning:low", upstream_model="m", input_tokens=30, output_tokens=5,
    cached_input_tokens=10, cache_write_tokens=0, reasoning_tokens=2, usage_source="upstream", usage_flags=[],
    nano_usd=2_000_000, seconds=0.5, ttft_s=None, overhead_s=0.001, finish_reasons=["stop"], tool_calls=0, attempts=[],
)  # fmt: skip
FEEDBACK = FeedbackRow(
    feedback_id="f1", request_id="r1", decision_id="d1", organisation="o", tenant="t", metric="score", value=0.25
)
EMBEDDING = np.array([0.5, -1], np.float16).tobytes()


def log(directory: Path, **kinds: Any) -> Path:
    for kind, rows in kinds.items():
        folder = directory / "archive" / kind / "shard=03"
        folder.mkdir(parents=True)
        entries = [
            Entry(f"{ms}-0", ms / 1000, orjson.dumps(asdict(row)), EMBEDDING if kind == "decisions" else b"")
            for ms, row in enumerate(rows, start=1000)
        ]
        pq.write_table(to_table(kind, entries), folder / f"1000-0-{999 + len(rows)}-0.parquet")
    return directory


def read(directory: Path, **options: Any) -> list[dict[str, Any]]:
    return [row for batch in open_records(directory, **options) for row in batch.to_pylist()]


def test_the_arm_that_served_gets_the_feedback_and_the_cost(tmp_path: Path) -> None:
    (row,) = read(log(tmp_path, decisions=[DECISION], outcomes=[OUTCOME], feedback=[FEEDBACK]))
    assert (row["query_id"], row["prompt"], row["domain"], row["tenant"], row["at"]) == (
        *("d1", "Is it binding?", "law", "t", 1.0),
    )
    assert (row["model"], row["mode"], row["effort"]) == ("big", "reasoning", "low")
    assert (row["score"], row["usd"], row["latency_s"], row["cached_input_tokens"]) == (0.25, 0.002, 0.5, 10)


def test_the_requests_of_one_turn_are_one_record_with_their_sum(tmp_path: Path) -> None:
    decisions = [DECISION, replace(DECISION, request_id="r2", kind="sticky")]
    outcomes = [OUTCOME, replace(OUTCOME, request_id="r2", output_tokens=7, nano_usd=1_000_000, seconds=1.5)]
    (row,) = read(log(tmp_path, decisions=decisions, outcomes=outcomes))
    assert (row["output_tokens"], row["input_tokens"], row["latency_s"]) == (12, 60, 2.0)
    assert row["usd"] == pytest.approx(0.003)
    assert row["score"] is None


def test_an_unknown_price_anywhere_in_a_turn_makes_its_cost_unknown(tmp_path: Path) -> None:
    decisions = [DECISION, replace(DECISION, request_id="r2", kind="sticky")]
    outcomes = [OUTCOME, replace(OUTCOME, request_id="r2", nano_usd=None)]
    (row,) = read(log(tmp_path, decisions=decisions, outcomes=outcomes))
    assert row["usd"] is None


def test_open_requests_and_outcomes_without_decision_or_label_are_left_out(tmp_path: Path) -> None:
    lost = replace(OUTCOME, request_id="r8", decision_id="d8")
    judged = replace(OUTCOME, request_id="r9", decision_id="d9")
    feedback = [replace(FEEDBACK, request_id="r9", decision_id="d9", value=1.0)]
    rows = read(log(tmp_path, decisions=[DECISION], outcomes=[lost, judged], feedback=feedback))
    assert [(row["query_id"], row["score"], row["prompt"]) for row in rows] == [("d9", 1.0, None)]


def test_the_metric_that_is_the_score_can_be_named(tmp_path: Path) -> None:
    feedback = [FEEDBACK, replace(FEEDBACK, feedback_id="f2", metric="stars", value=4.0)]
    log(tmp_path, decisions=[DECISION], outcomes=[OUTCOME], feedback=feedback)
    assert [row["score"] for row in read(tmp_path)] == [0.25]
    assert [row["score"] for row in read(tmp_path, metric="accept")] == [None]
    with pytest.raises(RecordError, match=r"feedback, column 'stars': request r1: 4\.0 is not within 0\.\.1"):
        read(tmp_path, metric="stars")


def test_logged_embeddings_come_with_their_encoder_when_asked_for(tmp_path: Path) -> None:
    log(tmp_path, decisions=[DECISION], outcomes=[OUTCOME])
    (row,) = read(tmp_path, embeddings=True)
    assert (np.frombuffer(row["embedding"], np.float16).tolist(), row["encoder_id"]) == ([0.5, -1.0], "e")
    assert "embedding" not in read(tmp_path)[0]


def test_a_folder_without_a_log_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="is no gateway's data directory"):
        open_records(tmp_path, format="archive")
