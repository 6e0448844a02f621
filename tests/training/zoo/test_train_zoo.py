from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from policies.artifact import MANIFEST, WEIGHTS, save_artifact
from policies.encoders.base import EncoderError
from policies.registry import load_policy
from policies.settings import DeclaredPolicy
from policies.tables import OutcomeTable
from training.commands.train_zoo import ZOO, add_to
from training.contender import Sample
from training.inputs import make_inputs
from training.offline import arm_facts
from training.rewordings import reworded
from training.zoo.contenders import task_of
from training.zoo.fit import DEFAULT, FITS, fit_policy
from training.zoo.save import artifact_of
from training.zoo.train import FITTED, UNFITTED, TrainZoo, embedded, fit_and_save, train_zoo, usual_encoder


def task(out: Path, *, policy: str = "cluster") -> TrainZoo:
    return TrainZoo(policy, data_dir=out, pools_file=out, pool="world", out=out / "art")


def test_a_trained_artifact_is_served_by_its_name(tmp_path: Path, world: OutcomeTable, encoder: Any) -> None:
    seen: list[tuple[str, int, int]] = []
    sample = Sample(world, make_inputs(world, encoder.encode(world.prompts)))
    report, summary = fit_and_save(
        sample, task=task(tmp_path), encoder=encoder, progress=lambda *step: seen.append(step)
    )
    policy = load_policy(DeclaredPolicy("cluster", artifact=str(tmp_path / "art")), arm_facts(world), encoder)
    assert policy.version == summary["version"]
    assert report.routers[0].gain.gain.low > 0
    assert seen[-1] == ("fitting", 6, 6)


def test_the_same_seed_gives_the_same_artifact(tmp_path: Path, world: OutcomeTable, encoder: Any) -> None:
    sample = Sample(world, make_inputs(world, encoder.encode(world.prompts)))
    versions = [
        fit_and_save(sample, task=task(tmp_path / name), encoder=encoder, progress=lambda *step: None)[1]["version"]
        for name in ("a", "b")
    ]
    assert versions[0] == versions[1]


