"""Foreign layouts, as their projects write them, become the same records."""

from pathlib import Path
from typing import Any

import pytest

from policies.features import estimate_tokens
from training.records.record import RecordError
from training.records.stream import open_records

FILES = Path(__file__).parent / "files"


def read(place: str, **options: Any) -> tuple[str, list[dict[str, Any]]]:
    stream = open_records(FILES / place, **options)
    return stream.format, [row for batch in stream for row in batch.to_pylist()]


def test_routerbench_is_unfolded_and_its_oracle_left_out() -> None:
    name, rows = read("routerbench/export.csv")
    assert (name, len(rows)) == ("routerbench", 6)
    assert [row["model"] for row in rows[:2]] == ["tiny/chat-7b", "big-model"]
    assert [row["score"] for row in rows] == [0.0, 1.0, 0.25, 1.0, 0.0, None]
    assert [row["usd"] for row in rows] == [1e-5, 0.002, 2e-5, 0.003, 1e-5, None]
    assert (rows[0]["benchmark"], rows[0]["domain"], rows[0]["query_id"]) == (
        *("mmlu", "mmlu-anatomy", "mmlu-anatomy.val.0"),
    )
    assert rows[0]["output_tokens"] == estimate_tokens("['B']")


def test_routerbench_turns_are_texts_and_not_a_python_list() -> None:
    _, rows = read("routerbench/export.csv")
    assert rows[2]["prompt"] == "I have 2 apples, get 3. How many?\n\nAnd doubled?"
    assert rows[4]["prompt"] == "plain question"


def test_routellm_mmlu_has_a_row_per_model_and_marks_contamination() -> None:
    name, rows = read("routellm/mmlu/responses")
    assert name == "routellm"
    assert [(row["model"], row["score"], row["split"]) for row in rows] == [
        ("weak/chat-8x7b", 0.0, "eval"),
        ("strong-1106", 1.0, "eval"),
        ("weak/chat-8x7b", 1.0, "contaminated"),
        ("strong-1106", 1.0, "contaminated"),
    ]
    assert {(row["benchmark"], row["domain"]) for row in rows} == {("mmlu", "college_law")}
    assert rows[0]["usd"] is rows[0]["output_tokens"] is None


def test_routellm_answers_give_an_estimate_of_their_tokens() -> None:
    _, rows = read("routellm/gsm8k_responses.csv")
    assert [row["model"] for row in rows] == ["weak/chat-8x7b", "strong-1106"]
    assert rows[1]["output_tokens"] == estimate_tokens("3 + 4 = 7. The answer is 7.")


def test_mt_bench_turns_are_samples_of_the_first_turn_out_of_ten() -> None:
    name, rows = read("routellm/mt_bench/judgements.jsonl")
    assert name == "routellm-mtbench"
    assert {row["prompt"] for row in rows} == {"Write a line about rain."}
    assert [row["score"] for row in rows] == [0.9, 0.7, None]
    assert {(row["query_id"], row["domain"]) for row in rows} == {("mt-bench/81", "writing")}


def test_llmrouterbench_takes_the_latest_run_and_no_trial() -> None:
    name, rows = read("llmrouterbench")
    assert (name, len(rows)) == ("llmrouterbench", 5)
    small = [row for row in rows if row["model"] == "small-8b"]
    assert [(row["query_id"], row["score"], row["input_tokens"]) for row in small] == [
        ("sums/test/1", 1.0, 15),
        ("sums/test/2", 0.0, 16),
    ]
    assert small[0]["prompt"] == "Question: two and two?\nAnswer:"


def test_llmrouterbench_cost_zero_is_unknown_and_a_missing_score_stays_missing() -> None:
    _, rows = read("llmrouterbench")
    assert {row["usd"] for row in rows if row["model"] == "small-8b"} == {None}
    assert {(row["usd"], row["score"]) for row in rows if row["benchmark"] == "riddles"} == {(0.001, None)}


def test_routerarena_predictions_keep_cost_tokens_and_the_dataset_of_the_index() -> None:
    name, rows = read("routerarena/router.json")
    assert name == "routerarena"
    assert [(row["model"], row["score"], row["usd"]) for row in rows] == [
        ("vendor/cheap", 0.0, 2.5e-5),
        ("vendor/dear", 1.0, 0.004),
        ("vendor/cheap", None, None),
    ]
    assert [row["benchmark"] for row in rows] == ["AIME", "AIME", "Ethics_justice"]
    assert (rows[1]["input_tokens"], rows[1]["output_tokens"], rows[2]["output_tokens"]) == (99, 300, None)


def test_routerarena_cached_answers_carry_their_grade() -> None:
    name, rows = read("routerarena/cached.jsonl")
    assert name == "routerarena-cached"
    assert [(row["query_id"], row["score"], row["usd"]) for row in rows] == [
        ("AIME_7", 0.0, 2.5e-5),
        ("AIME_8", None, None),
    ]


def test_llmrouter_rows_of_one_query_share_an_id() -> None:
    name, rows = read("llmrouter/default_routing_train_data.jsonl")
    assert (name, rows[0]["query_id"]) == ("llmrouter", rows[1]["query_id"])
    assert [(row["model"], row["score"], row["output_tokens"], row["latency_s"]) for row in rows] == [
        ("chat-8b", 0.0, 4, 1.75),
        ("chat-70b", 1.0, 20, 3.5),
    ]
    assert {(row["domain"], row["split"]) for row in rows} == {("gsm8k", "train")}


def test_modes_that_a_source_does_not_tell_can_be_told() -> None:
    _, rows = read("llmrouter/default_routing_train_data.jsonl", modes={"chat-70b": "reasoning:high"})
    assert [(row["mode"], row["effort"]) for row in rows] == [("instant", ""), ("reasoning", "high")]
    with pytest.raises(RecordError, match="model 'chat-70b': 'fast' is none of instant"):
        read("llmrouter/default_routing_train_data.jsonl", modes={"chat-70b": "fast"})


def test_judgements_without_their_questions_say_what_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "judgements.jsonl"
    file.write_bytes((FILES / "routellm/mt_bench/judgements.jsonl").read_bytes())
    with pytest.raises(RecordError, match=r"judgements\.jsonl: question\.jsonl must lie beside it"):
        list(open_records(file))


def test_a_wide_table_with_a_grade_out_of_range_names_row_and_model(tmp_path: Path) -> None:
    file = tmp_path / "export.csv"
    file.write_text((FILES / "routerbench/export.csv").read_text().replace("0.25", "25"))
    with pytest.raises(RecordError, match=r"export\.csv, row 2, column 'tiny/chat-7b': holds '25'; write a number"):
        list(open_records(file))


def test_a_pickle_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    file = tmp_path / "routerbench_0shot.pkl"
    file.write_bytes(b"\x80\x04cos\nsystem\n")
    with pytest.raises(RecordError, match=r"is a pickle, which runs code when opened; export it as CSV or Parquet"):
        open_records(file)
