"""`gearshift train simulate` on a small data directory: table, JSON, picture, and errors that say what to do."""

from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from policies.tables import OutcomeTable
from training.commands.train import command

PLAIN = {"COLUMNS": "300", "NO_COLOR": "1", "TERM": "dumb"}
RUN = ["--pool", "small", "--warm", "150", "--orders", "2", "--players", "default,ucb"]


@pytest.fixture(scope="module")
def data(world: OutcomeTable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 300 queries of the small world, as a set with a pool; and one with an arm as good as the dear one."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "world").mkdir()
    ids, n = list(world.query_ids[:300]), 300
    queries = {"query_id": ids, "prompt": list(world.prompts[:n]), "subject": list(world.domains[:n])}
    pq.write_table(pa.table(queries), folder / "world" / "queries.parquet")
    recorded = {"variant": "", "prompt_tokens": 10, "token_source": "api", "latency_s": 1.0}
    rows = [
        recorded
        | {"query_id": ids[row], "model": arm.model, "mode": arm.mode, "score": float(world.scores[row, at])}
        | {"completion_tokens": int(world.completion_tokens[row, at]), "cost_usd": float(world.usd[row, at])}
        for at, arm in enumerate(world.arms)
        for row in range(n)
    ]
    rows += [row | {"model": "new"} for row in rows if row["model"] == "dear"]
    pq.write_table(pa.Table.from_pylist(rows), folder / "world" / "outcomes.parquet")
    arms = [
        {"model": name, "mode": "instant", "usd_per_mtok": {"input": usd, "output": usd}}
        for name, usd in (("cheap", 0.1), ("dear", 10.0), ("new", 1.0))
    ]
    shared = {"set": "world", "domain": "subject"}
    pools = {"small": shared | {"arms": arms[:2]}, "three": shared | {"arms": arms}}
    (folder / "pools.json").write_bytes(orjson.dumps(pools))
    return folder


def run(data: Path, *more: str) -> Any:
    place = ["--data", str(data), "--pools", str(data / "pools.json")]
    return CliRunner().invoke(command, ["simulate", *place, *RUN, *more], env=PLAIN)


@pytest.mark.slow
def test_it_prints_json_and_draws_the_regret(
    data: Path, tmp_path: Path, encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The command opens an encoder by name; weights of a real one must not be needed here.
    monkeypatch.setattr("policies.encoders.load.load_encoder", lambda name, source=None: encoder)
    monkeypatch.setenv("GEARSHIFT_CACHE", str(tmp_path / "cache"))
    done = run(data, "--scenario", "drift", "--picture", str(tmp_path / "regret.png"), "--json")
    assert done.exit_code == 0, done.stderr
    result = orjson.loads(done.stdout)
    assert [order["n"] for order in result["orders"]] == [150, 150]
    assert set(result["policies"]) == {"default", "ucb", "full information"}
    assert (tmp_path / "regret.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_it_tells_what_taking_in_a_new_arm_took(
    data: Path, tmp_path: Path, encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("policies.encoders.load.load_encoder", lambda name, source=None: encoder)
    monkeypatch.setenv("GEARSHIFT_CACHE", str(tmp_path / "cache"))
    took_in = ["--players", "default_anchors,default_stranger", "--scenario", "newcomer", "--arm", "new/instant"]
    done = run(data, "--pool", "three", *took_in, "--orders", "1", "--anchors", "20", "--anchors-usd", "0.003")
    assert done.exit_code == 0, done.stderr
    told = " ".join(done.stdout.split())
    assert "the new arm, means of the orders" in told
    # An answer costs 10 + 200 tokens at 1 USD per million: the cap pays for 14 of them.
    assert "anchors USD │ 0.002940 │ 0.000000" in told
    assert "order 0, default_anchors: new/instant taken in by 14 of 20 anchors for 0.002940 USD at request 89" in told
    assert "order 0, default_stranger: new/instant stays a stranger: nobody took it in" in told


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--players", "default_anchors"], "takes in an arm that joins; use it with the scenario newcomer"),
        (["--players", "default_anchors", "--scenario", "newcomer"], "has 2 arms; one that joins needs two others"),
        (["--trial-usd", "inf"], "expected amounts of USD"),
        (["--scenario", "flood"], "no scenario 'flood'"),
        (["--players", "nobody"], "no player is named 'nobody'"),
        (["--warm", "5000"], "a stream needs more than 5000"),
    ],
)
def test_what_cannot_be_played_is_told(
    data: Path, encoder: Any, monkeypatch: pytest.MonkeyPatch, options: list[str], words: str
) -> None:
    monkeypatch.setattr("policies.encoders.load.load_encoder", lambda name, source=None: encoder)
    done = run(data, *options)
    assert done.exit_code in (1, 2)
    assert words in " ".join(done.stderr.split())
