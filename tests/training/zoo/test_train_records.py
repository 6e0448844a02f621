"""From a table of one's own to lines of configuration that serve it, by the command alone."""

import csv
from pathlib import Path

import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from policies.encoders.load import prepare_encoder
from router.commands.check import examine
from training.commands.train import command

ARMS = {"small/instant": 0.0001, "big/instant": 0.01}
TOPICS = ("rivers", "prime numbers", "the moon", "bread", "old maps", "whales")


def written(place: Path, *, n: int = 60, arms: dict[str, float] | None = None) -> Path:
    """A CSV of n questions; the small arm is wrong on those about numbers."""
    with place.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["query_id", "prompt", "arm", "score", "usd", "output_tokens"])
        for i in range(n):
            topic = TOPICS[i % len(TOPICS)]
            for arm, usd in (arms or ARMS).items():
                right = arm == "big/instant" or "numbers" not in topic
                rows.writerow([f"q{i}", f"Tell me fact {i} about {topic}.", arm, int(right), usd, 20 + i % 7])
    return place


def train(policy: str, *arguments: object) -> Result:
    prepare_encoder("static")
    return CliRunner().invoke(command, [policy, *map(str, arguments)])


def problems(tmp_path: Path, lines: list[str]) -> list[str]:
    """What `gearshift check` finds wrong with these lines beside two models."""
    deployment = {"deployments": [{"upstream": "fake"}], "price": {"input": 1, "output": 1}}
    tree = yaml.safe_load("\n".join(lines)) | {"models": {"small": deployment, "big": deployment}}
    file = tmp_path / "gearshift.yaml"
    file.write_text(yaml.safe_dump(tree))
    report = examine(file, probe=False)
    return [item.message for item in report.errors]


def test_a_csv_becomes_a_policy_that_passes_the_check_by_the_lines_that_were_printed(tmp_path: Path) -> None:
    out = tmp_path / "my policy"
    done = train("global_means", "--data", written(tmp_path / "mine.csv"), "--out", out, "--encoder", "static")
    assert done.exit_code == 0, done.output
    assert "queries: 60 of 60 answered by every arm (big/instant 60, small/instant 60)" in done.output
    assert problems(tmp_path, done.output.splitlines()[-2:]) == []
    assert sorted(file.name for file in out.iterdir()) == ["manifest.json", "weights.safetensors"]


def test_a_fitted_encoder_lies_beside_the_artifact_and_serves_it(tmp_path: Path) -> None:
    prepare_encoder("minilm")
    data, out = written(tmp_path / "mine.csv", n=210), tmp_path / "policy"
    done = train("global_means", "--data", data, "--out", out, "--encoder", "fitted")
    assert done.exit_code == 0, done.output
    assert "encoder: fitted to all 210 prompts without their scores, held-out ones too" in done.output
    assert f"encoder: {{name: static, source: {out}-encoder}}" in done.output.splitlines()
    assert problems(tmp_path, done.output.splitlines()[-2:]) == []


def test_prices_go_before_recorded_costs(tmp_path: Path) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text("big/instant: {input: 1.0, output: 4.0}\n")
    data, out = written(tmp_path / "mine.csv"), tmp_path / "policy"
    done = train("global_means", "--data", data, "--out", out, "--encoder", "static", "--prices", prices)
    assert done.exit_code == 0, done.output
    manifest = yaml.safe_load((out / "manifest.json").read_text())
    assert {arm["name"]: arm["price"] and arm["price"]["output"] for arm in manifest["arms"]} == {
        "big/instant": 4_000_000_000,
        "small/instant": None,
    }


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("other/instant: {input: 1, output: 1}", "no arm 'other/instant' in "),
        ("big/instant: {input: 1}", "'big/instant' must hold input and output"),
        ("big/instant: {input: -1, output: 1}", "'big/instant', input: expected USD per Mtok, got -1"),
        ("[1, 2]", "must map arms to prices"),
        ("{", "neither JSON nor YAML"),
    ],
)
def test_prices_that_cannot_be_are_named(tmp_path: Path, text: str, complaint: str) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text(text)
    data = written(tmp_path / "mine.csv")
    refused(train("cluster", "--data", data, "--out", tmp_path / "o", "--prices", prices), complaint)


def refused(done: Result, complaint: str) -> None:
    assert done.exit_code == 1
    assert complaint in done.output.replace("\n", " ")
    assert "Traceback" not in done.output


@pytest.mark.parametrize("policy", ["default", "linear"])
def test_one_arm_is_nothing_to_choose_between(tmp_path: Path, policy: str) -> None:
    data = written(tmp_path / "mine.csv", arms={"big/instant": 0.01})
    refused(train(policy, "--data", data, "--out", tmp_path / "o"), "one arm only (big/instant)")


def test_too_few_queries_are_refused_with_what_to_do(tmp_path: Path) -> None:
    data = written(tmp_path / "mine.csv", n=49)
    done = train("default", "--data", data, "--out", tmp_path / "o")
    refused(done, "49 queries that every arm answered; a policy needs at least 50")
    refused(done, "ask more with `gearshift collect`")


def test_a_folder_without_outcomes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = train("default", "--data", tmp_path / "empty", "--out", tmp_path / "o")
    refused(done, "holds no file that ends in .csv, .jsonl, .json, .parquet, no set and no log")


def test_an_unknown_pool_names_those_there_are(tmp_path: Path) -> None:
    pools = tmp_path / "pools.json"
    pools.write_text('{"mine": {}}')
    done = train("default", "--data", tmp_path, "--pools", pools, "--pool", "yours", "--out", tmp_path / "o")
    refused(done, "no pool 'yours'; it holds mine")


def test_prices_of_a_pool_are_not_given_twice(tmp_path: Path) -> None:
    pools = ["--pools", tmp_path / "pools.json", "--pool", "mine", "--prices", tmp_path / "prices.json"]
    refused(train("default", "--data", tmp_path, *pools, "--out", tmp_path / "o"), "--prices names prices of records")


def test_a_fitted_encoder_takes_no_weights_of_another(tmp_path: Path) -> None:
    data = written(tmp_path / "mine.csv")
    done = train("default", "--data", data, "--out", tmp_path / "o", "--encoder", "fitted", "--source", "there")
    refused(done, "--encoder fitted makes its own")


def test_too_few_prompts_for_an_encoder_are_refused_before_anything_is_fitted(tmp_path: Path) -> None:
    data = written(tmp_path / "mine.csv")
    done = train("default", "--data", data, "--out", tmp_path / "o", "--encoder", "fitted")
    refused(done, "60 distinct prompts with text; an encoder needs at least 200")
