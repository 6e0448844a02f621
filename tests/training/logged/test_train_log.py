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


def embedded_rows() -> list[Row]:
    """Rounds drawn evenly, embedded by the static encoder; sums are hard for the cheap arm."""
    prepare_encoder("static")
    encoder, world = load_encoder("static"), make_world()
    log = simulated(world, np.full((len(world), 3), 1 / 3), n=N)
    vectors = encoder.encode([world.table.prompts[query] for query in log.queries]).astype(np.float16)
    return [
        (replace(decision, encoder_id=encoder.encoder_id, embedding_dim=len(vector)), vector, outcome, feedback)
        for (decision, _, outcome, feedback), vector in zip(rows_of(log), vectors, strict=True)
    ]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gateway's log of these."""
    return write_archive(tmp_path_factory.mktemp("log") / "data", embedded_rows())


@pytest.fixture(scope="module")
def thumbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, in which one of four has a score, and all have a thumb that is right four times of five."""
    rows, rng, more = embedded_rows(), np.random.default_rng(5), []
    for place, (*_, score) in enumerate(rows):
        assert score is not None
        up = score.value if rng.random() < 0.8 else 1.0 - score.value
        more.append(replace(score, feedback_id=f"t{place}", metric="thumbs", value=up, source="user"))
    few: list[Row] = [(*row[:3], None if place % 4 else row[3]) for place, row in enumerate(rows)]
    return write_archive(tmp_path_factory.mktemp("log") / "data", few, more)


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


def test_thumbs_stand_in_where_the_score_is_missing_and_what_they_are_worth_is_told(
    thumbed: Path, tmp_path: Path
) -> None:
    asked = ["--log", str(thumbed), "--metric", "score", "--noisy-metric", "thumbs", "--noisy-metric", "stars"]
    told = orjson.loads(run(*asked, "--out", str(tmp_path / "policy"), "--json"))
    noise = told["facts"]["noise"]
    thumbs, stars = noise["sources"]
    assert (noise["reference_rounds"], thumbs["overlap"], thumbs["rounds"]) == (N / 4, N / 4, 3 * N / 4)
    assert thumbs["slope"] == pytest.approx(0.6, abs=0.15)
    assert thumbs["weight"] == pytest.approx(0.3, abs=0.1)  # noise .8 / .6² of a variance that is about .2
    assert stars["left_out"] == "the log holds none of it"
    assert sum(told["facts"]["judged_rounds"].values()) == told["data"]["n_rounds"] == N
    judged = told["evaluation"]["held_out_rounds"]["log"]
    assert judged["n_rounds"] < N / 8  # a quarter of the scores: evaluation looks at nothing else
    encoder = load_encoder("static")
    policy = DefaultPolicy.from_artifact(load_artifact(tmp_path / "policy", encoder=encoder))
    inputs = encoder.encode(["name number 77"]), lexical_features("name number 77")[None]
    truth = [CHANCES[0][ARMS.index(name)] for name in policy.arm_names]
    assert policy.expect(*inputs).quality[0] == pytest.approx(truth, abs=0.25)
    residual = policy.levels.residual_sd
    assert (residual < 0.6).all()  # of a score about its mean, at most .5; a thumb's label scatters by .8


def test_the_noise_is_printed_and_a_source_that_is_not_there_is_named(thumbed: Path, tmp_path: Path) -> None:
    printed = run(
        "--log", str(thumbed), "--out", str(tmp_path / "policy"), "--held-out", "0", "--metric", "score",
        "--noisy-metric", "thumbs", "--noisy-metric", "stars",
    )  # fmt: skip
    assert "judged by score: 300 rounds" in printed
    assert re.search(
        r"thumbs: 900 rounds without score, 300 with both; says .* noise sd \d\.\d\d, weight 0\.\d+", printed
    )
    assert "stars: 0 rounds without score, 0 with both; LEFT OUT: the log holds none of it" in printed


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["--noisy-metric", "thumbs"], "name it with --metric"),
        (["--metric", "score", "--noisy-metric", "score"], "named twice, or the quality itself"),
        (["--metric", "stars", "--noisy-metric", "thumbs"], "0 rounds were judged by stars"),
    ],
)
def test_noise_that_cannot_be_measured_is_refused(
    thumbed: Path, tmp_path: Path, asked: list[str], message: str
) -> None:
    arguments = ["log", "--encoder", "static", "--log", str(thumbed), "--out", str(tmp_path / "p"), *asked]
    result = CliRunner().invoke(train, arguments)
    assert result.exit_code == 1
    assert message in result.output
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("judged", "logged", "why"),
    [(250, 250, "187 judged rounds; at least 200 are needed"), (600, 800, "the log holds no round to evaluate on")],
    ids=["too few", "the newest are not judged yet"],
)
def test_a_log_whose_newest_part_judges_nothing_is_learned_from_all_the_same(
    tmp_path: Path, judged: int, logged: int, why: str
) -> None:
    rows = embedded_rows()
    unjudged = [(*row[:3], None) for row in rows[judged:logged]]
    data = write_archive(tmp_path / "data", [*rows[:judged], *unjudged])
    printed = run("--log", str(data), "--out", str(tmp_path / "policy"))
    assert f"no judgement by the newest rounds: {why}" in printed.split("judged rounds learned from")[0]
    assert (tmp_path / "policy" / "manifest.json").exists()
