"""Commands without `--config`: all of them read the default place, and say the same where there is none."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from router.commands.audit import command as audit
from router.commands.budget import command as budget
from router.commands.keys import command as keys
from router.commands.log import command as log
from router.commands.store import command as store
from router.commands.tenants import command as tenants
from router.config.providers import providers

COMMANDS = {
    "tenants": (tenants, ["list", "show t", "create t", "set t explore=0.1", "delete t", "erase t --yes"]),
    "keys": (keys, ["list", "create t", "rotate 00000000", "revoke 00000000"]),
    "budget": (budget, ["show", "forecast", "statement", "statement --window day", "set t --per day --usd 1"]),
    "audit": (audit, ["list", "verify"]),
    "store": (store, ["backup copy"]),
    "log": (log, ["tail", "export", "archive"]),
}
EVERY = [(name, words) for name, (_, asked) in COMMANDS.items() for words in asked]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's home, without any provider's key."""
    for variable in ("GEARSHIFT_KEY_SECRET", *providers()):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(name: str, words: str) -> Result:
    return CliRunner().invoke(COMMANDS[name][0], words.split())


def done(name: str, words: str) -> str:
    result = run(name, words)
    assert result.exit_code == 0, result.output + str(result.exception)
    return result.stdout


@pytest.mark.parametrize(("name", "words"), EVERY, ids=[f"{name} {words}" for name, words in EVERY])
def test_where_no_gateway_ever_ran_each_says_so_and_makes_nothing(home: Path, name: str, words: str) -> None:
    result = run(name, words)
    place = home / ".local" / "share" / "gearshift"
    assert result.exit_code == 1
    assert str(result.exception) == f"{place} does not exist: no gateway has run with this store.dir yet"
    assert list(home.iterdir()) == []


def test_a_store_in_the_default_place_is_found_by_all(home: Path) -> None:
    (home / ".local" / "share" / "gearshift").mkdir(parents=True)
    done("tenants", "create acme organisation=globex")
    done("budget", "set acme --per day --usd 5")
    key = json.loads(done("keys", "create acme --json"))
    done("keys", f"rotate {key['key_id']} --grace 1h")
    assert [row["name"] for row in json.loads(done("tenants", "list --json"))] == ["default", "acme"]
    assert json.loads(done("tenants", "show acme --json"))["n_keys"] == 2
    assert json.loads(done("budget", "show --json"))["acme"]["limit_usd"] == 5.0
    assert list(json.loads(done("budget", "forecast --json"))) == ["acme"]
    (window,) = json.loads(done("budget", "statement --window day --format json"))["windows"]
    assert (window["owner"], window["difference_nano_usd"]) == ("tenant 'acme'", 0)
    assert len(done("audit", "list --json").splitlines()) == 4
    assert "4 entries" in done("audit", "verify")
    assert "0 rows" in done("tenants", "erase acme --yes")


def test_a_backup_of_the_default_place_comes_back_to_where_it_was(home: Path) -> None:
    place = home / ".local" / "share" / "gearshift"
    place.mkdir(parents=True)
    done("tenants", "create acme")
    done("store", "backup copy")
    place.rename(home / "away")
    assert str(place) in done("store", "restore copy")
    assert [row["name"] for row in json.loads(done("tenants", "list --json"))] == ["default", "acme"]


def test_what_is_not_looked_at_without_a_file_is_told_on_the_error_stream(home: Path) -> None:
    (home / ".local" / "share" / "gearshift").mkdir(parents=True)
    result = run("budget", "show --json")
    assert json.loads(result.stdout) == {}
    assert "no --config given: the store in ~/.local/share/gearshift, with the models found here" in result.stderr
