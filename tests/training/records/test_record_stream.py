"""Plain tables: detection, columns, errors that say where, and memory that does not grow with the file."""

import tracemalloc
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.records.record import OutcomeRecord, RecordError, arm_fields, record_schema, to_batches
from training.records.stream import formats, open_records

FILES = Path(__file__).parent / "files"
LINE = {"prompt": "p", "model": "m", "score": 1}


def lines(folder: Path, *objects: dict[str, Any]) -> Path:
    file = folder / "long.jsonl"
    file.write_bytes(b"".join(orjson.dumps(each) + b"\n" for each in objects))
    return file


def read(file: Path, **options: Any) -> list[dict[str, Any]]:
    return [row for batch in open_records(file, **options) for row in batch.to_pylist()]


def test_a_long_csv_gives_one_record_per_row_with_its_arm_parted() -> None:
    stream = open_records(FILES / "plain/long.csv")
    (batch,) = stream
    assert (stream.format, batch.schema) == ("plain", record_schema())
    row = batch.to_pylist()[1]
    assert (row["model"], row["mode"], row["effort"], row["score"]) == ("gpt-5-mini", "reasoning", "low", 1.0)
    assert (row["at"], row["output_tokens"], row["usd"], row["latency_s"]) == (1.7e9, 240, 0.0005, 2.5)


def test_rows_without_an_id_are_of_one_query_where_their_prompts_are_equal() -> None:
    first, second, third, fourth = (row["query_id"] for row in read(FILES / "plain/long.csv"))
    assert first == second != third == fourth


def test_csv_jsonl_and_parquet_of_the_same_rows_are_the_same_records(tmp_path: Path) -> None:
    rows = read(FILES / "plain/long.csv")
    kept = [{name: value for name, value in row.items() if value is not None} for row in rows]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "long.parquet")
    assert read(lines(tmp_path, *kept)) == read(tmp_path / "long.parquet") == rows


def test_a_name_says_nothing_about_what_is_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "table.txt").write_bytes((FILES / "plain/long.csv").read_bytes())
    assert read(tmp_path / "table.txt") == read(FILES / "plain/long.csv")


def test_a_json_list_of_rows_is_a_long_table_too(tmp_path: Path) -> None:
    (tmp_path / "long.json").write_bytes(orjson.dumps([LINE] * 3, option=orjson.OPT_INDENT_2))
    stream = open_records(tmp_path / "long.json")
    assert (stream.format, sum(batch.num_rows for batch in stream)) == ("plain", 3)


def test_a_list_longer_than_one_read_is_read_to_its_end(tmp_path: Path) -> None:
    rows = [LINE | {"prompt": f"{'long ' * 100_000}{i}"} for i in range(7)]  # half a megabyte each
    (tmp_path / "long.json").write_bytes(orjson.dumps(rows))
    assert [row["prompt"][-1] for row in read(tmp_path / "long.json")] == list("0123456")


def test_the_columns_of_the_outcome_sets_are_understood(tmp_path: Path) -> None:
    file = lines(tmp_path, LINE | {"prompt_tokens": 7, "completion_tokens": 9, "cost_usd": 0.5})
    (row,) = read(file)
    assert (row["input_tokens"], row["output_tokens"], row["usd"], row["n_samples"]) == (7, 9, 0.5, 1)


def test_an_unjudged_answer_is_kept_without_a_score(tmp_path: Path) -> None:
    assert [row["score"] for row in read(lines(tmp_path, LINE, LINE | {"score": None}))] == [1.0, None]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"score": 3}, r"row 2, column 'score': holds 3; write a number from 0 to 1"),
        ({"score": "good"}, r"row 2, column 'score': holds 'good'; write a number"),
        ({"score": "inf"}, r"row 2, column 'score': holds 'inf'; write a number"),
        ({"model": None}, r"row 2, column 'model': is empty; write a text"),
        ({"mode": "quick"}, r"row 2, column 'mode': holds 'quick'; write one of instant, reasoning, agentic"),
        ({"effort": "some"}, r"row 2, column 'effort': holds 'some'; effort 'some' is none of off"),
        ({"input_tokens": -1}, r"row 2, column 'input_tokens': holds -1; write a count"),
        ({"output_tokens": 1.5}, r"row 2, column 'output_tokens': holds 1\.5; write a whole number"),
        ({"at": "2024-05-01"}, r"row 2, column 'at': holds '2024-05-01'; write POSIX seconds"),
        ({"usd": "a dollar and a half"}, r"row 2, column 'usd': holds a text of 19 characters; write USD"),
        ({"arm": "m/fast"}, r"row 2, column 'arm': holds 'm/fast'; arm 'm/fast' is not written"),
    ],
)
def test_a_wrong_cell_is_named_with_its_row_column_and_what_to_write(
    tmp_path: Path, cells: dict[str, Any], message: str
) -> None:
    file = lines(tmp_path, LINE, LINE | cells)
    with pytest.raises(RecordError, match=rf"long\.jsonl, {message}") as problem:
        read(file)
    assert (problem.value.file, problem.value.row) == (file, 2)