def test_the_default_policy_hears_its_prompts_in_other_words_as_in_the_benchmark(
    tmp_path: Path, world: OutcomeTable, encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEARSHIFT_CACHE", str(tmp_path))
    told: list[tuple[str, int, int]] = []
    wanted = replace(task(tmp_path, policy=DEFAULT), seed=4)
    sample = embedded(world, wanted, encoder=encoder, progress=lambda *step: told.append(step))
    assert sample.reworded is not None
    assert sample.reworded.rows.tolist() == list(range(len(world)))
    texts = [reworded(prompt, seed=4) for prompt in world.prompts]
    assert np.array_equal(sample.reworded.embeddings, encoder.encode(texts))
    assert told[-1] == ("embedding prompts", 2 * len(world), 2 * len(world))


def test_a_policy_that_does_not_listen_is_spared_the_rewordings(
    tmp_path: Path, world: OutcomeTable, encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEARSHIFT_CACHE", str(tmp_path))
    told: list[tuple[str, int, int]] = []
    sample = embedded(world, task(tmp_path), encoder=encoder, progress=lambda *step: told.append(step))
    assert sample.reworded is None
    assert encoder.n_encoded == len(set(world.prompts))
    assert told[-1] == ("embedding prompts", len(world), len(world))


def test_every_policy_of_the_zoo_has_its_verb() -> None:
    assert set(ZOO) == {DEFAULT, *FITS}


@pytest.mark.parametrize("name", ["knn", "two_tower"])
def test_missing_data_is_one_line_and_a_status(name: str, tmp_path: Path) -> None:
    command = typer.Typer()
    add_to(command)
    arguments = [name, "--data", str(tmp_path), "--pools", str(tmp_path / "p.json"), "--pool", "x", "--out", "o"]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 1
    assert "p.json: cannot be read" in result.output
    assert "Traceback" not in result.output


def test_the_same_seed_gives_the_same_bytes_of_the_default_policy(
    tmp_path: Path, world: OutcomeTable, encoder: Any
) -> None:
    few = world.rows(np.arange(len(world)) < 200)
    sample = Sample(few, make_inputs(few, encoder.encode(few.prompts)))
    for name in ("a", "b"):
        fit_task = task_of(sample, encoder_id=encoder.encoder_id, seed=3)
        policy, facts = fit_policy("default", fit_task)
        save_artifact(artifact_of(policy, fit_task, facts=facts), tmp_path / name, encoder=encoder)
    for file in (MANIFEST, WEIGHTS):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_the_default_policy_gets_an_encoder_of_its_own_where_there_are_prompts_enough(
    tmp_path: Path, world: OutcomeTable
) -> None:
    prompts = tuple(f"prompt {row}" for row in range(len(world)))
    many = replace(world, prompts=prompts)
    wanted = task(tmp_path, policy=DEFAULT)
    assert usual_encoder(many, wanted) == FITTED
    assert usual_encoder(many.rows(np.arange(len(many)) < 199), wanted) == UNFITTED
    assert usual_encoder(many, task(tmp_path, policy="knn")) == UNFITTED
    assert usual_encoder(many, replace(wanted, source="a folder")) == UNFITTED


def test_without_torch_it_says_what_to_install(
    tmp_path: Path, world: OutcomeTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = replace(world, prompts=tuple(f"prompt {row}" for row in range(len(world))))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EncoderError, match=r"gearshift\[train,encoder\].*--encoder minilm"):
        usual_encoder(many, task(tmp_path, policy=DEFAULT))


@pytest.mark.parametrize(("asked", "aside"), [(None, 300), (600, 600), (0, 0)])
def test_rows_set_aside_are_neither_learned_from_nor_read_by_the_encoder(
    tmp_path: Path, world: OutcomeTable, encoder: Any, monkeypatch: pytest.MonkeyPatch, asked: int | None, aside: int
) -> None:
    monkeypatch.setenv("GEARSHIFT_CACHE", str(tmp_path))
    rows = np.tile(np.arange(len(world)), 5)
    prompts = tuple(f"{world.prompts[row]} {place}" for place, row in enumerate(rows))
    many = replace(world.rows(np.ones(len(world), bool)), **{
        name: getattr(world, name)[rows]
        for name in ("scores", "usd", "nano_usd", "prompt_tokens", "input_tokens", "completion_tokens", "seconds", "at")
    }, prompts=prompts, query_ids=prompts, domains=("",) * len(rows), benchmarks=("",) * len(rows))  # fmt: skip
    fitted_to: list[tuple[str, ...]] = []
    seen: dict[str, Any] = {}

    def fit_encoder(table: OutcomeTable, task: TrainZoo, *, progress: Any) -> dict[str, Any]:
        fitted_to.append(table.prompts)
        return {}

    def keep(sample: Sample, **also: Any) -> tuple[None, dict[str, Any]]:
        seen.update(sample=sample, calibration=also["calibration"])
        return None, {}

    monkeypatch.setattr("training.zoo.train.load_covered", lambda *path, **options: (many, None))
    monkeypatch.setattr("training.zoo.train._fitted", fit_encoder)
    monkeypatch.setattr("training.zoo.train.prepare_encoder", lambda *name, **options: None)
    monkeypatch.setattr("training.zoo.train.load_encoder", lambda *name, **options: encoder)
    monkeypatch.setattr("training.zoo.train.fit_and_save", keep)
    wanted = replace(task(tmp_path), encoder=FITTED, calibration_rows=asked)
    train_zoo(wanted, progress=lambda *step: None)
    unseen = () if seen["calibration"] is None else seen["calibration"].table.prompts
    assert len(unseen) == aside
    assert not set(unseen) & set(fitted_to[0])
    assert fitted_to[0] == seen["sample"].table.prompts
    assert len(unseen) + len(fitted_to[0]) == 3_000
