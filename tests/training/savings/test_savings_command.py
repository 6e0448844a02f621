"""`gearshift savings` as people and programs meet it."""

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from logged_world import ARMS, Row, simulated, write_archive
from priced_world import priced_rows
from typer.testing import CliRunner

from training.commands.savings import command
from training.contender import Sample

CHEAP, EVEN, DEAR = ARMS
FORETOLD = (0.001, 0.002, 0.02)
PLAIN = {"COLUMNS": "220", "NO_COLOR": "1", "TERM": "dumb"}


def rows(world: Sample, chances: Sequence[float] = (0.5, 0.3, 0.2), *, n: int = 1_500) -> list[Row]:
    return priced_rows(simulated(world, np.tile(chances, (len(world), 1)), n=n), predicted=FORETOLD)


def run(folder: Path, *arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(command, ["--log", str(folder), *arguments], env=PLAIN)
    return done.exit_code, done.stdout, done.stderr


def told(folder: Path, *arguments: str) -> Any:
    return json.loads(run(folder, *arguments, "--json")[1])


def paid_for(logged: Sequence[Row]) -> int:
    return sum(outcome.nano_usd or 0 for _, _, outcome, _ in logged)


def test_json_tells_savings_quality_and_what_they_rest_on(world: Sample, tmp_path: Path) -> None:
    logged = rows(world)
    found = told(write_archive(tmp_path, logged), "--baseline", DEAR)
    log = simulated(world, np.tile([0.5, 0.3, 0.2], (len(world), 1)), n=1_500)
    baseline = np.tile([0.0, 0.0, 1.0], (len(world), 1))
    quality, usd, _ = log.truth(baseline) - log.truth(log.logging)
    saved, better = found["saved_usd"], found["quality_difference"]
    assert saved["low"] <= 1_500 * usd <= saved["high"]
    assert better["low"] <= -quality <= better["high"]
    assert found["paid"]["by_kind"] == {"drawn": {"requests": 1_500, "nano_usd": paid_for(logged), "unknown": 0}}
    assert found["paid_usd"] == pytest.approx(paid_for(logged) / 1e9)
    assert (found["refused"], found["judged_rounds"], found["log"]["n_rounds"]) == (None, 1_500, 1_500)


def test_a_baseline_that_was_never_drawn_is_refused_and_a_model_stands_in_marked_as_one(
    world: Sample, tmp_path: Path
) -> None:
    logged = rows(world, (0.6, 0.4, 0.0))
    folder = write_archive(tmp_path, logged)
    code, out, _ = run(folder, "--baseline", DEAR)
    assert code == 1
    assert "REFUSED: dear/reasoning: 100.0% of its choices are arms that the log could not have drawn" in out
    assert "BY A MODEL ALONE, with no interval" in out
    assert "quality beside the baseline's: unknown" in out
    found = told(folder, "--baseline", DEAR)
    taken = sum(FORETOLD[ARMS.index(decision.arm)] for decision, _, _, _ in logged)
    paid = paid_for(logged) / 1e9
    assert found["saved_usd"] is found["baseline_usd"] is None
    assert found["modelled"]["scale"] == pytest.approx(paid / taken)
    assert found["modelled"]["saved_usd"] == pytest.approx(paid / taken * 1_500 * FORETOLD[2] - paid)


def test_without_predictions_there_is_no_model(world: Sample, tmp_path: Path) -> None:
    logged = priced_rows(simulated(world, np.tile([0.6, 0.4, 0.0], (len(world), 1)), n=300))
    code, out, _ = run(write_archive(tmp_path, logged), "--baseline", DEAR)
    assert code == 1
    assert "BY A MODEL ALONE, with no interval: no predictions" in out


def test_without_judgements_usd_is_estimated_and_quality_is_unknown(world: Sample, tmp_path: Path) -> None:
    logged: list[Row] = [(*row[:3], None) for row in rows(world)]
    folder = write_archive(tmp_path, logged)
    code, out, _ = run(folder, "--baseline", DEAR)
    assert code == 0
    assert "quality beside the baseline's: unknown (the log holds no round" in out
    found = told(folder, "--baseline", DEAR)
    assert found["saved_usd"]["low"] > 0
    assert found["quality_difference"] is None


def test_cascade_steps_are_own_costs_and_no_rounds(world: Sample, tmp_path: Path) -> None:
    logged = rows(world, n=1_600)
    plain = told(write_archive(tmp_path / "plain", logged[:1_500]), "--baseline", DEAR)
    steps: list[Row] = [
        (replace(decision, parent_id=f"d{place}"), vector, outcome, feedback)
        for place, (decision, vector, outcome, feedback) in enumerate(logged[1_500:])
    ]
    found = told(write_archive(tmp_path / "stepped", [*logged[:1_500], *steps]), "--baseline", DEAR)
    cost = paid_for(steps)
    assert found["paid"]["cascade_steps"] == {"requests": 100, "nano_usd": cost, "unknown": 0}
    assert (found["log"]["n_rounds"], found["log"]["excluded"]) == (1_500, {"cascade step": 100})
    assert found["own_usd"] == pytest.approx(cost / 1e9)
    assert found["saved_usd"]["value"] == pytest.approx(plain["saved_usd"]["value"] - cost / 1e9)


def test_what_failed_and_what_nobody_routed_is_told(world: Sample, tmp_path: Path) -> None:
    logged = rows(world)
    for place, (kind, status) in enumerate([("forced", "ok"), ("drawn", "error"), ("drawn", "cancelled")]):
        decision, vector, outcome, feedback = logged[place]
        logged[place] = (replace(decision, kind=kind), vector, replace(outcome, status=status, nano_usd=7), feedback)
    found = told(write_archive(tmp_path, logged), "--baseline", DEAR)
    assert found["paid"]["unanswered"] == {"requests": 2, "nano_usd": 14, "unknown": 0}
    assert found["paid"]["by_kind"]["forced"] == {"requests": 1, "nano_usd": 7, "unknown": 0}
    assert (found["log"]["n_rounds"], found["log"]["excluded"]) == (1_499, {"forced": 1})


def test_an_unknown_cost_is_no_zero(world: Sample, tmp_path: Path) -> None:
    logged = rows(world)
    decision, vector, outcome, feedback = logged[0]
    logged[0] = (decision, vector, replace(outcome, nano_usd=None), feedback)
    found = told(write_archive(tmp_path, logged), "--baseline", DEAR)
    assert "1 of 1500 rounds have no known cost" in found["refused"]
    assert found["paid_usd"] is None
    assert found["paid"]["by_kind"]["drawn"]["unknown"] == 1
    assert found["modelled"]["requests"] == 1_499


def test_the_dearest_arm_is_found_by_what_answers_cost(world: Sample, tmp_path: Path) -> None:
    assert told(write_archive(tmp_path, rows(world)), "--baseline", "dearest")["baseline"]["name"] == DEAR


def test_groups_and_time_bound_it(world: Sample, tmp_path: Path) -> None:
    folder = write_archive(tmp_path, rows(world), step_s=180.0)
    days = told(folder, "--baseline", DEAR, "--by", "day")["groups"]
    assert {name: each["rounds"] for name, each in days.items()} == {
        "1970-01-01": 480, "1970-01-02": 480, "1970-01-03": 480, "1970-01-04": 60,
    }  # fmt: skip
    bounded = told(folder, "--baseline", DEAR, "--since", "86400", "--until", "172800", "--own-usd", "0.5")
    assert (bounded["rounds"], bounded["own_usd"]) == (480, 0.5)
    assert bounded["paid"]["by_kind"]["drawn"]["requests"] == 480


def test_a_report_is_a_page_with_a_picture_and_requests_are_a_file(world: Sample, tmp_path: Path) -> None:
    folder, report, file = write_archive(tmp_path / "log", rows(world)), tmp_path / "report", tmp_path / "requests.csv"
    code, _, err = run(folder, "--baseline", DEAR, "--by", "tenant", "--report", str(report), "--requests", str(file))
    assert code == 0
    assert str(report / "savings.html") in err
    page = (report / "savings.html").read_text()
    assert "<h1>Savings</h1>" in page
    assert "estimated (doubly robust)" in page
    assert "http" not in page.replace("http://www.w3.org", "")  # loads nothing from elsewhere
    assert {each.name for each in report.iterdir()} == {"savings.html", "savings.json", "savings.png"}
    with file.open(newline="") as source:
        lines = list(csv.DictReader(source))
    assert len(lines) == 1_500
    assert (lines[0]["request_id"], float(lines[0]["baseline_predicted_usd"])) == ("r0", FORETOLD[2])


def test_a_refused_report_shows_the_model_alone(world: Sample, tmp_path: Path) -> None:
    folder = write_archive(tmp_path / "log", rows(world, (0.6, 0.4, 0.0), n=300))
    assert run(folder, "--baseline", DEAR, "--report", str(tmp_path / "report"))[0] == 1
    page = (tmp_path / "report" / "savings.html").read_text()
    assert "by predictions alone: a model, no interval" in page
    assert "estimated (doubly robust)" not in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--baseline", "nobody/instant"], "no arm 'nobody/instant' was eligible in the log"),
        (["--baseline", f"0.5*{CHEAP}"], "shares above 0 that sum to 1"),
        (["--baseline", DEAR, "--since", "9e9"], "no drawn decision"),
        (["--baseline", DEAR, "--until", "0"], "no round"),
    ],
)
def test_what_cannot_be_done_is_one_line(world: Sample, tmp_path: Path, arguments: list[str], message: str) -> None:
    code, out, err = run(write_archive(tmp_path, rows(world, n=50)), *arguments)
    assert code == 1
    assert message in err.replace("\n", " ")
    assert "Traceback" not in out + err


def test_a_folder_that_is_no_data_directory_is_named(tmp_path: Path) -> None:
    code, _, err = run(tmp_path, "--baseline", "dearest")
    assert code == 1
    assert "no archive/decisions there" in err
