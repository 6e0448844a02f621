"""The verb at a terminal: JSON alone on stdout, one line for a mistake."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner, Result

from policies.encoders.base import Encoder
from training.commands.benchmark import command

WriteSet = Callable[..., Path]
Invoke = Callable[..., Result]


@pytest.fixture
def invoke(
    write_set: WriteSet, pools_file: Path, tmp_path: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> Invoke:
    """Runs the verb on the small world with an encoder that needs no weights."""
    monkeypatch.setenv("GEARSHIFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("policies.encoders.load.prepare_encoder", lambda name, *, source: None)
    monkeypatch.setattr("policies.encoders.load.load_encoder", lambda name, *, source: encoder)
    data = write_set("data")

    def run(*arguments: str) -> Result:
        policies = ("--policy", "fixed", "--policy", "global_means", "--policy", "oracle")
        given = ("--train", str(data), "--pools", str(pools_file), "--out", str(tmp_path / "run"), *policies)
        return CliRunner().invoke(command, [*given, "--folds", "2", "--no-report", *arguments])

    return run


def test_json_is_all_there_is_on_stdout(invoke: Invoke, tmp_path: Path) -> None:
    done = invoke("--json")
    assert done.exit_code == 0, done.output
    result: dict[str, Any] = orjson.loads(done.stdout)
    assert set(result["pools"]["easy_hard"]["policies"]) == {"fixed", "global_means", "oracle"}
    assert orjson.loads((tmp_path / "run" / "result.json").read_bytes()) == result


def test_json_tells_what_made_it_and_no_folder_of_this_machine(invoke: Invoke, tmp_path: Path) -> None:
    done = invoke("--json", "--jobs", "1")
    result: dict[str, Any] = orjson.loads(done.stdout)
    assert result["command"] == (
        "gearshift benchmark --train data --pools pools.json --policy fixed --policy global_means --policy oracle "
        "--folds 2 --out run --jobs 1 --no-report --json"
    )
    assert (result["data"], result["jobs"], result["skipped"]) == ("data", 1, {})
    assert result["wall_s"] > 0.0
    assert len(result["code"]) == 12
    assert str(tmp_path) not in done.stdout


def test_table_names_pool_policies_and_the_best_arm(invoke: Invoke) -> None:
    done = invoke()
    assert done.exit_code == 0, done.output
    assert "easy_hard: 2-fold, 120 queries; best single arm dear/instant" in done.stdout
    assert "oracle†" in done.stdout
    assert "\ntook " in done.stdout
    assert "skipped" not in done.output


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_skipped_pool_is_told_once_and_never_among_json(
    invoke: Invoke, pools_file: Path, form: tuple[str, ...]
) -> None:
    pools = orjson.loads(pools_file.read_bytes())
    pools_file.write_bytes(orjson.dumps(pools | {"absent": {**pools["easy_hard"], "set": "nowhere"}}))
    done = invoke(*form)
    assert done.exit_code == 0, done.output
    assert done.output.count("skipped absent: data/nowhere/queries.parquet: no such file") == 1
    assert set(orjson.loads(done.stdout)["skipped"] if form else ("absent",)) == {"absent"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--pool", "nope"), "no pool 'nope'; it holds easy_hard"),
        (("--policy", "nope"), "no policy is named 'nope'"),
        (("--split", "domains:space"), "no domain 'space'; it has easy, hard"),
        (("--test", "/no/such/folder"), "no such file"),
    ],
)
def test_a_mistake_is_one_line_and_status_1(invoke: Invoke, arguments: tuple[str, ...], words: str) -> None:
    done = invoke("--json", *arguments)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert words in done.stderr
    assert "Traceback" not in done.stderr
