"""`gearshift evaluate` as people and programs meet it."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from logged_world import ARMS, Row, rows_of, simulated
from typer.testing import CliRunner

from training.commands.evaluate import command
from training.contender import Sample

Archive = Callable[[Sequence[Row]], Path]
PLAIN = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}


@pytest.fixture
def folder(world: Sample, archive: Archive) -> Path:
    return archive(rows_of(simulated(world, np.tile([0.4, 0.5, 0.1], (len(world), 1)), n=1_200)))


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(command, list(arguments), env=PLAIN)
    return done.exit_code, done.stdout, done.stderr


def test_json_tells_every_estimate_with_its_support(folder: Path) -> None:
    code, out, _ = run("--log", str(folder), "--policy", ARMS[0], "--policy", "uniform", "--json")
    assert code == 0
    result = json.loads(out)
    assert result["log"]["n_rounds"] == 1_200
    assert result["log"]["sample_ratio"]["mismatch"] is False
    cheap = result["policies"][ARMS[0]]
    assert cheap["support"]["effective"] == pytest.approx(480, abs=60)
    assert set(cheap["estimates"]["utility"]) == {"dm", "ips", "snips", "dr", "switch-dr"}
    assert cheap["estimates"]["quality"]["dr"]["low"] < 0.5 < cheap["estimates"]["quality"]["dr"]["high"]
    assert cheap["estimates"]["usd"]["dr"]["value"] == pytest.approx(0.001, abs=1e-4)


def test_people_get_a_table_and_what_it_rests_on(folder: Path) -> None:
    code, out, _ = run("--log", str(folder), "--policy", ARMS[0], "--floor", "0.99", "--reference", ARMS[1])
    assert code == 0
    assert "1,200 rounds of 1,200 rows" in out
    assert "logging (as it was)" in out
    assert f"{ARMS[0]}: floor 0.99 of {ARMS[1]}: broken" in out


def test_a_refusal_is_told_and_is_a_failure_but_the_rest_is_shown(folder: Path) -> None:
    code, out, _ = run("--log", str(folder), "--policy", ARMS[2], "--policy", ARMS[0])
    assert code == 1
    assert "refused" in out
    assert f"{ARMS[2]}: refused: {ARMS[2]}: effective sample size" in out


def test_a_report_is_a_page_with_pictures(folder: Path, tmp_path: Path) -> None:
    code, _, err = run("--log", str(folder), "--policy", ARMS[0], "--report", str(tmp_path / "report"))
    assert code == 0
    assert str(tmp_path / "report" / "evaluation.html") in err
    page = (tmp_path / "report" / "evaluation.html").read_text()
    assert "Off-policy evaluation" in page
    assert "switch-dr" in page
    assert "http" not in page.replace("http://www.w3.org", "")  # loads nothing from elsewhere
    assert {file.name for file in (tmp_path / "report").iterdir()} == {
        *("evaluation.html", "evaluation.json"),
        *(f"forest-{measure}.png" for measure in ("quality", "usd", "seconds", "utility")),
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--policy", "nobody/instant"], "is no artifact's folder, no arm of the log"),
        (["--policy", ARMS[0], "--floor", "0.9"], "--floor needs --reference, an arm of the log"),
        (["--policy", ARMS[0], "--policy", ARMS[0]], "two policies are called"),
        (["--policy", ARMS[0], "--metric", "nothing"], "no round"),
        (["--policy", ARMS[0], "--since", "9e9"], "no drawn decision"),
    ],
)
def test_what_cannot_be_done_is_one_line(folder: Path, arguments: list[str], message: str) -> None:
    code, out, err = run("--log", str(folder), *arguments)
    assert code == 1
    assert message in err.replace("\n", " ")
    assert "Traceback" not in out + err


def test_a_folder_that_is_no_data_directory_is_named(tmp_path: Path) -> None:
    code, _, err = run("--log", str(tmp_path), "--policy", "uniform")
    assert code == 1
    assert "no archive/decisions there" in err
