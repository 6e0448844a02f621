"""`gearshift tenants`, `keys`, `audit`, `budget set`: with the gateway up and down, and before the first start."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import typer
from commanding import run
from rig import tree
from typer.testing import CliRunner

from router.commands.audit import command as audit
from router.commands.budget import command as budget
from router.commands.keys import command as keys
from router.commands.tenants import command as tenants
from router.errors import ApiError, Conflict
from router.secret import key_secret
from router.store.embedded import EmbeddedValkey
from router.store.keys import AUDIT_KEY
from router.tenants import key_hmac


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.delenv("GEARSHIFT_KEY_SECRET", raising=False)
    path = tmp_path / "gearshift.yaml"
    path.write_text(json.dumps(tree(tenants={"filed": {"keys": ["k-1"]}}, store={"dir": str(tmp_path / "data")})))
    return path


def test_from_the_first_tenant_to_a_revoked_key_with_the_gateway_down_and_up(config: Path, tmp_path: Path) -> None:
    run(tenants, config, "create", "acme", "organisation=globex", "models=[small]", "explore=0.02")
    with EmbeddedValkey(tmp_path / "data"):
        made = json.loads(run(keys, config, "create", "acme", "--name", "ci", "--json"))
        run(budget, config, "set", "acme", "--per", "day", "--usd", "5")
        shown = json.loads(run(budget, config, "show", "--json"))
    assert made["key_id"] == key_hmac(key_secret(tmp_path / "data", {}), made["key"])[:8]
    assert (shown["acme"]["limit_usd"], shown["acme"]["organisation"]) == (5.0, "globex")
    replaced = run(keys, config, "rotate", made["key_id"], "--grace", "1h").strip()
    assert replaced.startswith("gs-")
    listed = json.loads(run(keys, config, "list", "--json"))
    assert [(row["tenant"], row["kept_in"], row["state"]) for row in listed] == [
        ("filed", "file", "valid"),
        ("acme", "store", "ending"),
        ("acme", "store", "valid"),
    ]
    assert not any("digest" in row for row in listed)
    run(keys, config, "revoke", made["key_id"])
    told = json.loads(run(tenants, config, "show", "acme", "--json"))
    assert (told["n_keys"], told["settings"]["models"], told["settings"]["trade_off"]) == (1, ["small"], "balanced")
    run(tenants, config, "set", "acme", "models=", "trade_off=cheap")
    told = json.loads(run(tenants, config, "show", "acme", "--json"))
    assert (told["settings"]["models"], told["settings"]["trade_off"]) == (None, "cheap")
    run(tenants, config, "delete", "acme")
    assert [row["name"] for row in json.loads(run(tenants, config, "list", "--json"))] == ["filed"]
    actions = [json.loads(line)["action"] for line in run(audit, config, "list", "--json").splitlines()]
    assert actions == [
        "tenant.create", "key.create", "budget.set", "key.rotate", "key.revoke", "tenant.set", "tenant.delete",
    ]  # fmt: skip
    assert "7 entries" in run(audit, config, "verify")


def test_the_log_names_who_runs_the_command_and_holds_no_key(config: Path) -> None:
    run(tenants, config, "create", "acme")
    key = run(keys, config, "create", "acme").strip()
    lines = run(audit, config, "list", "--json")
    assert key not in lines
    assert re.fullmatch(r"cli:[^@]+@.+", json.loads(lines.splitlines()[0])["by"])
    assert key not in run(keys, config, "list")
    assert "tenant.create" in run(audit, config, "list", "-n", "2")


def test_a_log_that_was_touched_is_told_and_a_copy_tells_what_a_cut_hides(config: Path, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        run(tenants, config, "create", name)
    copy = tmp_path / "copy.jsonl"
    copy.write_text(run(audit, config, "list", "--json"))
    assert "3 entries" in run(audit, config, "verify", "--copy", str(copy))
    with EmbeddedValkey(tmp_path / "data", holder="reader") as server, redis.Redis.from_url(server.url) as client:
        client.rpop(AUDIT_KEY)
    assert "ends with entry 2, but the last one written was entry 3" in broken(config)
    assert f"differs from {copy} at entry 3" in broken(config, "--copy", str(copy))
    copy.write_bytes(copy.read_bytes().replace(b'"b"', b'"B"', 1))
    assert f"{copy}: entry 2 was changed" in broken(config, "--copy", str(copy))
    assert "cannot be read: No such file" in broken(config, "--copy", str(tmp_path / "none"))


def broken(config: Path, *more: str) -> str:
    """What verify says."""
    result = CliRunner().invoke(audit, ["verify", *more, "--config", str(config)])
    assert result.exit_code != 0
    return str(result.exception)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["create", "acme", "explore"], "expected FIELD=VALUE"),
        (["create", "acme", "explore=[1"], "the value is no YAML"),
        (["create", "acme", "explore=lots"], "explore: expected a number, got 'lots'"),
        (["create", "filed"], "stands in the configuration file"),
        (["set", "acme"], "nothing to set"),
        (["set", "acme", "explore=0.1"], "no tenant is called 'acme'"),
        (["show", "nobody"], "no tenant is called 'nobody'; tenants: filed"),
        (["delete", "filed"], "change it there"),
        (["create", "acme", "exlpore=0.2"], "exlpore: unknown key (did you mean 'explore'?)"),
        (["create", "acme", "models=[smal]"], "models[0]: no such model; got 'smal' (did you mean 'small'?)"),
        (
            ["create", "acme", "budgets=[{per: day, usd: -1}]"],
            "budgets[0].usd: expected a number of at least 1e-09, got -1",
        ),
    ],
)
def test_what_cannot_be_done_is_said(config: Path, words: list[str], told: str) -> None:
    result = CliRunner().invoke(tenants, [*words, "--config", str(config)])
    assert result.exit_code != 0
    assert told in str(result.exception)


def test_a_grace_that_is_no_duration_is_refused_before_anything_is_made(config: Path) -> None:
    result = CliRunner().invoke(keys, ["rotate", "00000000", "--grace", "soon", "--config", str(config)])
    assert (result.exit_code, "expected 90s" in result.output) == (2, True)


def test_a_grace_beyond_a_year_is_refused_and_keys_are_still_listed(config: Path) -> None:
    run(tenants, config, "create", "acme")
    key_id = json.loads(run(keys, config, "create", "acme", "--json"))["key_id"]
    result = CliRunner().invoke(keys, ["rotate", key_id, "--grace", "99999999d", "--config", str(config)])
    assert "0 s to 365 days, got 1e+08 days" in str(result.exception)
    assert key_id in run(keys, config, "list")
    assert run(keys, config, "rotate", key_id, "--grace", "365d").startswith("gs-")
    assert "ending" in run(keys, config, "list")


def test_tenants_are_made_deleted_and_erased_for_programs(config: Path) -> None:
    made = json.loads(run(tenants, config, "create", "acme", "organisation=globex", "explore=0.02", "--json"))
    assert made == {"organisation": "globex", "explore": 0.02}
    asked = CliRunner().invoke(tenants, ["erase", "acme", "--json", "--config", str(config)], input="y\n")
    assert (asked.exit_code, "Erase for good" in asked.stderr) == (0, True)
    assert json.loads(asked.stdout.removeprefix(" y\n")) == {  # what the runner types, as a terminal shows it

        "tenant": "acme", "organisation": "globex", "budgets": False, "n_rows": 0, "n_keys": 0, "n_open": 0,
        "is_compact": True, "left": [],
    }  # fmt: skip
    assert json.loads(run(tenants, config, "delete", "acme", "--json")) == {"name": "acme"}


@pytest.mark.parametrize("words", [["create", "filed"], ["delete", "nobody"], ["erase", "nobody", "--yes"]])
def test_what_is_refused_prints_no_json(config: Path, words: list[str]) -> None:
    result = CliRunner().invoke(tenants, [*words, "--json", "--config", str(config)])
    assert result.exit_code == 1
    assert result.stdout == ""


def test_a_key_of_a_tenant_of_the_file_is_not_made_here(config: Path) -> None:
    result = CliRunner().invoke(keys, ["create", "filed", "--config", str(config)])
    assert isinstance(result.exception, Conflict)
    assert isinstance(result.exception, ApiError)


def test_a_key_of_the_file_is_ended_there_and_the_message_says_so(config: Path, tmp_path: Path) -> None:
    (key_id,) = [row["key_id"] for row in json.loads(run(keys, config, "list", "--json"))]
    for words in (["revoke", key_id], ["rotate", key_id]):
        result = CliRunner().invoke(keys, [*words, "--config", str(config)])
        assert isinstance(result.exception, Conflict)
        assert f"key {key_id} of tenant 'filed' stands in the configuration file: take it out" in str(result.exception)


def test_the_table_of_changes_shows_what_differs_and_the_lines_show_all(config: Path) -> None:
    run(tenants, config, "create", "acme", "organisation=globex", "explore=0.5")
    run(tenants, config, "set", "acme", "explore=0.25")
    table = run(audit, config, "list", "-n", "1")
    assert '{"explore":0.5}' in table
    assert '{"explore":0.25}' in table
    assert "globex" not in table
    assert json.loads(run(audit, config, "list", "-n", "1", "--json"))["after"]["organisation"] == "globex"
    run(tenants, config, "delete", "acme")
    assert "globex" in run(audit, config, "list", "-n", "1")


def test_each_command_that_changes_tells_people_what_is_and_programs_in_json(config: Path) -> None:
    run(tenants, config, "create", "acme")

    def both(command: typer.Typer, *words: str) -> tuple[Any, str]:
        result = CliRunner().invoke(command, [*words, "--json", "--config", str(config)], catch_exceptions=False)
        return json.loads(result.stdout), result.stderr

    assert both(tenants, "set", "acme", "explore=0.5", "models=") == (
        {"explore": 0.5},
        "tenant acme: explore = 0.5, models = default; gateways follow within a second\n",
    )
    assert both(budget, "set", "acme", "--per", "day", "--usd", "5", "--pace") == (
        [{"per": "day", "usd": 5.0, "pace": True}],
        "tenant acme has 5 USD per day, paced\n",
    )
    assert both(budget, "set", "acme", "--per", "day") == ([], "tenant acme has no budget\n")
    key_id = json.loads(run(keys, config, "create", "acme", "--json"))["key_id"]
    assert both(keys, "revoke", key_id)[0] == {"key_id": key_id, "tenant": "acme"}
    assert both(audit, "verify")[0] == {"whole": True, "n_entries": 6, "problem": None}
    assert both(budget, "statement")[0]["total"]["requests"] == 0
    table = run(tenants, config, "show", "acme")
    assert re.search(r"kept_in +store", table)
    assert re.search(r"explore +0\.5", table)


def test_a_broken_log_is_told_in_json_too(config: Path, tmp_path: Path) -> None:
    run(tenants, config, "create", "a")
    with EmbeddedValkey(tmp_path / "data", holder="reader") as server, redis.Redis.from_url(server.url) as client:
        client.lset(AUDIT_KEY, 0, client.lindex(AUDIT_KEY, 0).replace(b'"a"', b'"b"'))
    result = CliRunner().invoke(audit, ["verify", "--json", "--config", str(config)])
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert (told["whole"], told["n_entries"]) == (False, 1)
    assert "entry 1 was changed" in told["problem"]
