"""Budgets in the store: what is reserved, what is spent, and what a window refuses, to a nano-USD."""

import sys
from calendar import timegm
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
import redis

from router.store.balances import read_balances
from router.store.base import End, Start, StoreUnavailable
from router.store.embedded import EmbeddedValkey
from router.store.ledger import (
    MAX_NANO_USD,
    PERS,
    BudgetRefused,
    Hold,
    Per,
    Window,
    ends_at,
    label_of,
    tenant_account,
)
from router.store.valkey import StoreOptions, ValkeyStore

sys.path.insert(0, str(Path(__file__).parents[1]))

from bank import BEGAN, Bank, agreeing_calls, sums_commands, sums_in

DAY = Window(tenant_account("a"), "day", 1_000, "a")


@pytest.fixture
def bank(valkey_server: EmbeddedValkey, valkey_url: str) -> Iterator[Bank]:
    bank = Bank(valkey_server.socket)
    yield bank
    bank.close()


def begin(bank: Bank, request: str, bound: int, *windows: Window, at: int = BEGAN, soft: bool = False) -> object:
    return bank.ask(bank.begin(request, "a", "one:1", Hold(bound, windows or (DAY,), soft=soft), at))[0]


def sums(bank: Bank, window: Window = DAY, at: int = BEGAN) -> tuple[int, int]:
    key = ("acme", window.account, window.per, label_of(window.per, at))
    return sums_in(key, *bank.ask(*sums_commands(key)))


def test_the_ledger_and_a_plain_model_agree_after_every_step(valkey_server: EmbeddedValkey) -> None:
    assert agreeing_calls(valkey_server.socket, examples=30, steps=25) >= 10_000


@pytest.mark.parametrize("per", ["hour", "day", "month"])
def test_windows_are_those_of_the_utc_calendar(bank: Bank, per: Per) -> None:
    window = Window(tenant_account("a"), per, 5, "a")
    dates = [(2027, 2, 28), (2028, 2, 28), (2028, 2, 29), (2030, 12, 31), (2100, 2, 28), (2027, 3, 1), (2027, 6, 30)]
    moments = [timegm((*date, hour, 59, 59)) + late for date in dates for hour in (0, 23) for late in (0, 1)]
    for n, at in enumerate(moments):
        bank.ask(bank.settle(f"r{n - 1}", "acme", 0))
        assert begin(bank, f"r{n}", 5, window, at=at) == 1
        assert sums(bank, window, at)[1] == 5, "the model of the calendar finds it under its label"
        assert begin(bank, "no", 1, window, at=at) == [-2, PERS.index(per), 0, ends_at(per, at) - at]


def test_a_refusal_writes_nothing_and_names_every_window_without_room(bank: Bank, valkey_url: str) -> None:
    hour = Window(tenant_account("a"), "hour", 300, "a")
    assert begin(bank, "r1", 200, hour, DAY) == 1
    with redis.Redis.from_url(valkey_url) as server:
        before = {key: server.dump(key) for key in server.scan_iter()}
        assert begin(bank, "r2", 900, hour, DAY) == [-2, 0, 100, 120, 1, 800, 3720]
        assert begin(bank, "r2", 101, hour, DAY) == [-2, 0, 100, 120]
        assert {key: server.dump(key) for key in server.scan_iter()} == before


def test_what_costs_nothing_fits_an_overdrawn_window_and_a_soft_hold_overdraws_it(bank: Bank) -> None:
    assert begin(bank, "r1", 1_000) == 1
    bank.ask(bank.settle("r1", "acme", 1_500))
    assert begin(bank, "r2", 1) == [-2, 1, -500, 3720]
    assert begin(bank, "r3", 0) == 1
    assert begin(bank, "r4", 70, soft=True) == 1
    assert sums(bank) == (1_500, 70)


