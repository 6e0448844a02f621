from pathlib import Path
from typing import Any

import numpy as np
from typer.testing import CliRunner

from policies.registry import load_policy
from policies.settings import DeclaredPolicy
from policies.tables import OutcomeTable
from training.commands.train import command
from training.offline import arm_facts
from training.train_linear import TrainLinear, fit_and_save


def task(out: Path) -> TrainLinear:
    return TrainLinear(data_dir=out, pools_file=out, pool="world", out=out / "art")


def test_a_trained_artifact_is_served_by_its_name(tmp_path: Path, world: OutcomeTable, encoder: Any) -> None:
    seen: list[tuple[str, int, int]] = []
    embeddings = encoder.encode(world.prompts)
    report, summary = fit_and_save(
        world, embeddings, task=task(tmp_path), encoder=encoder, progress=lambda *step: seen.append(step)
    )
    policy = load_policy(DeclaredPolicy("linear", artifact=str(tmp_path / "art")), arm_facts(world), encoder)
    assert policy.version == summary["version"]
    assert report.routers[0].gain.gain.low > 0
    assert seen[-1] == ("fitting", 6, 6)


def test_the_same_seed_gives_the_same_artifact(tmp_path: Path, world: OutcomeTable, encoder: Any) -> None:
    few = world.rows(np.arange(len(world)) < 120)
    embeddings = encoder.encode(few.prompts)
    versions = [
        fit_and_save(few, embeddings, task=task(tmp_path / name), encoder=encoder, progress=lambda *step: None)[1][
            "version"
        ]
        for name in ("a", "b")
    ]
    assert versions[0] == versions[1]


def test_missing_data_is_one_line_and_a_status(tmp_path: Path) -> None:
    arguments = ["linear", "--data", str(tmp_path), "--pools", str(tmp_path / "p.json"), "--pool", "x", "--out", "o"]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 1
    assert "p.json: cannot be read" in result.output
    assert "Traceback" not in result.output
