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
    """The first 300 queries of the small world, as a set with a pool."""
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
    pq.write_table(pa.Table.from_pylist(rows), folder / "world" / "outcomes.parquet")
    arms = [
        {"model": name, "mode": "instant", "usd_per_mtok": {"input": usd, "output": usd}}
        for name, usd in (("cheap", 0.1), ("dear", 10.0))
    ]
    (folder / "pools.json").write_bytes(orjson.dumps({"small": {"set": "world", "domain": "subject", "arms": arms}}))
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


@pytest.mark.parametrize(
    ("options", "words"),
    [
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
