"""`gearshift store backup|restore`: taken while it is written to, wiped, and put back as it was."""

import asyncio
import json
import shutil
import threading
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis
from commanding import run
from rig import tree
from typer.testing import CliRunner

from policies.archive_schema import read_log
from router.commands.audit import command as audit
from router.commands.budget import command as budget
from router.commands.keys import command as keys
from router.commands.store import command as store
from router.commands.tenants import command as tenants
from router.config.load import load_config
from router.kept_prices import keep_prices
from router.store.accounts import sums_in
from router.store.archive import archive_once
from router.store.base import End, Start
from router.store.embedded import EmbeddedValkey
from router.store.keys import log_key, shard_of
from router.store.ledger import Hold, Window, tenant_account
from router.store.valkey import StoreOptions, ValkeyStore

COST, BOUND = 500, 1000


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("GEARSHIFT_KEY_SECRET", raising=False)
    path = tmp_path / "gearshift.yaml"
    path.write_text(json.dumps(tree(tenants={"filed": {"keys": ["k-1"]}}, store={"dir": str(tmp_path / "data")})))
    return path


def failure(config: Path, *words: str) -> str:
    result = CliRunner().invoke(store, [*words, "--config", str(config)])
    assert result.exit_code != 0
    return str(result.exception)


async def spend(url: str, directory: Path, names: range, stop: threading.Event | None = None) -> None:
    """Requests of the tenant `acme`, each settled but every third, until told to stop."""
    worker = ValkeyStore(url, StoreOptions(spool_dir=directory / "spool"))
    await worker.start()
    window = Window(tenant_account("acme"), "month", 10**12, "its own")
    for n in names:
        ids = {"request_id": f"r{n}", "decision_id": f"d{n}", "organisation": "default", "tenant": "acme"}
        row = orjson.dumps({**ids, "kind": "drawn"})
        await worker.begin(Start(f"r{n}", "default", b'{"tenant": "acme"}', row, b"", Hold(BOUND, (window,))))
        if n % 3:
            done = orjson.dumps({**ids, "status": "ok"})
            await worker.settle(End(f"r{n}", "default", done, f"d{n}", "acme", reserved=True, nano_usd=COST))
        if stop is not None and stop.is_set():
            break
    await worker.aclose()


def told(config: Path) -> tuple[Any, ...]:
    """Tenants, keys, budgets and the log of changes, as a person sees them."""
    log = run(audit, config, "list", "--json").splitlines()
    seen = (run(tenants, config, "list", "--json"), run(keys, config, "list", "--json"))
    return (*seen, run(budget, config, "show", "--json"), log)


def stocked(config: Path, directory: Path) -> str:
    """A store with a tenant, money spent, rows in archive and streams; the tenant's key."""
    run(tenants, config, "create", "acme", "budgets=[{per: month, usd: 1000}]")
    key = run(keys, config, "create", "acme").strip()
    with EmbeddedValkey(directory) as server:
        asyncio.run(spend(server.url, directory, range(10)))
        archive_once(server.url, directory)
        asyncio.run(spend(server.url, directory, range(10, 14)))
    return key


@pytest.mark.parametrize("up", [True, False], ids=["gateway up", "gateway down"])
def test_backed_up_wiped_and_restored_everything_is_as_it_was(config: Path, tmp_path: Path, up: bool) -> None:
    directory, copy = tmp_path / "data", tmp_path / "copies" / "monday"
    key = stocked(config, directory)
    if up:
        with EmbeddedValkey(directory):
            run(store, config, "backup", str(copy))
    else:
        run(store, config, "backup", str(copy))
    before, secret = told(config), (directory / "key-secret").read_bytes()
    rows = sum(table.num_rows for table in read_log(directory))
    shutil.rmtree(directory)
    assert "with 3 entries in the log of changes" in run(store, config, "restore", str(copy))
    assert (directory / "key-secret").read_bytes() == secret
    after = told(config)
    assert after[:3] == before[:3]
    assert after[3][:-1] == before[3]
    last = json.loads(after[3][-1])
    assert (last["action"], last["target"]) == ("store.restore", str(copy))
    assert "entries, each sealed" in run(audit, config, "verify")
    assert sum(table.num_rows for table in read_log(directory)) == rows
    assert key not in "".join(map(str, after))
    assert run(keys, config, "create", "acme").startswith("gs-")  # and it goes on


