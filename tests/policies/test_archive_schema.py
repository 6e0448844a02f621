"""The archive's reader: types kept, repeats dropped, outcomes and feedback joined."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from policies.archive_schema import (
    DamagedPartition,
    Entry,
    partitions,
    read_log,
    read_partition,
    schema,
    to_table,
)
from policies.records import AttemptRecord, DecisionRow, FeedbackRow, OutcomeRow

DECISION = DecisionRow(
    request_id="r1", decision_id="d1", client_request_id=None, organisation="o", tenant="t", key_id="k", session="s",
    turn=2, kind="drawn", requested_model="auto", arm="a", arms=["a", "b"], propensities=[0.9, 0.1],
    quality=[0.5, None], quality_sd=[None, None], usd=[0.1, None], seconds=[1.0, 2.0], revisions=["x", "y"],
    removed={"c": "no tools"}, trade_off=[20.0, 0.0, 0.5, None], explore=0.02, policy="p@1", config="h",
    encoder_id="e", far=False, state="live", stream=True, prompt_tokens=30, features=[0.1, 0.2], embedding_dim=4,
    max_tokens=256,
    tags={"team": "x"}, redraws=[{"arm": "b"}], observed={"arm": "a"},
)  # fmt: skip
OUTCOME = OutcomeRow(
    request_id="r1", decision_id="d1", client_request_id=None, organisation="o", tenant="t", status="ok",
    http_status=200, served_arm="a", upstream_model="m", input_tokens=30, output_tokens=5, cached_input_tokens=0,
    cache_write_tokens=0, reasoning_tokens=0, usage_source="upstream", usage_flags=[], nano_usd=2**53 + 1, seconds=0.5,
    ttft_s=None, overhead_s=0.001, finish_reasons=["stop"], tool_calls=0,
    attempts=[AttemptRecord(deployment="m-0", arm="a", revision="x", kind="ok", status=200, seconds=0.4)],
)  # fmt: skip
FEEDBACK = FeedbackRow(
    feedback_id="f1", request_id="r1", decision_id="d1", organisation="o", tenant="t", metric="score", value=0.25
)
EMBEDDING = np.array([0.5, -1, 2, 0], np.float16).tobytes()


def entry(row: DecisionRow | OutcomeRow | FeedbackRow, ms: int, embedding: bytes = b"") -> Entry:
    return Entry(stream_id=f"{ms}-0", at=ms / 1000, row=orjson.dumps(asdict(row)), embedding=embedding)


def write(directory: Path, kind: str, *entries: Entry, shard: int = 3) -> Path:
    folder = directory / "archive" / kind / f"shard={shard:02d}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{entries[0].stream_id}-{entries[-1].stream_id}.parquet"
    pq.write_table(to_table(kind, entries), path)
    return path


def rows(directory: Path, **options: Any) -> list[dict[str, object]]:
    return [row for table in read_log(directory, **options) for row in table.to_pylist()]


def test_a_decision_comes_back_as_it_was(tmp_path: Path) -> None:
    table = read_partition(write(tmp_path, "decisions", entry(DECISION, 1000, EMBEDDING)), "decisions")
    (row,) = table.to_pylist()
    assert (row.pop("stream_id"), row.pop("at"), row.pop("embedding")) == ("1000-0", 1.0, EMBEDDING)
    row |= {"removed": dict(row["removed"]), "tags": dict(row["tags"])}
    row |= {"redraws": orjson.loads(row["redraws"]), "observed": orjson.loads(row["observed"])}
    assert DecisionRow(**row) == DECISION


def test_an_outcome_comes_back_to_the_nano_dollar(tmp_path: Path) -> None:
    table = read_partition(write(tmp_path, "outcomes", entry(OUTCOME, 1000)), "outcomes")
    (row,) = table.drop_columns(["stream_id", "at"]).to_pylist()
    row["attempts"] = [AttemptRecord(**attempt) for attempt in orjson.loads(row["attempts"])]
    assert OutcomeRow(**row) == OUTCOME


def test_a_request_is_joined_with_its_outcome_and_the_last_feedback_on_its_decision(tmp_path: Path) -> None:
    sticky = replace(DECISION, request_id="r2", kind="sticky")
    write(tmp_path, "decisions", entry(DECISION, 1000), entry(sticky, 2000))
    write(tmp_path, "outcomes", entry(OUTCOME, 1500))
    better = replace(FEEDBACK, feedback_id="f2", value=0.75)
    write(tmp_path, "feedback", entry(better, 4000), entry(FEEDBACK, 3000))
    first, second = rows(tmp_path)
    assert (first["request_id"], first["outcome_status"], first["outcome_at"]) == ("r1", "ok", 1.5)
    assert (second["request_id"], second["kind"], second["outcome_status"]) == ("r2", "sticky", None)
    assert first["feedback"] == second["feedback"] == [("score", 0.75)]


def test_rows_that_two_partitions_share_are_read_once(tmp_path: Path) -> None:
    other = replace(DECISION, request_id="r2")
    write(tmp_path, "decisions", entry(DECISION, 1000))
    write(tmp_path, "decisions", entry(DECISION, 1000), entry(other, 2000))
    write(tmp_path, "outcomes", entry(OUTCOME, 1500))
    write(tmp_path, "outcomes", entry(OUTCOME, 1500), entry(replace(OUTCOME, request_id="r2"), 2500))
    assert [(row["request_id"], row["outcome_stream_id"]) for row in rows(tmp_path)] == [
        ("r1", "1500-0"),
        ("r2", "2500-0"),
    ]


def test_what_is_live_and_archived_is_read_once(tmp_path: Path) -> None:
    write(tmp_path, "decisions", entry(DECISION, 1000))
    live = {3: {"decisions": [to_table("decisions", [entry(DECISION, 1000)])],
                "outcomes": [to_table("outcomes", [entry(OUTCOME, 1500)])]}}  # fmt: skip
    (table,) = read_log(tmp_path, live=live)
    assert table["outcome_status"].to_pylist() == ["ok"]


def test_an_outcome_without_its_decision_is_not_lost(tmp_path: Path) -> None:
    write(tmp_path, "outcomes", entry(OUTCOME, 1500))
    (row,) = rows(tmp_path)
    assert (row["request_id"], row["tenant"], row["outcome_status"], row["kind"]) == ("r1", "t", "ok", None)


def test_since_leaves_out_what_began_before(tmp_path: Path) -> None:
    write(tmp_path, "decisions", entry(DECISION, 1000))
    write(tmp_path, "decisions", entry(replace(DECISION, request_id="r2"), 2000))
    assert [row["request_id"] for row in rows(tmp_path, since=1.5)] == ["r2"]


def test_until_leaves_out_what_began_then_and_the_outcomes_of_that(tmp_path: Path) -> None:
    write(tmp_path, "decisions", entry(DECISION, 1000))
    write(tmp_path, "decisions", entry(replace(DECISION, request_id="r2"), 2000))
    write(tmp_path, "outcomes", entry(OUTCOME, 1500), entry(replace(OUTCOME, request_id="r2"), 2500))
    assert [(row["request_id"], row["outcome_status"]) for row in rows(tmp_path, until=2.0)] == [("r1", "ok")]
    assert [row["request_id"] for row in rows(tmp_path, since=1.0, until=2.5)] == ["r1", "r2"]


def test_only_the_columns_asked_for_are_there(tmp_path: Path) -> None:
    write(tmp_path, "decisions", entry(DECISION, 1000, EMBEDDING))
    write(tmp_path, "outcomes", entry(OUTCOME, 1500), entry(replace(OUTCOME, request_id="lost"), 1600))
    assert rows(tmp_path, columns=["outcome_status", "kind"]) == [
        {"kind": "drawn", "outcome_status": "ok"},
        {"kind": None, "outcome_status": "ok"},
    ]
    assert rows(tmp_path, columns=["turn"]) == [{"turn": 2}, {"turn": None}]
    assert rows(tmp_path, columns=["feedback"]) == [{"feedback": []}, {"feedback": []}]
    with pytest.raises(ValueError, match="no column 'outcome_arm'"):
        rows(tmp_path, columns=["arm", "outcome_arm"])


@pytest.mark.parametrize("left_out", ["at", "outcome_served_arm", "feedback", "embedding"])
def test_a_column_is_the_same_with_and_without_another(tmp_path: Path, left_out: str) -> None:
    requests = [replace(DECISION, request_id=f"r{i}", decision_id=f"d{i // 2}") for i in range(6)]
    write(tmp_path, "decisions", *(entry(each, 1000 + i, EMBEDDING) for i, each in enumerate(requests)))
    write(tmp_path, "decisions", *(entry(each, 1003 + i, EMBEDDING) for i, each in enumerate(requests[3:])))
    ended = [entry(replace(OUTCOME, request_id=f"r{i}", served_arm="ab"[i % 2]), 2000 + i) for i in (4, 2, 0, 9)]
    write(tmp_path, "outcomes", *ended)
    write(tmp_path, "feedback", entry(replace(FEEDBACK, decision_id="d2"), 3000))
    (whole,) = {table.schema for table in read_log(tmp_path)}
    kept = [name for name in whole.names if name != left_out]
    assert rows(tmp_path, columns=kept) == [
        {name: value for name, value in row.items() if name != left_out} for row in rows(tmp_path)
    ]


def test_records_that_many_partitions_repeat_are_read_once(tmp_path: Path) -> None:
    """With and without an outcome, within a partition and across, and feedback whose repeat came later."""
    again = [replace(DECISION, request_id=each) for each in ("r1", "r2", "r1", "r3", "r2")]
    for start in (1000, 2000, 3000):
        write(tmp_path, "decisions", *(entry(each, start + i) for i, each in enumerate(again)))
        write(
            tmp_path, "outcomes", entry(OUTCOME, start + 500), entry(replace(OUTCOME, request_id="lost"), start + 501)
        )
        write(tmp_path, "feedback", entry(replace(FEEDBACK, value=start / 10_000), start + 600))
    found = [(row["request_id"], row["outcome_stream_id"], row["feedback"]) for row in rows(tmp_path)]
    first = [("score", 0.1)]  # a record is what its first copy says
    assert found == [("r1", "1500-0", first), ("r2", None, first), ("r3", None, first), ("lost", "1501-0", first)]


def test_feedback_that_comes_much_later_wins_and_every_metric_keeps_its_own(tmp_path: Path) -> None:
    other = replace(DECISION, request_id="r2", decision_id="d2")
    write(tmp_path, "decisions", entry(DECISION, 1000), entry(other, 1001))
    given = [("f1", "thumbs", 1.0, 2000), ("f2", "score", 0.5, 2001), ("f3", "thumbs", 0.0, 86_400_000)]
    for name, metric, value, ms in given:
        write(tmp_path, "feedback", entry(replace(FEEDBACK, feedback_id=name, metric=metric, value=value), ms))
    judged, unjudged = rows(tmp_path)
    assert judged["feedback"] == [("thumbs", 0.0), ("score", 0.5)]
    assert unjudged["feedback"] == []


def test_a_log_of_older_versions_is_joined_with_nulls_for_what_they_did_not_write(tmp_path: Path) -> None:
    path = write(tmp_path, "decisions", entry(DECISION, 1000, EMBEDDING))
    pq.write_table(to_table("decisions", [entry(DECISION, 1000, EMBEDDING)]).drop_columns(["far", "embedding"]), path)
    path = write(tmp_path, "outcomes", entry(OUTCOME, 1500))
    pq.write_table(to_table("outcomes", [entry(OUTCOME, 1500)]).drop_columns(["served_arm", "ttft_s"]), path)
    write(tmp_path, "decisions", entry(replace(DECISION, request_id="r2"), 2000, EMBEDDING))
    columns = ["request_id", "far", "embedding", "outcome_served_arm"]
    old, new = rows(tmp_path, columns=columns)
    assert old == {"request_id": "r1", "far": None, "embedding": None, "outcome_served_arm": None}
    assert new == {"request_id": "r2", "far": False, "embedding": EMBEDDING, "outcome_served_arm": None}


@pytest.mark.parametrize("kind", ["decisions", "outcomes", "feedback"])
@pytest.mark.parametrize("keep", [0, 100, -100])
def test_a_damaged_partition_is_named(tmp_path: Path, kind: str, keep: int) -> None:
    write(tmp_path, "decisions", entry(DECISION, 1000))
    path = write(tmp_path, kind, entry({"decisions": DECISION, "outcomes": OUTCOME, "feedback": FEEDBACK}[kind], 1000))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DamagedPartition, match=f"{path.name}: no readable partition"):
        rows(tmp_path)


def test_partitions_are_in_the_order_of_the_stream_not_of_their_names(tmp_path: Path) -> None:
    write(tmp_path, "decisions", entry(DECISION, 1000))
    write(tmp_path, "decisions", entry(DECISION, 999))
    write(tmp_path, "decisions", replace(entry(DECISION, 1000), stream_id="1000-10"))
    write(tmp_path, "decisions", replace(entry(DECISION, 1000), stream_id="1000-9"))
    names = [path.name for path in partitions(tmp_path, "decisions")[3]]
    ids = ["999-0", "1000-0", "1000-9", "1000-10"]
    assert names == [f"{stream_id}-{stream_id}.parquet" for stream_id in ids]


def test_a_partition_of_an_older_version_has_nulls_for_what_it_did_not_know(tmp_path: Path) -> None:
    path = write(tmp_path, "feedback", entry(FEEDBACK, 1000))
    pq.write_table(to_table("feedback", [entry(FEEDBACK, 1000)]).drop_columns(["comment", "source"]), path)
    table = read_partition(path, "feedback")
    assert table.schema == schema("feedback")
    assert table["source"].to_pylist() == [None]


@pytest.mark.parametrize("row", [b"{", b"[]", b'{"turn": "two"}', b'{"arms": 5}'])
def test_a_row_that_does_not_fit_is_refused(row: bytes) -> None:
    with pytest.raises((ValueError, TypeError)):
        to_table("decisions", [Entry(stream_id="1-0", at=0.0, row=row)])


def test_an_empty_directory_is_an_empty_log(tmp_path: Path) -> None:
    assert list(read_log(tmp_path)) == []
    assert isinstance(schema("outcomes"), pa.Schema)
