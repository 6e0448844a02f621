"""`gearshift train log` on an archive: an artifact that a gateway could serve, and the lines that go on from there."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from logged_world import ARMS, CHANCES, Row, make_world, rows_of, simulated, write_archive
from typer.testing import CliRunner

from policies.artifact import load_artifact
from policies.context import Context
from policies.encoders.load import load_encoder, prepare_encoder
from policies.features import lexical_features
from policies.policy import ArmFacts
from policies.tradeoff import TradeOff
from policies.zoo.default import DefaultPolicy
from training.commands.evaluate import command as evaluate
from training.commands.train import command as train
from training.records.record import arm_fields, arm_of

N = 1_200


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gateway's log of rounds drawn evenly, embedded by the static encoder; sums are hard for the cheap arm."""
    prepare_encoder("static")
    encoder, world = load_encoder("static"), make_world()
    log = simulated(world, np.full((len(world), 3), 1 / 3), n=N)
    vectors = encoder.encode([world.table.prompts[query] for query in log.queries]).astype(np.float16)
    rows: list[Row] = [
        (replace(decision, encoder_id=encoder.encoder_id, embedding_dim=len(vector)), vector, outcome, feedback)
        for (decision, _, outcome, feedback), vector in zip(rows_of(log), vectors, strict=True)
    ]
    return write_archive(tmp_path_factory.mktemp("log") / "data", rows)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(train, ["log", "--encoder", "static", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_what_was_learned_serves_each_kind_the_arm_that_is_worth_most(data: Path, tmp_path: Path) -> None:
    told = orjson.loads(run("--log", str(data), "--out", str(tmp_path / "policy"), "--json"))
    assert sum(told["facts"]["judged_rounds"].values()) == told["data"]["n_rounds"] == N
    encoder = load_encoder("static")
    policy = DefaultPolicy.from_artifact(load_artifact(tmp_path / "policy", encoder=encoder))
    arms = [ArmFacts(arm_of(*arm_fields(name))) for name in ARMS]
    for kind, prompt in enumerate(("name number 77", "sum number 1077")):
        context = Context(encoder.encode([prompt])[0], lexical_features(prompt), 10)
        scores = policy.score(context, arms, TradeOff(20.0))
        assert scores.dist.argmax() == (0, 1)[kind]  # worth 0.78 and 0.56; the next best 0.56 and 0.3
        assert scores.predictions.quality == pytest.approx(CHANCES[kind], abs=0.2)


def test_the_line_it_prints_evaluates_on_rounds_that_it_has_not_learned_from(data: Path, tmp_path: Path) -> None:
    printed = run("--log", str(data), "--out", str(tmp_path / "policy"), "--held-out", "0")
    since = re.search(rf"gearshift evaluate --log {data} --policy \S+ --since (\d+\.\d+)", printed)
    assert since is not None
    again = ["--log", str(data), "--policy", str(tmp_path / "policy"), "--since", since[1]]
    result = CliRunner().invoke(evaluate, again)
    assert result.exit_code == 1
    assert "no drawn decision" in result.output


def test_another_encoder_than_the_logs_is_refused_by_name(data: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(train, ["log", "--log", str(data), "--out", str(tmp_path / "p"), "--encoder", "minilm"])
    assert result.exit_code == 1
    assert "name the gateway's encoder with --encoder" in result.output
