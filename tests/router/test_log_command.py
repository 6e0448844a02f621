"""`gearshift log`: one line per client request, up or down, archived or live."""

import asyncio
import csv
import json
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
import redis
from typer.testing import CliRunner

from policies.archive_schema import read_log
from policies.records import DecisionRow, FeedbackRow, OutcomeRow
from router.commands.log import command, moment
from router.commands.log_view import ended
from router.store.archive import archive_once
from router.store.base import End, Start
from router.store.embedded import EmbeddedValkey
from router.store.logbook import exact_usd
from router.store.recovery import make_stub
from router.store.valkey import StoreOptions, ValkeyStore

DECISION = DecisionRow(
    request_id="", decision_id="", client_request_id=None, organisation="acme", tenant="t", key_id="k", session="s",
    turn=0, kind="drawn", requested_model="auto", arm="a/instant", arms=["b/instant", "a/instant"],
    propensities=[0.01, 0.99], quality=[None, 0.5], quality_sd=[None, None], usd=[0.1, 0.2], seconds=[1.0, 2.0],
    revisions=["x", "y"], removed={}, trade_off=[20.0, 0.0, 0.0, None], explore=0.02, policy="rules@1", config="h",
    encoder_id="e", far=False, state="live", stream=False, prompt_tokens=30, features=[0.1], embedding_dim=2,
    tags={"team": "x"}, prompt="a secret prompt",
)  # fmt: skip
OUTCOME = OutcomeRow(
    request_id="", decision_id="", client_request_id=None, organisation="acme", tenant="t", status="ok",
    http_status=200, served_arm="b/instant", upstream_model="m", input_tokens=30, output_tokens=5,
    cached_input_tokens=1, cache_write_tokens=2, reasoning_tokens=3, usage_source="upstream", usage_flags=[],
    nano_usd=1_000_000_001, seconds=0.5, ttft_s=0.1, overhead_s=0.001, finish_reasons=["stop"], tool_calls=0,
    attempts=[], fallback_reason="timeout",
)  # fmt: skip


async def ask(store: ValkeyStore, n: int, **outcome: Any) -> None:
    """One request, begun and settled."""
    ids = {"request_id": f"r{n}", "decision_id": f"d{n}", "client_request_id": f"c{n}"}
    await begin(store, n)
    row = orjson.dumps(asdict(replace(OUTCOME, **ids, **outcome)))
    await store.settle(End(f"r{n}", "acme", row, f"d{n}", "t"))


async def begin(store: ValkeyStore, n: int) -> None:
    row = replace(DECISION, request_id=f"r{n}", decision_id=f"d{n}", client_request_id=f"c{n}")
    await store.begin(Start(f"r{n}", "acme", make_stub(row), orjson.dumps(asdict(row)), b"\0\0\0\0"))


async def fill(url: str, directory: Path) -> None:
    """r0 is archived, r1 is archived but for its outcome, r2 is live, r3 stays open."""
    store = ValkeyStore(url, StoreOptions(spool_dir=directory / "spool"))
    await store.start()
    await ask(store, 0)
    await begin(store, 1)
    await asyncio.to_thread(archive_once, url, directory)
    await ask(store, 1)
    await ask(store, 2, status="error", http_status=502, nano_usd=None)
    await begin(store, 3)
    for value in (0.25, 0.75):
        row = FeedbackRow(f"f{value}", "r0", "d0", "acme", "t", metric="score", value=value)
        await store.feedback("acme", row=orjson.dumps(asdict(row)), idempotency_key="")
    await store.aclose()