def test_a_copy_taken_while_money_moves_is_of_one_moment(config: Path, tmp_path: Path) -> None:
    directory, copy = tmp_path / "data", tmp_path / "copy"
    stocked(config, directory)
    stop = threading.Event()
    with EmbeddedValkey(directory) as server:
        writer = threading.Thread(target=lambda: asyncio.run(spend(server.url, directory, range(20, 10**6), stop)))
        writer.start()
        run(store, config, "backup", str(copy))
        stop.set()
        writer.join()
    shutil.rmtree(directory)
    run(store, config, "restore", str(copy))
    with EmbeddedValkey(directory, holder="reader") as server, redis.Redis.from_url(server.url) as client:
        (sums,) = [sums_in(packed) for key in client.scan_iter(match="*:now:*") for packed in client.hvals(key)]
        ((spent, reserved),) = sums.values()
        leases = list(client.scan_iter(match="*:open"))
        kinds = [fields[b"t"] for _, fields in client.xrange(log_key(shard_of("default")))]
        archived = [row["outcome_status"] for table in read_log(directory) for row in table.to_pylist()]
        n_ok = sum(status == "ok" for status in archived)
        outcomes = [fields for _, fields in client.xrange(log_key(shard_of("default"))) if fields[b"t"] == b"o"]
        n_live_ok = sum(orjson.loads(fields[b"j"])["status"] == "ok" for fields in outcomes)
        n_crashed = sum(orjson.loads(fields[b"j"])["status"] != "ok" for fields in outcomes)
        n_crashed += sum(status == "unknown_after_crash" for status in archived)
    assert kinds.count(b"d") > 20
    # Restoring closed what was open at that moment, at its whole bound.
    assert (reserved, leases) == (0, [])
    assert spent == COST * (n_ok + n_live_ok) + BOUND * n_crashed


def test_a_backup_leaves_nothing_behind_and_hides_what_it_holds(config: Path, tmp_path: Path) -> None:
    directory, copy = tmp_path / "data", tmp_path / "copy"
    stocked(config, directory)
    with EmbeddedValkey(directory):
        run(store, config, "backup", str(copy), "--no-archive")
        assert not (directory / "dump.rdb").exists()
    assert sorted(path.name for path in copy.iterdir()) == ["key-secret", "manifest.json", "store.rdb"]
    assert [copy.stat().st_mode & 0o77, (copy / "key-secret").stat().st_mode & 0o77] == [0, 0]
    assert list(tmp_path.glob("*.partial*")) == []
    n_entries = len(run(audit, config, "list", "--json").splitlines())
    assert "exists already; name a new directory" in failure(config, "backup", str(copy))
    assert len(run(audit, config, "list", "--json").splitlines()) == n_entries


@pytest.mark.parametrize("name", ["store.rdb", "key-secret", "manifest.json"])
def test_a_damaged_copy_is_refused_before_anything_is_written(config: Path, tmp_path: Path, name: str) -> None:
    directory, copy = tmp_path / "data", tmp_path / "copy"
    stocked(config, directory)
    run(store, config, "backup", str(copy))
    shutil.rmtree(directory)
    raw = (copy / name).read_bytes()
    (copy / name).write_bytes(bytes([raw[0] ^ 1]) + raw[1:])
    told = failure(config, "restore", str(copy))
    assert "not what was backed up" in told or "is damaged" in told or "GEARSHIFT_KEY_SECRET" in told
    assert not (directory / "appendonlydir").exists()


def test_a_store_that_is_there_is_never_replaced(config: Path, tmp_path: Path) -> None:
    directory, copy = tmp_path / "data", tmp_path / "copy"
    stocked(config, directory)
    run(store, config, "backup", str(copy))
    assert "holds a store already; move it away" in failure(config, "restore", str(copy))
    with EmbeddedValkey(directory):
        assert "is in use by process" in failure(config, "restore", str(copy))
    shutil.rmtree(directory / "appendonlydir")
    (directory / "key-secret").write_text("another secret of the same length")
    assert "is not the one of the backup" in failure(config, "restore", str(copy))


