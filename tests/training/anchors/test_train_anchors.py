"""From a pool to anchors, from their outcomes to an artifact with one arm more; and what is said when it cannot be."""

from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from policies.arms import Arm
from policies.artifact import load_artifact, save_artifact
from policies.errors import PolicyMismatch
from policies.prices import Price
from policies.tables import OutcomeTable
from training.anchors.exam import AnchorError, load_exam
from training.anchors.outcomes import read_outcomes
from training.anchors.task import PLAN, PROMPTS, AdoptByAnchors, ChooseAnchors, adopt_by_anchors, choose_anchors
from training.commands.train_anchors import anchors
from training.inputs import make_inputs
from training.zoo.fit import fit_policy
from training.zoo.save import artifact_of
from training.zoo.task import FitTask

ARM = Arm("new", "instant")
POOL = {
    "pool": {
        "set": "set",
        "domain": "subject",
        "arms": [
            {"model": arm, "mode": "instant", "usd_per_mtok": {"input": 1.0, "output": 1.0}}
            for arm in ("cheap", "dear")
        ],
    }
}


@pytest.fixture
def data(tmp_path: Path, world: OutcomeTable, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small world as a data directory with a pools file."""
    monkeypatch.setenv("GEARSHIFT_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "data" / "set"
    folder.mkdir(parents=True)
    queries = {"query_id": world.query_ids, "prompt": world.prompts, "subject": world.domains}
    pq.write_table(pa.table(queries | {"reference": ["C"] * len(world)}), folder / "queries.parquet")
    rows = [
        {"query_id": name, "model": arm.model, "mode": arm.mode, "variant": "", "score": float(world.scores[i, j])}
        | {"prompt_tokens": 10, "completion_tokens": 100, "token_source": "api", "cost_usd": None, "latency_s": None}
        for i, name in enumerate(world.query_ids)
        for j, arm in enumerate(world.arms)
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "outcomes.parquet")
    (tmp_path / "pools.json").write_bytes(orjson.dumps(POOL))
    return tmp_path


def choose(data: Path, encoder: Any, **options: Any) -> Path:
    task = ChooseAnchors(data / "data", data / "pools.json", "pool", data / "anchors", **{"k": 60} | options)
    choose_anchors(task, encoder=encoder)
    return data / "anchors"


def answers(data: Path, folder: Path, world: OutcomeTable) -> Path:
    """A newcomer that is right on the easy half and nowhere else."""
    easy = {name: domain == "easy" for name, domain in zip(world.query_ids, world.domains, strict=True)}
    lines = [
        {"query_id": name, "model": "new", "mode": "instant", "score": float(easy[name]), "output_tokens": 40}
        for name in load_exam(folder / PLAN).ids
    ]
    file = data / "answers.jsonl"
    file.write_bytes(b"\n".join(orjson.dumps(line) for line in lines))
    return file


def an_artifact(data: Path, world: OutcomeTable, encoder: Any) -> Path:
    task = FitTask(make_inputs(world, encoder.encode(world.prompts)), world.arms, world.prices, encoder.encoder_id)
    policy, facts = fit_policy("mf", task)
    return save_artifact(artifact_of(policy, task, facts=facts), data / "artifact", encoder=encoder)


def test_the_prompts_file_is_one_that_collect_reads(data: Path, encoder: Any) -> None:
    from training.collect.prompts import load_tasks

    tasks = load_tasks(choose(data, encoder) / PROMPTS, check=None, judge=None, conditions={})
    assert len(tasks) == 60
    assert {(task.check, task.domain) for task in tasks} == {("choice", "easy"), ("choice", "hard")}


def test_an_arm_is_adopted_by_its_answers(data: Path, world: OutcomeTable, encoder: Any) -> None:
    folder = choose(data, encoder)
    task = AdoptByAnchors(
        folder, answers(data, folder, world), an_artifact(data, world, encoder), data / "out", ARM, Price(1, 1), {}
    )
    joined = adopt_by_anchors(task, encoder=encoder)
    truth = world.domains.count("easy") / len(world)
    low, high = joined.standing.interval
    assert low <= truth <= high
    assert joined.standing.sd < joined.by_descriptor.sd
    again = load_artifact(data / "out", encoder=encoder)
    assert [entry["name"] for entry in again.arms] == ["cheap/instant", "dear/instant", "new/instant"]
    assert joined.artifact.tensors["roster.columns"].tolist() == [0, 1, -1]


def test_an_artifact_of_another_encoder_is_refused(data: Path, world: OutcomeTable, encoder: Any) -> None:
    folder = choose(data, encoder)
    artifact = an_artifact(data, world, encoder)
    other = type(encoder)()
    other.encoder_id = "hash-2"
    task = AdoptByAnchors(folder, answers(data, folder, world), artifact, data / "out", ARM, None, {})
    with pytest.raises(PolicyMismatch, match="hash-2"):
        adopt_by_anchors(task, encoder=other)
    assert not (data / "out").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"id": "ID"}, "line 1: column 'score' must be a number"),
        ({"id": "ID", "score": 7}, "got 7; grade the answers first"),
        ({"id": "ID", "score": 1.0}, "1 of 60 anchors have a score of new/instant; run at least 10"),
        ({"id": "ID", "score": None, "status": "failed"}, "0 of 60 anchors"),
        ({"id": "ID", "score": 1.0, "arm": "other/instant"}, "0 of 60 anchors"),
        ([], "expected a JSON object"),
    ],
)
def test_outcomes_that_tell_nothing_are_refused(line: Any, message: str, data: Path, encoder: Any) -> None:
    exam = load_exam(choose(data, encoder) / PLAN)
    file = data / "bad.jsonl"
    file.write_bytes(orjson.dumps(line).replace(b"ID", exam.ids[0].encode()))
    with pytest.raises(AnchorError, match=message):
        read_outcomes(file, exam, arm=ARM)


def test_a_failed_call_is_no_wrong_answer(data: Path, encoder: Any) -> None:
    exam = load_exam(choose(data, encoder) / PLAN)
    lines = [{"query_id": name, "score": 1.0} for name in exam.ids[:20]]
    lines += [{"query_id": name, "score": None, "status": "timeout"} for name in exam.ids[20:]]
    file = data / "half.jsonl"
    file.write_bytes(b"\n".join(map(orjson.dumps, lines)))
    outcomes = read_outcomes(file, exam, arm=ARM)
    assert (len(outcomes.exam), outcomes.scores.tolist(), outcomes.output_tokens) == (20, [1.0] * 20, None)


def test_a_query_without_reference_needs_a_check(data: Path, encoder: Any) -> None:
    file = data / "data" / "set" / "queries.parquet"
    pq.write_table(pq.read_table(file).drop_columns(["reference"]), file)
    with pytest.raises(AnchorError, match="has no reference to grade by; give --check judge"):
        choose(data, encoder)
    assert (choose(data, encoder, check="judge") / PROMPTS).is_file()


def test_more_anchors_than_queries_are_refused(data: Path, encoder: Any) -> None:
    with pytest.raises(AnchorError, match=r"pool 'pool': 600 anchors out of 600 queries"):
        choose(data, encoder, k=600)


@pytest.mark.parametrize("contents", [None, b"{", b'{"format": 9}', b'{"format": 1, "ids": ["a"]}'])
def test_a_plan_that_is_none_is_refused(contents: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / PLAN
    if contents is not None:
        file.write_bytes(contents)
    with pytest.raises(AnchorError, match=r"anchors\.plan\.json"):
        load_exam(file)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "x"], "--data, --pools, --pool must be given"),
        (["--out", "x", "--outcomes", "y"], "--arm, --anchors, --artifact must be given"),
        (["--out", "x", "--outcomes", "y", "--arm", "z", "--anchors", "a", "--artifact", "b"], "no registered model"),
    ],
)
def test_options_that_belong_together_are_asked_for(options: list[str], message: str) -> None:
    app = typer.Typer()
    app.command()(anchors)
    result = CliRunner().invoke(app, options, env={"COLUMNS": "300", "NO_COLOR": "1", "TERM": "dumb"})
    assert result.exit_code == 2
    assert message in result.output