def test_no_message_shows_a_long_text(tmp_path: Path) -> None:
    secret = "the patient's name is not for logs"
    with pytest.raises(RecordError) as problem:
        read(lines(tmp_path, LINE | {"score": secret}))
    assert secret not in str(problem.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.csv",
            "prompt,model,score\np,m,1\np,m\n",
            r"a\.csv, row 2: has another number of cells than the header's 3",
        ),
        ("a.csv", 'prompt,model,score\n"p" q,m,1\n', r"a\.csv, row 1: no CSV"),
        ("a.csv", "question,answer\nx,y\n", r"a\.csv: the columns of this csv file are those of no known format \(ans"),
        ("a.jsonl", '{"prompt":"p","model":"m","score":1}\n{"prompt":\n', r"a\.jsonl, row 2: no JSON"),
        ("a.jsonl", '{"prompt":"p","model":"m","score":1}\n[1]\n', r"a\.jsonl, row 2: holds a list"),
        ("a.json", '[{"global index":"A_1","prompt":"p","prediction":"m"}, {"global', r"row 2: is no whole JSON value"),
        ("a.csv", "", r"a\.csv: is empty"),
        ("a.csv.gz", "\x1f", None),
    ],
)
def test_a_broken_file_is_named_with_the_row_that_breaks(
    tmp_path: Path, name: str, content: str, message: str | None
) -> None:
    file = tmp_path / name
    file.write_bytes(content.encode() if message else b"\x1f\x8b\x08")
    with pytest.raises(RecordError, match=message or "is packed; unpack it first"):
        list(open_records(file))


def test_a_byte_that_is_no_utf_8_names_its_row(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"prompt,model,score\n\xff,m,1\n")
    with pytest.raises(RecordError, match=r"a\.csv, row 1: no UTF-8 from there on"):
        list(open_records(tmp_path / "a.csv", format="plain"))


def test_a_path_or_format_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"nowhere: no such file or folder"):
        open_records(tmp_path / "nowhere")
    with pytest.raises(RecordError, match=r"no format 'xml'; use auto, archive, set"):
        open_records(tmp_path, format="xml")
    with pytest.raises(RecordError, match=r"holds no file that ends in \.csv"):
        open_records(tmp_path)
    assert "plain" in formats()


def test_files_of_two_formats_in_one_folder_are_not_mixed(tmp_path: Path) -> None:
    lines(tmp_path, LINE)
    (tmp_path / "z.csv").write_bytes((FILES / "routerbench/export.csv").read_bytes())
    with pytest.raises(RecordError, match=r"z\.csv: is of format routerbench, long\.jsonl beside it of plain"):
        list(open_records(tmp_path))


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}.csv").write_text(f"prompt,model,score\n{name},m,1\n")
    assert [row["prompt"] for row in read(tmp_path)] == ["a", "b"]


def test_an_arm_name_is_read_back_as_it_is_written() -> None:
    assert arm_fields("org/a:b/instant") == ("org/a:b", "instant", "", "")
    assert arm_fields("m/reasoning:2048+vote=5") == ("m", "reasoning", "2048", "vote=5")
    with pytest.raises(RecordError, match="arm 'm' is not written"):
        arm_fields("m")


def test_batches_hold_as_many_rows_as_asked_and_no_embedding_unless_asked() -> None:
    records = [OutcomeRecord("q", "p", "m", "instant", 1.0, embedding=b"\0\0", encoder_id="e")] * 5
    assert [batch.num_rows for batch in to_batches(records, rows=2)] == [2, 2, 1]
    (batch,) = to_batches(records, embeddings=True)
    assert batch.column("embedding").to_pylist() == [b"\0\0"] * 5
    assert "embedding" not in next(to_batches(records)).schema.names


def test_two_hundred_thousand_rows_need_the_memory_of_one_batch(tmp_path: Path) -> None:
    n, block = 200_000, b"".join(orjson.dumps(LINE | {"prompt": f"{'word ' * 20}{i}"}) + b"\n" for i in range(1_000))
    file = tmp_path / "long.jsonl"
    file.write_bytes(block * (n // 1_000))
    stream, told = open_records(file), []
    assert stream.total_rows == n
    allocated, peak = pa.total_allocated_bytes(), 0
    for batch in stream.batches(progress=lambda *step: told.append(step)):
        peak = max(peak, pa.total_allocated_bytes() - allocated)
        del batch
    assert told[-1] == ("records", n, n)
    assert peak < 8 << 20 < file.stat().st_size  # the file is 30 MB


def test_python_objects_do_not_pile_up_either(tmp_path: Path) -> None:
    file = lines(tmp_path, *[LINE | {"prompt": "w " * 500}] * 20_000)
    tracemalloc.start()
    try:
        n_rows = sum(batch.num_rows for batch in open_records(file).batches(rows=500))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert n_rows == 20_000
    assert peak < 6 << 20 < file.stat().st_size  # 500 records of 1 KB, and the file's buffer; the file is 20 MB