def test_sums_are_exact_at_the_highest_limit(bank: Bank) -> None:
    window = Window(tenant_account("a"), "day", MAX_NANO_USD, "a")
    assert begin(bank, "r1", MAX_NANO_USD - 1, window) == 1
    assert begin(bank, "r2", 2, window) == [-2, 1, 1, 3720]
    assert begin(bank, "r3", 1, window) == 1
    bank.ask(bank.settle("r1", "acme", None), bank.settle("r3", "acme", 10**30))
    assert sums(bank, window) == (2 * MAX_NANO_USD - 1, 0)


def test_a_window_is_kept_for_forty_days_after_its_end(bank: Bank, valkey_url: str) -> None:
    hour = Window(tenant_account("a"), "hour", 1_000, "a")

    def kept() -> set[str]:
        with redis.Redis.from_url(valkey_url) as server:
            keys = server.keys("*bud:*")
            assert all(server.ttl(key) == pytest.approx(71 * 86_400, abs=2) for key in keys)
            return {name.decode().rpartition(":")[0] for key in keys for name in server.hkeys(key)}

    begin(bank, "r1", 10, hour, DAY)
    assert kept() == set(), "the windows of now are packed"
    begin(bank, "r2", 10, hour, DAY, at=BEGAN + 40 * 86_400)
    assert kept() == {"hour:2027-01-30T22", "day:2027-01-30"}
    begin(bank, "r3", 10, hour, DAY, at=BEGAN + 41 * 86_400)
    begin(bank, "r4", 10, hour, DAY, at=BEGAN + 42 * 86_400)
    later = {"hour:2027-03-11T22", "day:2027-03-11", "hour:2027-03-12T22", "day:2027-03-12"}
    assert kept() == {"hour:2027-01-30T22", "day:2027-01-30"} | later, "something is open in it"
    bank.ask(bank.settle("r1", "acme", 7), bank.settle("r2", "acme", 7))
    assert sums(bank, DAY, BEGAN) == (7, 0)
    assert sums(bank, DAY, BEGAN + 40 * 86_400) == sums(bank, hour, BEGAN + 40 * 86_400) == (7, 0)
    begin(bank, "r5", 10, hour, DAY, at=BEGAN + 43 * 86_400)
    assert kept() == later | {"hour:2027-03-13T22", "day:2027-03-13"}
    assert sums(bank, DAY, BEGAN + 43 * 86_400) == (0, 10)


def test_an_end_after_the_store_slept_longer_than_a_window_is_kept_is_counted_nowhere(
    bank: Bank, valkey_url: str
) -> None:
    begin(bank, "r1", 10)
    begin(bank, "r2", 10, at=BEGAN + 86_400)
    with redis.Redis.from_url(valkey_url) as server:
        server.delete(*server.keys("*bud:*"))  # as it expires
    bank.ask(bank.settle("r1", "acme", 7))
    assert sums(bank) == (0, 0)
    assert sums(bank, at=BEGAN + 86_400) == (0, 10)


@pytest.mark.parametrize("ahead_s", [41 * 86_400, 45 * 86_400, 400 * 86_400])
def test_a_clock_that_was_ahead_for_a_while_lets_no_budget_be_spent_twice(bank: Bank, ahead_s: int) -> None:
    windows = [Window(tenant_account("a"), per, 1_000, "a") for per in PERS]
    assert begin(bank, "r1", 900, *windows) == 1
    bank.ask(bank.settle("r1", "acme", 800))
    for n in range(3):
        assert begin(bank, f"ahead{n}", 10, *windows, at=BEGAN + ahead_s + n) == 1
        assert begin(bank, f"open{n}", 10, *windows, at=BEGAN + n) == 1
        bank.ask(bank.settle(f"ahead{n}", "acme", 10))
    assert [sums(bank, window) for window in windows] == [(800, 30)] * 3
    assert [sums(bank, window, BEGAN + ahead_s) for window in windows] == [(30, 0)] * 3
    refused = begin(bank, "r2", 171, *windows)
    assert isinstance(refused, list)
    assert refused[:3] == [-2, 0, 170]