def test_an_archive_that_outlived_the_store_stays(config: Path, tmp_path: Path) -> None:
    directory, copy = tmp_path / "data", tmp_path / "copy"
    stocked(config, directory)
    run(store, config, "backup", str(copy))
    newer = directory / "archive" / "decisions" / "newer"
    newer.write_text("")
    shutil.rmtree(directory / "appendonlydir")
    run(store, config, "restore", str(copy))
    assert newer.exists()


def test_the_prices_of_old_entries_are_copied_and_put_back_beside_newer_ones(config: Path, tmp_path: Path) -> None:
    directory, copy = tmp_path / "data", tmp_path / "copy"
    stocked(config, directory)
    keep_prices(directory, load_config(config))
    (old,) = (directory / "prices").iterdir()
    (directory / "prices" / "half.1.partial").write_text("{")
    raw = old.read_bytes()
    run(store, config, "backup", str(copy), "--no-archive")
    assert [path.name for path in (copy / "prices").iterdir()] == [old.name]
    shutil.rmtree(directory)
    newer = directory / "prices" / "newer.json"
    newer.parent.mkdir(parents=True)
    newer.write_text("{}")
    run(store, config, "restore", str(copy))
    assert {path.name: path.read_bytes() for path in newer.parent.iterdir()} == {old.name: raw, newer.name: b"{}"}


def test_prices_that_were_changed_in_the_copy_are_refused_and_a_copy_without_is_not(
    config: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "data"
    stocked(config, directory)
    run(store, config, "backup", str(tmp_path / "without"))
    keep_prices(directory, load_config(config))
    run(store, config, "backup", str(tmp_path / "with"))
    shutil.rmtree(directory)
    (changed,) = (tmp_path / "with" / "prices").iterdir()
    changed.write_text("{}")
    assert f"prices/{changed.name} is missing or not what was backed up" in failure(
        config, "restore", str(tmp_path / "with")
    )
    run(store, config, "restore", str(tmp_path / "without"))
    assert not (directory / "prices").exists()


def test_the_secret_of_the_environment_must_be_that_of_the_backup(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, copy = tmp_path / "data", tmp_path / "copy"
    monkeypatch.setenv("GEARSHIFT_KEY_SECRET", "a secret of the environment")
    stocked(config, directory)
    assert "without key secret" in run(store, config, "backup", str(copy))
    shutil.rmtree(directory)
    monkeypatch.setenv("GEARSHIFT_KEY_SECRET", "another one altogether")
    assert "is not the one under which" in failure(config, "restore", str(copy))
    monkeypatch.delenv("GEARSHIFT_KEY_SECRET")
    assert "is not set, and the backup does not hold the secret" in failure(config, "restore", str(copy))
    monkeypatch.setenv("GEARSHIFT_KEY_SECRET", "a secret of the environment")
    run(store, config, "restore", str(copy))
    assert "each sealed" in run(audit, config, "verify")


def test_what_is_no_backup_and_what_is_not_ours_to_back_up_is_said(config: Path, tmp_path: Path) -> None:
    assert "holds no backup: manifest.json cannot be read" in failure(config, "restore", str(tmp_path / "none"))
    shared = tmp_path / "shared.yaml"
    shared.write_text(json.dumps(tree(store={"url": "redis://user:secret-word@db:6379/0"})))
    for words in (["backup", str(tmp_path / "copy")], ["restore", str(tmp_path / "copy")]):
        said = failure(shared, *words)
        assert "BGSAVE" in said
        assert "secret-word" not in said
    newer = tmp_path / "newer"
    newer.mkdir()
    (newer / "manifest.json").write_text('{"format": 2, "at": 0, "secret_id": "", "schema": 1, "files": {}}')
    assert "newer version" in failure(config, "restore", str(newer))