@pytest.fixture
def logged(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    """A gateway's store with four requests, running."""
    server = EmbeddedValkey(tmp_path)
    server.start()
    asyncio.run(fill(server.url, tmp_path))
    yield server
    server.stop()


def run(*arguments: str) -> str:
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def exported(server: EmbeddedValkey, *arguments: str) -> list[dict[str, Any]]:
    printed = run("export", "--store-dir", str(server.directory), *arguments)
    return [json.loads(line, parse_float=Decimal) for line in printed.splitlines()]


def test_each_ended_request_is_one_line(logged: EmbeddedValkey) -> None:
    first, second, third = exported(logged)
    assert [row["client_request_id"] for row in (first, second, third)] == ["c0", "c1", "c2"]
    assert (first["status"], first["http_status"], first["kind"]) == ("ok", 200, "drawn")
    assert (first["arm"], first["served_arm"], first["propensity"]) == ("a/instant", "b/instant", Decimal("0.99"))
    assert (first["usd"], first["nano_usd"]) == (Decimal("1.000000001"), 1_000_000_001)
    assert (first["input_tokens"], first["output_tokens"], first["reasoning_tokens"]) == (30, 5, 3)
    assert first["feedback"] == {"score": Decimal("0.75")}
    assert (first["attempts"], first["tags"], first["late"]) == ([], {"team": "x"}, False)
    assert (third["status"], third["usd"], third["feedback"]) == ("error", None, {})


def test_open_requests_are_shown_when_asked_for(logged: EmbeddedValkey) -> None:
    assert [row["status"] for row in exported(logged, "--open")] == ["ok", "ok", "error", "open"]


def test_with_the_gateway_down_what_it_left_open_has_ended(logged: EmbeddedValkey) -> None:
    up = exported(logged)
    logged.stop()
    down = exported(logged)
    assert down[:3] == up
    assert [(row["client_request_id"], row["status"]) for row in down[3:]] == [("c3", "unknown_after_crash")]
    assert exported(logged) == down


@pytest.mark.parametrize("up", [True, False])
def test_what_is_new_is_archived_when_asked_for_up_or_down(logged: EmbeddedValkey, up: bool) -> None:
    if not up:
        logged.stop()
    assert run("archive", "--store-dir", str(logged.directory)).startswith(f"{6 if up else 7} new rows")
    rows = [row for table in read_log(logged.directory) for row in table.to_pylist()]
    assert [row["outcome_status"] for row in rows] == ["ok", "ok", "error", None if up else "unknown_after_crash"]
    assert dict(rows[0]["feedback"]) == {"score": 0.75}
    assert run("archive", "--store-dir", str(logged.directory)).startswith("0 new rows")


def test_prompts_are_shown_only_when_asked_for(logged: EmbeddedValkey) -> None:
    assert "secret" not in run("export", "--store-dir", str(logged.directory), "--open")
    assert exported(logged, "--prompts")[0]["prompt"] == "a secret prompt"


def test_since_leaves_out_older_requests(logged: EmbeddedValkey) -> None:
    second = str(exported(logged)[1]["at"])
    assert [row["client_request_id"] for row in exported(logged, "--since", second)] == ["c1", "c2"]


def test_csv_has_a_header_and_the_same_rows(logged: EmbeddedValkey) -> None:
    out = logged.directory / "log.csv"
    run("export", "--store-dir", str(logged.directory), "--format", "csv", "--out", str(out))
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["client_request_id"], row["usd"], row["feedback"]) for row in rows] == [
        ("c0", "1.000000001", '{"score":0.75}'),
        ("c1", "1.000000001", "{}"),
        ("c2", "", "{}"),
    ]


def test_parquet_keeps_money_exact(logged: EmbeddedValkey) -> None:
    out = logged.directory / "log.parquet"
    run("export", "--store-dir", str(logged.directory), "--format", "parquet", "--out", str(out))
    table = pq.read_table(out)
    assert table["usd"].to_pylist() == [Decimal("1.000000001")] * 2 + [None]
    assert table["request_id"].to_pylist() == ["r0", "r1", "r2"]


def test_the_configuration_says_where_the_store_is(logged: EmbeddedValkey, tmp_path: Path) -> None:
    config = tmp_path / "gearshift.yaml"
    config.write_text(f"store: {{dir: {logged.directory}}}\nmodels: {{m: {{deployments: [{{upstream: fake}}]}}}}\n")
    printed = run("export", "--config", str(config))
    assert len(printed.splitlines()) == 3


def test_tail_shows_the_latest_requests(logged: EmbeddedValkey) -> None:
    printed = run("tail", "--store-dir", str(logged.directory), "-n", "2")
    assert "502" not in printed
    assert [line.split()[2] for line in printed.splitlines() if ":" in line] == ["ok", "error"]


def test_following_sees_requests_as_they_end(logged: EmbeddedValkey) -> None:
    with redis.Redis(unix_socket_path=str(logged.socket)) as client:
        rows = ended(client, block_ms=100)
        found: list[dict[str, Any]] = []
        reader = threading.Thread(target=lambda: found.append(next(rows)))
        reader.start()
        asyncio.run(_ask_until(logged, reader))
    assert found[0]["arm"] == "a/instant"
    assert found[0]["ended_at"] >= found[0]["at"]


async def _ask_until(server: EmbeddedValkey, reader: threading.Thread) -> None:
    # The reader begins at the log's end, whenever that is: go on until it saw one.
    store = ValkeyStore(server.url, StoreOptions(spool_dir=server.directory / "spool"))
    await store.start()
    for n in range(10, 10_000):
        await ask(store, n)
        if not reader.is_alive():
            break
    await store.aclose()


def test_following_needs_a_gateway(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["tail", "-f", "--store-dir", str(tmp_path)])
    assert result.exit_code == 2


def test_parquet_needs_a_file(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["export", "--format", "parquet", "--store-dir", str(tmp_path)])
    assert result.exit_code == 2


@pytest.mark.parametrize(
    ("text", "at"),
    [("90s", 910.0), ("1.5h", -4400.0), ("12.5", 12.5), ("1970-01-01T00:01", 60.0), ("1970-01-01T01:00+01:00", 0.0)],
)
def test_a_moment_is_read(text: str, at: float) -> None:
    assert moment(text, now=1000.0) == at


def test_a_senseless_moment_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["export", "--since", "soon", "--store-dir", str(tmp_path)])
    assert result.exit_code == 2


@pytest.mark.parametrize(("nano", "usd"), [(0, "0.000000000"), (1, "0.000000001"), (2**62, "4611686018.427387904")])
def test_money_is_exact(nano: int, usd: str) -> None:
    assert exact_usd(nano) == usd
