"""The closed loop: log under rules, learn from the log, evaluate on fresh rounds, restart, and serve better live."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policies.archive_schema import read_log
from policies.encoders.load import load_encoder
from policies.features import lexical_features
from policies.tables import OutcomeTable, load_pool
from training.ope.log import open_rounds
from training.ope.open_target import named, target_of
from training.ope.rounds import Rounds, concatenated
from training.records.prices import read_prices

ROOT = Path(__file__).resolve().parents[2]
POOL, USD_PER_CORRECT_ANSWER = "mmlu_pro_7", 0.0099


@dataclass(frozen=True, slots=True)
class Closed:
    """A run of the loop: what it printed, and the folder it left."""

    told: dict[str, Any]
    folder: Path
    table: OutcomeTable

    def rounds(self) -> tuple[Rounds, list[str], list[str]]:
        """The gateway's log as `gearshift evaluate` reads it, with each round's query id and policy."""
        rounds = concatenated(list(open_rounds(self.folder / "store").chunks()))
        rows = [row for part in read_log(self.folder / "store") for row in part.to_pylist()]
        return rounds, [row["client_request_id"] for row in rows], [row["policy"] for row in rows]


def close_the_loop(folder: Path, data: Path, *options: str, within_s: float) -> Closed:
    command = [sys.executable, "-m", "bench.loop", "--data", str(data), "--folder", str(folder), "--json", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=within_s)
    assert done.returncode == 0, done.stderr
    return Closed(json.loads(done.stdout), folder, load_pool(data, data / "pools.json", POOL))


@pytest.mark.accept
@pytest.mark.timeout(400)
def test_what_the_gateway_logged_comes_back_exactly_and_the_artifact_serves_as_it_is_evaluated(
    tmp_path: Path, shared_data: Path
) -> None:
    sizes = ("--prompts", "300", "--fresh", "40", "--live", "60")
    closed = close_the_loop(tmp_path / "loop", shared_data, *sizes, "--explore", "0.7", within_s=380)
    rounds, query_ids, policies = closed.rounds()
    assert sum(closed.told["counts"].values()) == len(rounds) == len(query_ids) == len(set(query_ids))
    assert "effective sample size" in closed.told["off_policy"]["refused"]  # forty rounds prove nothing
    reads_back(closed.table, rounds, query_ids)
    served = np.flatnonzero([policy.startswith("default@") for policy in policies])
    explored = np.delete(np.arange(len(rounds)), served)
    assert rounds.propensities[explored].min() == pytest.approx(0.1)
    assert len(served) == closed.told["counts"]["live"]
    (artifact,) = named([str(closed.folder / "policy")])
    target = target_of(artifact, rounds.arms, prices=read_prices(closed.folder / "prices.json"))
    wanted = target.distribution(rounds.rows(served))
    assert np.array_equal(wanted, rounds.propensities[served])
    assert np.array_equal(wanted.argmax(axis=1), rounds.action[served])


def reads_back(table: OutcomeTable, rounds: Rounds, query_ids: list[str]) -> None:
    """Embeddings, features, trade-offs, tokens, USD and scores are those of the prompts and of the arms that served."""
    at = {query_id: row for row, query_id in enumerate(table.query_ids)}
    rows = np.array([at[query_id] for query_id in query_ids])
    arms = np.array([table.arm_names.index(rounds.arms[action]) for action in rounds.action])
    prompts = [table.prompts[row] for row in rows]
    vectors = load_encoder("static").encode(prompts).astype(np.float16).astype(np.float32)
    assert np.array_equal(rounds.embeddings, vectors)
    pairs = zip(prompts, rounds.prompt_tokens, strict=True)
    features = [lexical_features(prompt, turn=1, prompt_tokens=int(tokens)) for prompt, tokens in pairs]
    assert np.array_equal(rounds.features, np.stack(features))
    assert np.allclose(rounds.propensities.sum(axis=1), 1.0, atol=1e-12)
    assert np.array_equal(rounds.trade_off, np.tile([1 / USD_PER_CORRECT_ANSWER, 0.0, 0.0, np.inf], (len(rows), 1)))
    assert np.array_equal(rounds.quality, table.scores[rows, arms])
    assert np.array_equal(rounds.usd, table.nano_usd[rows, arms] / 1e9)
    assert np.array_equal(rounds.input_tokens, table.input_tokens[rows, arms])
    assert np.array_equal(rounds.output_tokens, table.completion_tokens[rows, arms])


@pytest.mark.accept
@pytest.mark.timeout(1800)
def test_five_thousand_logged_prompts_make_the_gateway_better_and_the_log_foretold_it(
    tmp_path: Path, shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = close_the_loop(tmp_path / "loop", shared_data, within_s=1700).told
    with capsys.disabled():
        print(json.dumps(told, indent=1))  # noqa: T201
    assert told["counts"]["prompts"] >= 5_000
    assert told["live"]["gains"]["utility"]["low"] > 0.0
    assert told["late"] <= 0.001 * sum(told["counts"].values()), "is this machine busy with other work?"
    assert told["off_policy"]["refused"] == ""
    assert told["off_policy"]["gains"]["utility"]["low"] > 0.0
    for name, found in told["off_policy"]["values"].items():
        # Twice as wide as the interval: the live prompts are others, and three measures may not miss in one run of 20.
        wide = found["high"] - found["low"]
        assert found["low"] - wide / 2 <= found["live"] <= found["high"] + wide / 2, name
