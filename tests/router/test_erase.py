"""`gearshift tenants erase`: nothing of the tenant is left in any file, and nothing of anybody else's is gone."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
import redis
from counters import counts_in
from crashing import Killed, killed_after
from rig import tree
from typer.testing import CliRunner

from policies.archive_schema import DamagedPartition, read_log
from router.commands.audit import command as audit
from router.commands.tenants import command as tenants
from router.config.load import load_config
from router.sessions import Standing
from router.store.accounts import sums_in
from router.store.archive import archive_once
from router.store.balances import read_balances
from router.store.base import End, Start, StoreUnavailable
from router.store.embedded import EmbeddedValkey
from router.store.erase import erase_tenant
from router.store.keys import online_keys, scope_of
from router.store.ledger import BudgetRefused, Hold, Window, tenant_account
from router.store.limits import Claim, Limit, LimitRefused, key_account
from router.store.valkey import StoreOptions, ValkeyStore

CANARY, OTHER = "canary-7f3a9c41", "neighbour-5b2e"
ORGANISATION = "acme*[o]"  # as a pattern it would match others' keys, or none


def claim(tenant: str) -> Claim:
    """Of a tenant's limit and its key's."""
    counted = Limit(tenant_account(tenant), "its own", requests=10_000, concurrency=100, shares=(("instant", 10**6),))
    return Claim((counted, Limit(key_account(f"key-{tenant}"), "its key's", tokens=10_000)), tokens=1, mode="instant")


async def answered(url: str, directory: Path, tenant: str, numbers: range, *, mark: str) -> None:
    """Requests of a tenant with all that they leave; `mark` is in each of their texts."""
    store = ValkeyStore(url, StoreOptions(spool_dir=directory / "spool"))
    await store.start()
    owner = {"organisation": ORGANISATION, "tenant": tenant}
    window = Window(tenant_account(tenant), "day", 10**9, "its own")
    for n in numbers:
        request, decision = f"r-{tenant}-{n}", f"d-{mark}-{n}"
        ids = {"request_id": request, "decision_id": decision}
        row = orjson.dumps({**ids, **owner, "kind": "drawn", "prompt": f"{mark} asks {n}", "tags": {"who": mark},
                            "key_id": f"key-{tenant}"})  # fmt: skip
        stub = orjson.dumps({"tenant": tenant, "decision_id": decision})
        await store.begin(Start(request, ORGANISATION, stub, row, mark.encode(), Hold(1000, (window,)), claim(tenant)))
        outcome = orjson.dumps({**ids, **owner, "status": "ok", "error": mark})
        said = orjson.dumps({"feedback_id": f"f-{tenant}-{n}", **owner, "decision_id": decision, "comment": mark})
        standing = Standing("small/instant", decision, n).dump()
        await store.settle(
            End(
                request, ORGANISATION, outcome, decision, tenant, session=f"s-{mark}-{n}", session_value=standing,
                tool_calls=(f"{len(tenant)}:{tenant}:call-{n}",), reserved=True, nano_usd=500, limited=True, tokens=2,
            )
        )  # fmt: skip
        await store.feedback(ORGANISATION, row=said, idempotency_key=f"{len(tenant)}:{tenant}:{mark}-{n}")
    await store.aclose()


async def fill(url: str, directory: Path, numbers: range) -> None:
    await answered(url, directory, "gone", numbers, mark=CANARY)
    await answered(url, directory, "stays", numbers, mark=OTHER)


def waiting(client: "redis.Redis", numbers: range) -> None:
    key = online_keys("artifact-1").waiting
    client.hset(key, mapping={f"d-{mark}-{n}": f"what {mark} asked" for n in numbers for mark in (CANARY, OTHER)})


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[EmbeddedValkey, Path]]:
    """A store of its own, for its files are looked at; rows in the archive, in the streams, and one of no schema."""
    directory = tmp_path / "data"
    with EmbeddedValkey(directory) as server:
        asyncio.run(fill(server.url, directory, range(5)))
        with redis.Redis.from_url(server.url) as client:
            for mark, tenant in ((CANARY, "gone"), (OTHER, "stays")):
                bad = orjson.dumps({"organisation": ORGANISATION, "tenant": tenant, "turn": mark})
                client.xadd(scope_of(ORGANISATION).log, {"t": "d", "at": "1", "j": bad})
            archive_once(server.url, directory)
            asyncio.run(fill(server.url, directory, range(5, 8)))
            waiting(client, range(8))
        yield server, directory


def erase(server: EmbeddedValkey, directory: Path, step: Callable[[str], None] = lambda name: None) -> tuple[int, int]:
    with redis.Redis.from_url(server.url) as client:
        erased = erase_tenant(
            client, server.url, directory, organisation=ORGANISATION, tenant="gone", budgets=True, step=step
        )
    assert (erased.n_open, erased.is_compact) == (0, True)
    return erased.n_rows, erased.n_keys


def where(directory: Path, text: str) -> set[str]:
    """Files that hold a text, partitions in any of their columns."""
    found = {path.name for path in directory.rglob("*") if path.is_file() and text.encode() in path.read_bytes()}
    for path in directory.rglob("*.parquet"):
        with pq.ParquetFile(path) as partition:
            if text in repr(partition.read().to_pylist()):
                found.add(path.parents[1].name)
    return found


def settled(directory: Path) -> set[str]:
    """Where the canary is once the server has taken its old files away, which it does beside its work."""
    deadline = time.monotonic() + 20
    while (found := where(directory, CANARY)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def others(server: EmbeddedValkey, directory: Path) -> tuple[object, ...]:
    """What the neighbour has, wherever it lies."""
    archive_once(server.url, directory)
    rows = [row for table in read_log(directory) for row in table.to_pylist() if row["tenant"] == "stays"]
    seen = {(row["request_id"], row["prompt"], row["outcome_status"], row["embedding"]) for row in rows}
    (bad,) = directory.glob("archive/*/*/*.unreadable")
    with redis.Redis.from_url(server.url) as client:
        keys = sorted(key for key in client.scan_iter() if OTHER.encode() in key or b"stays" in key)
        held = sorted(name for name in client.hkeys(online_keys("artifact-1").waiting))
        window = [sums_in(packed) for packed in client.hmget(scope_of(ORGANISATION).now, [tenant_account("stays")])]
    waits = [name for name in held if OTHER.encode() in name]
    return sorted(seen), OTHER in bad.read_text(), keys, waits, window, counts(server, "stays")


def counts(server: EmbeddedValkey, tenant: str) -> list[tuple[bytes, str]]:
    """What limits and shares count of a tenant and its key."""
    scope = scope_of(ORGANISATION)
    with redis.Redis.from_url(server.url) as client:
        records, shares = client.hgetall(scope.now), client.hgetall(scope.shares)
    counted = {(name, repr(counts_in(record))) for name, record in records.items() if any(counts_in(record))}
    found = counted | {(name, repr(packed)) for name, packed in shares.items()}
    return sorted(item for item in found if tenant.encode() in item[0])


def test_no_file_holds_the_canary_and_the_neighbour_keeps_everything(served: tuple[EmbeddedValkey, Path]) -> None:
    server, directory = served
    assert where(directory, CANARY) >= {"decisions", "outcomes", "feedback"}
    before = others(server, directory)
    assert len(counts(server, "gone")) == len(counts(server, "stays")) == 3
    n_rows, n_keys = erase(server, directory)
    assert n_rows == 8 * 3 + 1
    # Request, session, tool call, feedback's key and waiting decision of each; one window; two limits and a share.
    assert n_keys == 8 * 5 + 1 + 3
    assert counts(server, "gone") == []
    assert settled(directory) == set()
    assert others(server, directory) == before
    with redis.Redis.from_url(server.url) as client:
        assert [key for key in client.scan_iter() if CANARY.encode() in key or b"4:gone" in key] == []
        assert not client.hexists(scope_of(ORGANISATION).now, tenant_account("gone"))
    assert erase(server, directory) == (0, 0)


@pytest.mark.parametrize("wanted", range(1, 17))
def test_killed_after_any_step_it_is_begun_again_and_ends_alike(
    served: tuple[EmbeddedValkey, Path], wanted: int
) -> None:
    server, directory = served
    before = others(server, directory)
    try:
        erase(server, directory, killed_after(wanted))
    except Killed:
        erase(server, directory)
    else:
        assert wanted > 10  # fewer steps than that there are not
    assert settled(directory) == set()
    assert others(server, directory) == before


def test_rows_that_come_meanwhile_stay_in_the_log_and_ids_go_on(served: tuple[EmbeddedValkey, Path]) -> None:
    server, directory = served
    log = scope_of(ORGANISATION).log

    def meanwhile(name: str) -> None:
        if name == "archived":
            asyncio.run(fill(server.url, directory, range(20, 22)))

    with redis.Redis.from_url(server.url) as client:
        erase(server, directory, meanwhile)
        assert client.xlen(log) == 2 * 3
        newest = client.xrevrange(log, count=1)[0][0]
        asyncio.run(answered(server.url, directory, "stays", range(30, 31), mark=OTHER))
        added = [entry for entry, _ in client.xrange(log, min=b"(" + newest)]
        assert len(added) == 3
    assert settled(directory) == set()


def test_an_empty_log_goes_on_where_it_was(served: tuple[EmbeddedValkey, Path]) -> None:
    server, directory = served
    with redis.Redis.from_url(server.url) as client:
        archive_once(server.url, directory)
        last = client.xinfo_stream(scope_of(ORGANISATION).log)["last-generated-id"]
        erase(server, directory)
        info = client.xinfo_stream(scope_of(ORGANISATION).log)
    assert (info["length"], info["last-generated-id"]) == (0, last)


def test_a_request_under_way_is_counted_and_told(served: tuple[EmbeddedValkey, Path]) -> None:
    server, directory = served

    async def open_one() -> None:
        store = ValkeyStore(server.url, StoreOptions(spool_dir=directory / "spool"))
        await store.start()
        for tenant in ("gone", "stays"):
            stub = orjson.dumps({"tenant": tenant})
            await store.begin(Start(f"open-{tenant}", ORGANISATION, stub, b"{}", b"", claim=claim(tenant)))
        await store.aclose()

    async def end_it() -> None:
        store = ValkeyStore(server.url, StoreOptions(spool_dir=directory / "spool"))
        await store.start()
        for tenant in ("gone", "stays"):
            await store.settle(End(f"open-{tenant}", ORGANISATION, b"{}", "d", tenant, limited=True, tokens=3))
        await store.aclose()

    asyncio.run(open_one())
    with redis.Redis.from_url(server.url) as client:
        erased = erase_tenant(client, server.url, directory, organisation=ORGANISATION, tenant="gone", budgets=False)
    assert erased.n_open == 1
    asyncio.run(end_it())
    assert (counts(server, "gone"), len(counts(server, "stays"))) == ([], 3), "its end writes no count anew"


@pytest.mark.parametrize("budgets", [False, True])
def test_what_is_open_meanwhile_keeps_its_reservation_and_its_place(tmp_path: Path, budgets: bool) -> None:
    window = Window(tenant_account("gone"), "day", 1000, "its own")
    limits = (Limit(tenant_account("gone"), "its own", concurrency=2, tokens=10_000),)
    scope, account = scope_of(ORGANISATION), tenant_account("gone")

    def opened(name: str, bound: int) -> Start:
        stub = orjson.dumps({"tenant": "gone"})
        return Start(name, ORGANISATION, stub, b"{}", b"", Hold(bound, (window,)), Claim(limits, tokens=5))

    def ended(name: str, cost: int) -> End:
        return End(name, ORGANISATION, b"{}", "d", "gone", reserved=True, nano_usd=cost, limited=True, tokens=7)

    async def scenario(url: str, client: Any) -> None:
        store = ValkeyStore(url, StoreOptions(spool_dir=tmp_path / "spool"))
        await store.start()
        await store.begin(opened("before", 50))
        await store.settle(ended("before", 40))
        await store.begin(opened("across", 900))
        await asyncio.to_thread(
            erase_tenant, client, url, tmp_path, organisation=ORGANISATION, tenant="gone", budgets=budgets
        )
        await store.begin(opened("after", 60 if not budgets else 100))
        with pytest.raises(LimitRefused):
            await store.begin(opened("third", 0))
        await store.settle(ended("across", 900))
        await store.settle(ended("after", 100))
        with pytest.raises(BudgetRefused):
            await store.begin(opened("beyond", 1))
        await store.aclose()

    with EmbeddedValkey(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        archive_once(server.url, tmp_path)
        asyncio.run(scenario(server.url, client))
        record = client.hget(scope.now, account)
    assert list(sums_in(record).values()) == [(1000 if budgets else 1040, 0)]
    assert counts_in(record)[3] == 0


def test_a_window_that_is_apart_is_forgotten_with_the_others(tmp_path: Path) -> None:
    window = Window(tenant_account("gone"), "day", 2**53 - 1, "its own")
    scope = scope_of(ORGANISATION)

    async def overdrawn(url: str) -> None:
        store = ValkeyStore(url, StoreOptions(spool_dir=tmp_path / "spool"))
        await store.start()
        for n in range(2):
            await store.begin(Start(f"r{n}", ORGANISATION, b"{}", b"{}", b"", Hold(1, (window,), soft=True)))
            await store.settle(
                End(f"r{n}", ORGANISATION, b"{}", "d", "gone", reserved=True, nano_usd=9_000_000_000_000_000)
            )
        await store.aclose()

    async def begin_again(url: str) -> None:
        store = ValkeyStore(url, StoreOptions(spool_dir=tmp_path / "spool"))
        await store.start()
        await store.begin(Start("r9", ORGANISATION, b"{}", b"{}", b"", Hold(2**53 - 1, (window,))))
        await store.aclose()

    with EmbeddedValkey(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        archive_once(server.url, tmp_path)
        asyncio.run(overdrawn(server.url))
        assert len(client.hgetall(scope.account(tenant_account("gone")))) == 2
        erase_tenant(client, server.url, tmp_path, organisation=ORGANISATION, tenant="gone", budgets=True)
        asyncio.run(begin_again(server.url))


def test_budgets_stay_unless_they_are_named(served: tuple[EmbeddedValkey, Path]) -> None:
    server, directory = served
    with redis.Redis.from_url(server.url) as client:
        erase_tenant(client, server.url, directory, organisation=ORGANISATION, tenant="gone", budgets=False)
        packed = client.hget(scope_of(ORGANISATION).now, tenant_account("gone"))
        assert [spent for spent, _ in sums_in(packed).values()] == [4000]


@pytest.mark.parametrize("budgets", [False, True], ids=["budgets stay", "budgets too"])
def test_a_replay_that_repeats_erased_requests_charges_and_writes_nothing(
    served: tuple[EmbeddedValkey, Path], budgets: bool
) -> None:
    server, directory = served
    scope, day = scope_of(ORGANISATION), Window(tenant_account("gone"), "day", 10**9, "its own")

    async def again() -> None:
        """What was sent already, from a spool that its gateway could not forget in time; also the draw of a slice."""
        store = ValkeyStore(server.url, StoreOptions(spool_dir=directory / "spool"))
        await store.start()
        for n in range(8):
            start = Start(f"r-gone-{n}", ORGANISATION, b"{}", CANARY.encode(), b"", Hold(1000, (day,)))
            store._backlog.draw(start, Hold(1000, (day,)), owner="dead:1", slice_id="slice-dead")
            store._backlog.settle(
                End(start.request_id, ORGANISATION, CANARY.encode(), "d", "gone", reserved=True, nano_usd=500)
            )
        assert await store.replay() == 16
        await store.aclose()

    with redis.Redis.from_url(server.url) as client:
        erase_tenant(client, server.url, directory, organisation=ORGANISATION, tenant="gone", budgets=budgets)
        n_rows = client.xlen(scope.log)
        asyncio.run(again())
        (found,) = read_balances(client, [(ORGANISATION, day)])
        assert (found.spent, found.reserved, client.xlen(scope.log)) == (0 if budgets else 4000, 0, n_rows)
        assert client.get(scope.request("r-gone-1")) == b"\n"
        assert 29 * 86_400 < client.ttl(scope.request("r-gone-1")) <= 30 * 86_400
        assert client.get(scope.request("r-stays-1")) == f"d-{OTHER}-1\nstays".encode()
    assert settled(directory) == set()


@pytest.mark.parametrize("budgets", [False, True], ids=["budgets stay", "budgets too"])
def test_what_is_reserved_stays_so_until_it_is_given_back(served: tuple[EmbeddedValkey, Path], budgets: bool) -> None:
    server, directory = served
    day, hour = (Window(tenant_account("gone"), per, 10**9, "gone") for per in ("day", "hour"))
    ours = Window("o", "day", 10**9, "ours")
    spent = 0 if budgets else 4000

    def sums() -> list[tuple[int, int]]:
        with redis.Redis.from_url(server.url) as client:
            found = read_balances(client, [(ORGANISATION, each) for each in (day, hour, ours)])
        return [(each.spent, each.reserved) for each in found]

    async def with_a_slice_and_a_request() -> None:
        store = ValkeyStore(server.url, StoreOptions(spool_dir=directory / "spool"))
        await store.start()
        await store.keep_slices(lambda: {(ORGANISATION, "gone"): Hold(700, (day, hour, ours))})
        stub = orjson.dumps({"tenant": "gone"})
        await store.begin(Start("open-1", ORGANISATION, stub, b"{}", b"", hold=Hold(50, (day, hour, ours))))
        with redis.Redis.from_url(server.url) as client:
            erased = await asyncio.to_thread(
                erase_tenant, client, server.url, directory, organisation=ORGANISATION, tenant="gone", budgets=budgets
            )
        assert (erased.n_open, sums()) == (1, [(spent, 750), (0, 750), (0, 750)])
        await store.settle(End("open-1", ORGANISATION, b"{}", "d", "gone", reserved=True, nano_usd=20))
        assert sums() == [(spent + 20, 700), (20, 700), (20, 700)]
        await store.aclose()

    asyncio.run(with_a_slice_and_a_request())
    assert sums() == [(spent + 20, 0), (20, 0), (20, 0)], "never below nothing, which would be room"


def test_another_organisations_tenant_of_the_same_name_is_another(served: tuple[EmbeddedValkey, Path]) -> None:
    server, directory = served
    before = where(directory, CANARY)
    with redis.Redis.from_url(server.url) as client:
        erased = erase_tenant(client, server.url, directory, organisation="else", tenant="gone", budgets=True)
    assert (erased.n_rows, erased.n_keys) == (0, 0)
    assert "decisions" in before & where(directory, CANARY)


def test_a_damaged_partition_is_named_and_the_rest_done_once_it_is_mended(served: tuple[EmbeddedValkey, Path]) -> None:
    server, directory = served
    archive_once(server.url, directory)
    path = sorted(directory.glob("archive/outcomes/*/*.parquet"))[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(DamagedPartition, match=path.name):
        erase(server, directory)
    path.write_bytes(whole)
    erase(server, directory)
    assert settled(directory) == set()


def test_where_the_log_is_archived_elsewhere_nothing_is_touched(
    served: tuple[EmbeddedValkey, Path], tmp_path: Path
) -> None:
    server, directory = served
    before = where(directory, CANARY)
    with pytest.raises(StoreUnavailable, match="is not archived to"):
        erase(server, tmp_path / "another")
    assert where(directory, CANARY) == before


def test_the_command_asks_erases_and_is_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEARSHIFT_KEY_SECRET", raising=False)
    directory, config = tmp_path / "data", tmp_path / "gearshift.yaml"
    named = {"gone": {"organisation": ORGANISATION}, "stays": {"organisation": ORGANISATION}}
    config.write_text(json.dumps(tree(tenants=named, store={"dir": str(directory)})))
    assert load_config(config).tenants.keys() == named.keys()
    with EmbeddedValkey(directory) as server:
        asyncio.run(fill(server.url, directory, range(3)))
    run = CliRunner()
    refused = run.invoke(tenants, ["erase", "gone", "--config", str(config)], input="n\n")
    assert refused.exit_code == 1
    assert where(directory, CANARY)
    unknown = run.invoke(tenants, ["erase", "nobody", "--config", str(config), "--yes"])
    assert "--organisation" in str(unknown.exception)
    done = run.invoke(tenants, ["erase", "gone", "--config", str(config), "--yes"], catch_exceptions=False)
    assert done.exit_code == 0
    assert done.stdout == "9 rows of the log and 15 other keys erased\n"
    assert settled(directory) == set()
    assert where(directory, OTHER)
    listed = run.invoke(audit, ["list", "--config", str(config), "--json"]).stdout.splitlines()
    entries = [json.loads(line) for line in listed]
    assert [(entry["action"], entry["target"]) for entry in entries] == [("erase.begin", "gone"), ("erase.end", "gone")]
    assert entries[1]["after"] == {"rows": 9, "keys": 15, "left": []}
