"""Train with rows set aside, serve, and look up what became of the promises: all of it through files."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policies.artifact import load_artifact, save_artifact
from policies.errors import ArtifactError, PolicyError
from policies.registry import load_policy
from policies.settings import DeclaredPolicy
from policies.tables import OutcomeTable
from policies.tradeoff import TradeOff
from policies.zoo.cluster import ClusterPolicy
from training.arms import retire
from training.commands.floors import lines_of
from training.commands.train_zoo import about_floors
from training.contender import Sample
from training.floors.calibrate import actions_at
from training.floors.check import CheckFloors, check_floors
from training.inputs import make_inputs
from training.offline import arm_facts, contexts_of
from training.zoo.contenders import FittedZoo
from training.zoo.train import TrainZoo, fit_and_save

ASIDE = 300


@pytest.fixture(scope="module")
def parts(world: OutcomeTable) -> tuple[OutcomeTable, OutcomeTable]:
    """The rows learned from, and as many set aside."""
    first = np.arange(len(world)) < ASIDE
    return world.rows(~first), world.rows(first)


@pytest.fixture
def trained(tmp_path: Path, parts: tuple[OutcomeTable, OutcomeTable], encoder: Any) -> tuple[Path, dict[str, Any]]:
    fitted, aside = (Sample(table, make_inputs(table, encoder.encode(table.prompts))) for table in parts)
    task = TrainZoo("cluster", tmp_path, tmp_path, "world", tmp_path / "art")
    _, summary = fit_and_save(fitted, task=task, encoder=encoder, progress=lambda *step: None, calibration=aside)
    return task.out, summary


def test_a_gateway_serves_what_was_tested(
    trained: tuple[Path, dict[str, Any]], world: OutcomeTable, encoder: Any
) -> None:
    policy = load_policy(DeclaredPolicy("cluster", artifact=str(trained[0])), arm_facts(world), encoder)
    assert isinstance(policy, ClusterPolicy)
    assert policy.floors is not None
    embeddings = encoder.encode(world.prompts)
    forecast = FittedZoo(policy, policy, {}).forecast(Sample(world, make_inputs(world, embeddings)))
    cell = policy.floors.at(0.95)[0]
    assert cell.last is not None
    together = actions_at(policy.floors, forecast, policy.floors.quality_per_usd[cell.last])
    trade_off = TradeOff(1e9, quality_floor=cell.floor)
    alone = [
        int(policy.score(context, arm_facts(world), trade_off).dist.argmax())
        for context in contexts_of(world, embeddings)
    ]
    assert alone == together.tolist()
    assert 0 < np.mean(together) < 1


def test_without_a_floor_a_promising_policy_chooses_as_any_other(
    trained: tuple[Path, dict[str, Any]], world: OutcomeTable, encoder: Any
) -> None:
    artifact = load_artifact(trained[0], encoder=encoder)
    promising = ClusterPolicy.from_artifact(artifact)
    silent = ClusterPolicy.from_artifact(replace(artifact, floors={}))
    for context in contexts_of(world, encoder.encode(world.prompts))[:20]:
        told, plain = (each.score(context, arm_facts(world), TradeOff(50.0)) for each in (promising, silent))
        assert (told.dist == plain.dist).all()
        assert told.reason == plain.reason


def test_the_table_of_promises_is_told(trained: tuple[Path, dict[str, Any]]) -> None:
    lines = about_floors(trained[1]["floors"])
    assert "against dear/instant, by 300 rows set aside; confidence 90%, 95%, 99%" in lines[0]
    assert len(lines) == 1 + 6
    assert re.match(r"  90%: \d+ %, \d+ %, \d+ %", lines[1])
    assert "none (the reference arm)" in lines[-1]
    assert "none promised" in about_floors(None)[0]


def test_the_report_tells_what_was_realised(
    trained: tuple[Path, dict[str, Any]], world: OutcomeTable, encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with read_by(monkeypatch, world, encoder):
        result = check_floors(CheckFloors(Path("data"), trained[0]), progress=lambda *step: None)
    assert (result["n_queries"], result["reference"], len(result["floors"])) == (600, "dear/instant", 6)
    assert result["floors"][0]["verdict"] == "kept"
    with read_by(monkeypatch, world, encoder):
        half = check_floors(CheckFloors(Path("data"), trained[0], half=1), progress=lambda *step: None)
    assert 200 < half["n_queries"] < 400
    lines = lines_of(result)
    assert re.match(r"  90%: kept, \d+\.\d % kept, difference \+0\.\d+ \[.*\], saving \d+ %", lines[1])
    assert "nothing promised, the reference arm serves" in lines[-1]


def test_an_artifact_without_promises_is_told(
    trained: tuple[Path, dict[str, Any]], world: OutcomeTable, encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = replace(load_artifact(trained[0], encoder=encoder), floors={})
    folder = save_artifact(silent, trained[0].with_name("silent"), encoder=encoder)
    with read_by(monkeypatch, world, encoder), pytest.raises(PolicyError, match="promises no quality floor"):
        check_floors(CheckFloors(Path("data"), folder), progress=lambda *step: None)


def test_promises_end_with_an_arm_that_retires(trained: tuple[Path, dict[str, Any]], encoder: Any) -> None:
    artifact = load_artifact(trained[0], encoder=encoder)
    assert artifact.floors
    assert retire(artifact, "cheap/instant").floors == {}


def test_promises_of_an_arm_that_the_policy_lacks_are_refused(
    trained: tuple[Path, dict[str, Any]], encoder: Any
) -> None:
    artifact = load_artifact(trained[0], encoder=encoder)
    floors = dict(artifact.floors) | {"arms": [*artifact.floors["arms"], {"name": "other/instant", "price": None}]}
    with pytest.raises(ArtifactError, match="which it lacks"):
        ClusterPolicy.from_artifact(replace(artifact, floors=floors))


@contextmanager
def read_by(monkeypatch: pytest.MonkeyPatch, table: OutcomeTable, encoder: Any) -> Iterator[None]:
    """The command's data and encoder are these."""
    monkeypatch.setattr("training.floors.check.load_outcomes", lambda *path, **options: table)
    monkeypatch.setattr("training.floors.check.load_encoder", lambda *name, **options: encoder)
    monkeypatch.setattr(
        "training.floors.check.embed_prompts", lambda encoder, prompts, **options: encoder.encode(prompts)
    )
    yield
