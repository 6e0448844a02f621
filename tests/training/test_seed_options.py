"""Random generators take no negative seed: every verb says so before it reads anything."""

import pytest
import typer
from typer.testing import CliRunner

from training.commands.benchmark import command as benchmark
from training.commands.evaluate import command as evaluate
from training.commands.train import command as train
from training.commands.train_zoo import ZOO

PLAIN = {"COLUMNS": "300", "NO_COLOR": "1", "TERM": "dumb"}


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        (benchmark, ["--train", "absent"]),
        (train, ["encoder", "--prompts", "absent", "--out", "absent"]),
        *[(train, [name, "--data", "absent", "--out", "absent"]) for name in ("linear", *ZOO)],
        (train, ["anchors", "--out", "absent"]),
        (train, ["log", "--log", "absent", "--out", "absent"]),
        (evaluate, ["--log", "absent", "--policy", "absent"]),
        (train, ["simulate", "--data", "absent", "--pools", "absent", "--pool", "absent"]),
    ],
)
def test_a_negative_seed_is_refused(verb: typer.Typer, arguments: list[str]) -> None:
    done = CliRunner().invoke(verb, [*arguments, "--seed", "-1"], env=PLAIN)
    assert done.exit_code == 2
    assert "Invalid value for '--seed'" in done.stderr  # what follows is the library's own wording
