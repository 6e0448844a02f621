import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from policies.cli import FAILED, MISUSED, OK, VERBS, main

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "litellm", "numpy", "typer", "rich", "pydantic", "router", "training")


def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "policies.cli", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, timeout=60, check=False
    )


def test_help_loads_no_verb_and_nothing_heavy() -> None:
    code = "import sys; from policies.cli import main; main(['--help']); print('|'.join(sys.modules), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    loaded = {name.partition(".")[0] for name in done.stderr.strip().split("|")}
    assert loaded.isdisjoint(HEAVY)
    assert "policies" in loaded


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == OK
    text = capsys.readouterr().out
    assert all(re.search(rf"^  {verb} +{re.escape(words)}$", text, re.MULTILINE) for verb, (_, words) in VERBS.items())


def test_the_table_and_the_installed_entry_points_agree() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["gearshift.commands"]
    assert {verb: target for verb, (target, _) in VERBS.items()} == declared


def test_an_unknown_verb_is_misuse_and_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chekc"]) == MISUSED
    assert "did you mean 'check'?" in capsys.readouterr().err


def test_version_is_the_distributions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == OK
    try:
        expected = importlib.metadata.version("gearshift")
    except importlib.metadata.PackageNotFoundError:
        expected = "(not installed)"
    assert capsys.readouterr().out == f"gearshift {expected}\n"


def test_a_verb_shows_its_own_help() -> None:
    done = run("check", "--help", NO_COLOR="1", COLUMNS="120")
    assert done.returncode == OK
    assert "gearshift check" in done.stdout
    assert "--no-probe" in done.stdout


def test_a_missing_argument_is_misuse() -> None:
    assert run("feedback").returncode == MISUSED


def test_an_error_is_one_line_and_its_traceback_is_there_for_who_asks() -> None:
    arguments = ("feedback", "chatcmpl-1", "--value", "1", "--base-url", "http://127.0.0.1:9")
    done = run(*arguments)
    assert done.returncode == FAILED
    assert re.fullmatch(r"gearshift feedback: no gateway answers at http://127\.0\.0\.1:9 .*\n", done.stderr)
    assert "Traceback" in run(*arguments, GEARSHIFT_TRACEBACK="1").stderr


def test_a_missing_optional_package_names_the_extra_that_brings_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lacking(**_: object) -> None:
        raise ModuleNotFoundError("No module named 'sklearn'", name="sklearn.linear_model")

    monkeypatch.setattr("policies.cli._command", lambda target: lacking)
    assert main(["train"]) == FAILED
    assert capsys.readouterr().err.endswith("no module 'sklearn.linear_model'; run: pip install 'gearshift[train]'\n")
