"""Erasing where gateways on several hosts archived the log: what this host cannot reach is refused or named."""

import asyncio
import json
from pathlib import Path

import orjson
import pytest
import redis
from rig import tree
from typer.testing import CliRunner

from policies.archive_schema import read_log
from router.commands.tenants import command as tenants
from router.store.archive import HOLDER_KEY, archive_once
from router.store.archives import ERASING_TTL_S, read_archives
from router.store.base import End, Start, StoreUnavailable
from router.store.erase import Erased, erase_tenant
from router.store.keys import ARCHIVES_KEY
from router.store.valkey import StoreOptions, ValkeyStore


async def answered(url: str, directory: Path, numbers: range) -> None:
    store = ValkeyStore(url, StoreOptions(spool_dir=directory / "spool"))
    await store.start()
    for n in numbers:
        ids = {"request_id": f"r{n}", "decision_id": f"d{n}", "organisation": "o", "tenant": "gone"}
        row = orjson.dumps({**ids, "kind": "drawn", "prompt": "canary"})
        await store.begin(Start(f"r{n}", "o", b'{"tenant":"gone"}', row, b""))
        await store.settle(End(f"r{n}", "o", orjson.dumps({**ids, "status": "ok"}), f"d{n}", "gone"))
    await store.aclose()


async def left_open(url: str, directory: Path) -> None:
    store = ValkeyStore(url, StoreOptions(spool_dir=directory / "spool"))
    await store.start()
    await store.begin(Start("r-open", "o", b'{"tenant":"gone"}', b"{}", b""))
    await store.aclose()


def erase(url: str, directory: Path) -> Erased:
    with redis.Redis.from_url(url) as client:
        return erase_tenant(client, url, directory, organisation="o", tenant="gone", budgets=False)


def rows(directory: Path) -> int:
    return sum(table.num_rows for table in read_log(directory))


@pytest.fixture
def hosts(valkey_url: str, tmp_path: Path) -> tuple[Path, Path]:
    """A archived five requests; its gateway is down, so that its name as the holder has ended."""
    a, b = tmp_path / "a", tmp_path / "b"
    asyncio.run(answered(valkey_url, a, range(5)))
    archive_once(valkey_url, a)
    asyncio.run(answered(valkey_url, a, range(5, 8)))
    forget_holder(valkey_url)
    return a, b


def forget_holder(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.delete(HOLDER_KEY)


def test_a_host_that_archived_nothing_is_refused_and_takes_nothing_over(
    valkey_url: str, hosts: tuple[Path, Path]
) -> None:
    a, b = hosts
    with pytest.raises(StoreUnavailable, match=f"is not archived to {b} but to .*:{a}/archive; run it where"):
        erase(valkey_url, b)
    assert rows(a) == 5
    assert archive_once(valkey_url, a) == 6, "A archives on at once"
    erased = erase(valkey_url, a)
    assert (erased.n_rows, erased.left, rows(a)) == (16, [], 0)


def test_where_two_archives_have_rows_each_names_the_other_until_both_are_done(
    valkey_url: str, hosts: tuple[Path, Path]
) -> None:
    a, b = hosts
    assert archive_once(valkey_url, b) == 6  # B has taken over
    forget_holder(valkey_url)
    first = erase(valkey_url, b)
    assert (first.n_rows, rows(b), rows(a)) == (6, 0, 5)
    (told,) = first.left
    assert f":{a}/archive may still have rows of it: erase on that host too" in told
    again = erase(valkey_url, b)
    assert (again.n_rows, again.elsewhere) == (0, first.elsewhere)
    with redis.Redis.from_url(valkey_url) as client:
        assert client.get(HOLDER_KEY) is None, "neither took archiving over from the other"
        (key,) = client.scan_iter(match="*:erasing:*")
        assert 0 < client.ttl(key) <= ERASING_TTL_S
        last = erase(valkey_url, a)
        assert (last.n_rows, last.left, rows(a)) == (10, [], 0)
        assert list(client.scan_iter(match="*:erasing:*")) == []
    assert erase(valkey_url, a).elsewhere != (), "a later erasure begins anew on all hosts"


def test_one_that_left_requests_open_counts_on_no_other_host_as_done(valkey_url: str, hosts: tuple[Path, Path]) -> None:
    a, b = hosts
    archive_once(valkey_url, b)
    asyncio.run(left_open(valkey_url, b))
    assert len(erase(valkey_url, b).left) == 2
    assert f":{b}/archive" in erase(valkey_url, a).elsewhere[0]


def test_an_archive_of_before_this_was_noted_is_noted_by_its_next_pass_or_erasure(
    valkey_url: str, hosts: tuple[Path, Path]
) -> None:
    a, b = hosts
    with redis.Redis.from_url(valkey_url) as client:
        client.delete(ARCHIVES_KEY)
        archive_once(valkey_url, b)
        assert archive_once(valkey_url, a) == 0  # B holds, and A is noted all the same
        assert {place.partition(":")[2] for place in read_archives(client).values()} == {
            f"{a}/archive", f"{b}/archive",
        }  # fmt: skip
        client.delete(ARCHIVES_KEY)
        erase(valkey_url, b)
        assert len(read_archives(client)) == 1


def test_an_archive_that_is_gone_for_good_is_struck_off(valkey_url: str, hosts: tuple[Path, Path]) -> None:
    _, b = hosts
    archive_once(valkey_url, b)
    with redis.Redis.from_url(valkey_url) as client:
        (gone,) = [name for name, place in read_archives(client).items() if "/a/archive" in place]
        client.hdel(ARCHIVES_KEY, gone)
    assert erase(valkey_url, b).left == []


def test_the_command_names_a_damaged_spool_and_ends_with_its_own_status(
    valkey_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GEARSHIFT_KEY_SECRET", raising=False)
    directory, config = tmp_path / "data", tmp_path / "gearshift.yaml"
    config.write_text(json.dumps(tree(store={"url": valkey_url, "dir": str(directory)})))
    words = ["erase", "gone", "--organisation", "o", "--yes", "--config", str(config)]
    asyncio.run(answered(valkey_url, directory, range(2)))
    copy = directory / "spool" / "w.damaged"
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(b'GSR1{"tenant":"gone","prompt":"canary"}')
    partly = CliRunner().invoke(tenants, words)
    assert (partly.exit_code, partly.stdout) == (3, "4 rows of the log and 2 other keys erased\n")
    assert partly.stderr == f"{copy} is a copy of a damaged spool and may hold rows of it: delete it\n"
    programs = CliRunner().invoke(tenants, [*words, "--json"])
    assert (programs.exit_code, json.loads(programs.stdout)["left"]) == (3, [partly.stderr.strip()])
    assert copy.exists()  # it may be all that is left of what others asked
    copy.unlink()
    assert CliRunner().invoke(tenants, words).exit_code == 0