def test_windows_hold_when_the_clock_goes_back(bank: Bank) -> None:
    hour, later = Window(tenant_account("a"), "hour", 100, "a"), BEGAN + 7_200
    assert begin(bank, "r1", 60, hour) == 1
    assert begin(bank, "r2", 60, hour, at=later) == 1
    assert begin(bank, "r3", 60, hour) == [-2, 0, 40, 120]
    assert begin(bank, "r4", 40, hour) == 1
    bank.ask(bank.settle("r1", "acme", 10), bank.settle("r2", "acme", 20))
    assert (sums(bank, hour), sums(bank, hour, later)) == ((10, 40), (20, 0))
    assert begin(bank, "r5", 81, hour, at=later) == [-2, 0, 80, 120]
    assert begin(bank, "r6", 80, hour, at=later) == 1
    assert (sums(bank, hour), sums(bank, hour, later)) == ((10, 40), (20, 80))


def start(hold: Hold | None) -> Start:
    stub = orjson.dumps({"decision_id": "d", "tenant": "a"})
    return Start("r1", "acme", stub=stub, row=b"{}", embedding=b"", hold=hold)


def end(nano_usd: int | None = None) -> End:
    return End("r1", "acme", row=b"{}", decision_id="d", tenant="a", reserved=True, nano_usd=nano_usd)


def balance(url: str) -> tuple[int, int]:
    """Of the day now."""
    with redis.Redis.from_url(url) as server:
        (found,) = read_balances(server, [("acme", DAY)])
    return found.spent, found.reserved


@pytest.mark.asyncio
async def test_a_store_reserves_refuses_and_settles_once(valkey_url: str, tmp_path: Path) -> None:
    store = ValkeyStore(valkey_url, StoreOptions(spool_dir=tmp_path))
    await store.start()
    await store.begin(start(Hold(600, (DAY,))))
    assert balance(valkey_url) == (0, 600)
    with pytest.raises(BudgetRefused) as refused:
        await store.begin(Start("r2", "acme", b"{}", b"{}", b"", Hold(500, (DAY,))))
    assert (refused.value.left, refused.value.refusals[0].window) == (400, DAY)
    assert await store.settle(end(450))
    assert not await store.settle(end(600))
    assert balance(valkey_url) == (450, 0)
    await store.aclose()


@pytest.mark.asyncio
async def test_the_bound_of_a_dead_owner_is_charged_once(valkey_url: str, tmp_path: Path) -> None:
    dead = ValkeyStore(valkey_url, StoreOptions(spool_dir=tmp_path, owner_ttl_s=0), name="dead")
    await dead.start()
    await dead.begin(start(Hold(600, (DAY,))))
    other = ValkeyStore(valkey_url, StoreOptions(spool_dir=tmp_path), name="other")
    await other.start()
    assert not await dead.settle(end(1)), "it was taken for dead and is late"
    assert balance(valkey_url) == (600, 0)
    await dead.aclose()
    await other.aclose()


@pytest.mark.asyncio
async def test_without_the_store_a_budget_allows_nothing_and_its_settle_waits_in_the_spool(
    tmp_path: Path,
) -> None:
    with EmbeddedValkey(tmp_path / "valkey") as server:
        options = StoreOptions(spool_dir=tmp_path / "spool", when_down="serve", timeout_s=0.2)
        store = ValkeyStore(server.url, options)
        await store.start()
        await store.begin(start(Hold(600, (DAY,))))
        server.stop()
        with pytest.raises(StoreUnavailable):
            await store.begin(Start("r2", "acme", b"{}", b"{}", b"", Hold(1, (DAY,))))
        await store.begin(Start("r3", "acme", b"{}", b"{}", b""))
        assert await store.settle(end(450))
        server.start()
        await store.wait_replayed()
        assert balance(server.url) == (450, 0)
        await store.aclose()
