"""Limits in the store: what a bucket, a count of open requests and a share of modes let through, to the millisecond."""

import asyncio
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import orjson
import pytest
import redis
from counters import counts_in

from router.store.accounts import sums_in
from router.store.balances import balances
from router.store.base import End, Start
from router.store.embedded import EmbeddedValkey
from router.store.keys import scope_of
from router.store.ledger import Hold, Window, label_of, tenant_account
from router.store.limits import Allowance, Claim, Limit, LimitRefused, ShareRefused, read_allowances
from router.store.valkey import StoreOptions, ValkeyStore

sys.path.insert(0, str(Path(__file__).parents[1]))

from bank import BEGAN, LEASE_S, Bank

TENANT = tenant_account("a")


@pytest.fixture
def bank(valkey_server: EmbeddedValkey, valkey_url: str) -> Iterator[Bank]:
    bank = Bank(valkey_server.socket)
    yield bank
    bank.close()


def starting(request: str, claim: Claim, hold: Hold | None = None) -> Start:
    return Start(request, "acme", stub=b"{}", row=b"{}", embedding=b"", hold=hold, claim=claim)


def ending(request: str, tokens: int | None = None) -> End:
    return End(request, "acme", row=b"{}", decision_id="d", tenant="a", limited=True, tokens=tokens)


def begin(bank: Bank, request: str, claim: Claim, *, at: float = 0.0) -> tuple[Allowance, ...]:
    """At so many seconds after the beginning."""
    start = starting(request, claim)
    command = bank.commands.begin(start, owner="one:1", lease_s=LEASE_S, high_water=0, at=BEGAN + at)
    return read_allowances(bank.ask(command)[0], claim)


def settle(bank: Bank, request: str, tokens: int | None = None) -> object:
    return bank.ask(bank.commands.settle(ending(request, tokens)))[0]


def taken(bank: Bank, claim: Claim, *, at: float, tries: int) -> int:
    """How many of so many requests at one moment are let through."""
    through = 0
    for n in range(tries):
        try:
            begin(bank, f"{at}-{n}", claim, at=at)
        except LimitRefused:
            continue
        through += 1
    return through


@pytest.mark.parametrize("per_minute", [1, 7, 60, 90])
def test_a_burst_is_let_through_to_the_limit_and_then_as_fast_as_the_bucket_fills(bank: Bank, per_minute: int) -> None:
    claim = Claim((Limit(TENANT, "a", requests=per_minute),))
    assert taken(bank, claim, at=0, tries=per_minute + 5) == per_minute
    whole_s = 60 / per_minute
    with pytest.raises(LimitRefused) as refused:
        begin(bank, "early", claim, at=0)
    assert refused.value.wait_ms == -(-60_000 // per_minute)
    assert taken(bank, claim, at=whole_s - 0.002, tries=2) == 0
    assert taken(bank, claim, at=whole_s + 0.001, tries=2) == 1
    assert taken(bank, claim, at=whole_s + 600, tries=per_minute + 5) == per_minute


def test_an_answer_tells_what_is_left_and_when_all_is_there_again(bank: Bank) -> None:
    claim = Claim((Limit(TENANT, "a", requests=60, tokens=1000),), tokens=250)
    (first,) = begin(bank, "r1", claim)
    assert (first.requests, first.requests_full_ms, first.tokens, first.tokens_full_ms) == (59, 1000, 750, 15_000)
    (second,) = begin(bank, "r2", claim, at=0.5)
    assert (second.requests, second.requests_full_ms, second.tokens, second.tokens_full_ms) == (58, 1500, 508, 29_500)


def test_a_settle_puts_what_was_used_in_the_place_of_what_was_taken_once(bank: Bank) -> None:
    claim = Claim((Limit(TENANT, "a", tokens=1000),), tokens=900)
    begin(bank, "r1", claim)
    with pytest.raises(LimitRefused) as refused:
        begin(bank, "r2", claim)
    assert (refused.value.kind, refused.value.wait_ms) == ("tokens", 48_000)
    assert (settle(bank, "r1", 100), settle(bank, "r1", 0)) == (1, 0)
    (allowance,) = begin(bank, "r3", claim)
    assert allowance.tokens == 0
    settle(bank, "r3", 2000)  # the endpoint reported more than the bound: it is owed
    with pytest.raises(LimitRefused) as owing:
        begin(bank, "r4", Claim(claim.limits, tokens=1))
    assert owing.value.wait_ms == (100 + 2000 + 1 - 1000) * 60
    assert owing.value.allowances[0].tokens == 0


def test_what_leaked_since_a_request_began_is_not_given_back_of_what_others_took(bank: Bank) -> None:
    claim = Claim((Limit(TENANT, "a", tokens=1000),), tokens=1000)
    begin(bank, "long", claim)
    begin(bank, "other", Claim(claim.limits, tokens=300), at=45)
    settle(bank, "long", 0)
    assert begin(bank, "left", Claim(claim.limits), at=45)[0].tokens == 1000 - (250 + 300 - 250), (
        "a quarter of it was there"
    )
    settle(bank, "other", 100)
    assert begin(bank, "more", Claim(claim.limits), at=45)[0].tokens == 900
    begin(bank, "late", Claim(claim.limits, tokens=600), at=120)
    settle(bank, "late", 0)
    assert begin(bank, "none", Claim(claim.limits), at=120)[0].tokens == 1000, "nobody took any since"


@pytest.mark.parametrize(("tokens", "apart_s"), [(1000, 60), (100, 6), (500, 30)])
def test_long_requests_that_end_at_once_let_no_more_than_twice_the_limit_through(
    bank: Bank, tokens: int, apart_s: int
) -> None:
    limits, at, used = (Limit(TENANT, "a", tokens=1000),), 10 * apart_s, 0
    for n in range(10):
        begin(bank, f"long{n}", Claim(limits, tokens=tokens), at=apart_s * n)
    for n in range(10):
        settle(bank, f"long{n}", 1)
        for m in range(10):
            if waits(bank, f"short{n}-{m}", Claim(limits, tokens=100), at=at) == 0:
                settle(bank, f"short{n}-{m}", 100)
                used += 100
    assert 900 <= used <= 2000
    assert used <= 1000 + 1000 * at / 60


@pytest.mark.parametrize("rates", [(900,), (900, 300)])
def test_in_so_many_minutes_no_more_is_used_than_came_into_a_full_bucket(bank: Bank, rates: Sequence[int]) -> None:
    rng, at, used, still_open = random.Random(9), 0, 0, list[tuple[str, int]]()
    for n in range(3000):
        at += rng.choice((0, 0, 100, 2_000, 9_000))
        tokens, rate = rng.choice((20, 150, 600)), rng.choice(rates)
        claim = Claim((Limit(TENANT, "a", tokens=rate),), tokens=tokens)
        if waits(bank, f"r{n}", claim, at=at / 1000) == 0:
            still_open.append((f"r{n}", min(tokens, rate)))
        while still_open and rng.random() < 0.4:
            request, bound = still_open.pop(rng.randrange(len(still_open)))
            spent = rng.choice((0, 1, bound))
            settle(bank, request, spent)
            used += spent
            assert used <= 900 + Fraction(900 * at, 60_000)
    assert used > 0.5 * 900 * at / 60_000, "and not much less"


def test_a_clock_that_was_ahead_keeps_nobody_out_when_it_is_right_again(bank: Bank) -> None:
    claim = Claim((Limit(TENANT, "a", requests=2, tokens=1000, concurrency=3),), tokens=500)
    assert taken(bank, claim, at=7200, tries=3) == 2
    (allowance,) = begin(bank, "r1", claim, at=10)
    assert (allowance.requests, allowance.tokens) == (1, 500), "a bucket begins anew, once"
    settle(bank, "7200-0", 0)
    settle(bank, "7200-1", 900)
    with pytest.raises(LimitRefused) as refused:
        begin(bank, "r2", claim, at=10)
    assert (refused.value.kind, refused.value.wait_ms) == ("tokens", 24_000), (
        "what it took then is not given back of now"
    )
    assert begin(bank, "r3", claim, at=34)[0].tokens == 0
    assert waits(bank, "r4", claim, at=34) > 0


def test_a_clock_that_steps_back_by_less_than_a_minute_gives_no_new_bucket(bank: Bank) -> None:
    claim = Claim((Limit(TENANT, "a", requests=2),))
    assert taken(bank, claim, at=100, tries=3) == 2
    assert [waits(bank, f"r{at}", claim, at=at) for at in (99, 41, 40)] == [30_000] * 3
    assert waits(bank, "later", claim, at=130) == 0


def test_a_lease_of_an_earlier_version_gives_back_what_was_not_used(bank: Bank, valkey_url: str) -> None:
    claim = Claim((Limit(TENANT, "a", tokens=1000, concurrency=1),), tokens=900)
    begin(bank, "r1", claim)
    with redis.Redis.from_url(valkey_url) as server:
        leases = scope_of("acme").base + "open"
        lease = server.hget(leases, "r1")
        said = f"900 {BEGAN * 1000}\t".encode()
        assert said in lease
        server.hset(leases, "r1", lease.replace(said, b"900\t"))
    assert settle(bank, "r1", 100) == 1
    assert begin(bank, "r2", Claim(claim.limits))[0].tokens == 900


def test_a_request_above_a_whole_minute_gets_through_when_nothing_else_is_counted(bank: Bank) -> None:
    claim = Claim((Limit(TENANT, "a", tokens=1000),), tokens=5000)
    assert begin(bank, "r1", claim)[0].tokens == 0
    with pytest.raises(LimitRefused):
        begin(bank, "r2", claim, at=59)
    assert begin(bank, "r3", claim, at=60)[0].tokens == 0


def test_a_limit_that_is_lowered_is_at_most_full_and_one_that_is_raised_has_room_at_once(bank: Bank) -> None:
    high, low = (
        Claim((Limit(TENANT, "a", requests=requests, tokens=tokens),), tokens=tokens)
        for requests, tokens in ((6000, 2_000_000), (6, 2000))
    )
    for n in range(6000):
        begin(bank, f"r{n}", Claim(high.limits, tokens=333))
    with pytest.raises(LimitRefused) as refused:
        begin(bank, "low", low)
    assert refused.value.wait_ms == 60_000, "of the tokens, all of which are wanted at once"
    (later,) = begin(bank, "later", Claim(low.limits, tokens=1), at=10.5)
    assert (later.requests, later.requests_full_ms, later.tokens) == (0, 59_500, 349)
    (raised,) = begin(bank, "raised", Claim(high.limits, tokens=1), at=10.5)
    assert raised.requests == 1050 - 2, "what came into the bucket meanwhile"
    assert raised.tokens == 2000 + 1_998_000 * 10.5 // 60 - 2
    assert begin(bank, "silence", low, at=70.5)[0].tokens == 0
    (new,) = begin(bank, "new", Claim((Limit(TENANT, "a", requests=60_000, tokens=5000),), tokens=1), at=70.5)
    assert (new.requests, new.tokens) == (60_000 - 2, 2999)


@pytest.mark.parametrize("seed", range(4))
def test_hosts_with_different_limits_of_one_account_let_through_what_the_highest_would(bank: Bank, seed: int) -> None:
    rng, at, alone = random.Random(seed), 0, 0
    rates = [(60, 900), (17, 400), (7, 950)][: 2 + seed % 2]
    limits = [Limit(TENANT, "a", requests=requests, tokens=tokens) for requests, tokens in rates]
    of_all, of_one = Plain(max(rate[0] for rate in rates), max(rate[1] for rate in rates)), Plain(*rates[0])
    through = Counter[int]()
    for n in range(2500):
        if n % 100 == 0:  # all hosts in turn, then for a while those of one limit alone
            alone = rng.randrange(len(rates))
            of_one = Plain(*rates[alone])
        who = alone if n % 100 > 60 else rng.randrange(len(rates))
        tokens, step = rng.randrange(1, 60), rng.choice((0, 0, 0, 0, 5, 40, 611, 8_000, 61_000 if n % 90 == 0 else 1))
        for _ in range(2):
            at += step
            of_all.leak(step)
            of_one.leak(step)
            step = waits(bank, f"r{n}", Claim((limits[who],), tokens=tokens), at=at / 1000)
            assert step <= 60_000, "a full bucket at most"
            if step > 0:
                if rng.random() < 0.9:
                    break
                continue
            through[who] += 1
            of_all.take(tokens)
            if n % 100 > 60:
                of_one.take(tokens)
            break
        else:
            pytest.fail("it waited as long as it was told to")
    assert min(through.values()) > 30


def waits(bank: Bank, request: str, claim: Claim, *, at: float) -> int:
    """Milliseconds until it would fit; 0: it passed."""
    try:
        begin(bank, request, claim, at=at)
    except LimitRefused as refused:
        return refused.wait_ms or 0
    return 0


class Plain:
    """A bucket of requests and one of tokens in fractions, which never hold more than a minute's worth."""

    def __init__(self, *rates: int) -> None:
        self.rates, self.levels = rates, [Fraction(0) for _ in rates]

    def leak(self, ms: int) -> None:
        pairs = zip(self.levels, self.rates, strict=True)
        self.levels = [max(level - Fraction(ms * rate, 60_000), Fraction(0)) for level, rate in pairs]

    def take(self, tokens: int) -> None:
        self.levels = [self.levels[0] + 1, self.levels[1] + tokens]
        assert all(level <= rate for level, rate in zip(self.levels, self.rates, strict=True))


@pytest.mark.parametrize("per_minute", [120, 6])
def test_a_lowered_limit_passes_its_rate_at_once_and_its_bucket_after_a_minute(bank: Bank, per_minute: int) -> None:
    high, low = (Claim((Limit(TENANT, "a", requests=requests),)) for requests in (1000, per_minute))
    assert taken(bank, high, at=0, tries=1001) == 1000
    assert sum(taken(bank, low, at=half / 2, tries=2) for half in range(1, 121)) == per_minute
    assert taken(bank, low, at=120, tries=per_minute + 1) == per_minute


def test_what_is_owed_is_as_many_minutes_for_a_lowered_limit(bank: Bank) -> None:
    high, low = (Claim((Limit(TENANT, "a", tokens=tokens),), tokens=1) for tokens in (100_000, 1000))
    begin(bank, "r1", high)
    settle(bank, "r1", 300_000)
    for claim in (low, high, low):
        with pytest.raises(LimitRefused) as refused:
            begin(bank, "r2", claim, at=60)
        assert refused.value.wait_ms == pytest.approx(60_000, abs=61)
    assert begin(bank, "r2", low, at=120.1)[0].tokens == 0


@pytest.mark.parametrize("tokens", [2**63, 8 * 2**63, 10**30])
def test_a_claim_that_no_number_holds_gives_its_place_back(bank: Bank, tokens: int) -> None:
    claim = Claim((Limit(TENANT, "a", tokens=1000, concurrency=1),), tokens=tokens)
    begin(bank, "r1", claim)
    assert settle(bank, "r1", 5) == 1
    (allowance,) = begin(bank, "r2", Claim(claim.limits, tokens=1))
    assert allowance.tokens == 1000 - 5 - 1


def test_unknown_tokens_stay_taken(bank: Bank) -> None:
    claim = Claim((Limit(TENANT, "a", tokens=1000),), tokens=600)
    begin(bank, "r1", claim)
    settle(bank, "r1", None)
    assert begin(bank, "r2", Claim(claim.limits, tokens=0))[0].tokens == 400


def test_the_store_and_plain_fractions_agree_over_a_random_day(bank: Bank) -> None:
    rng, level, at = random.Random(5), [Fraction(0), Fraction(0)], 0
    rates = (17, 900)
    limit = Limit(TENANT, "a", requests=rates[0], tokens=rates[1])
    for n in range(600):
        step = rng.choice((0, 1, 40, 999, 3_531, 20_000, 70_001))
        at += step
        level = [
            max(used - Fraction(step * rate, 60_000), Fraction(0)) for used, rate in zip(level, rates, strict=True)
        ]
        tokens = rng.randrange(1, 400)
        fits = level[0] + 1 <= rates[0] and level[1] + tokens <= rates[1]
        try:
            (allowance,) = begin(bank, f"r{n}", Claim((limit,), tokens=tokens), at=at / 1000)
        except LimitRefused:
            assert not fits
            continue
        assert fits
        level = [level[0] + 1, level[1] + tokens]
        assert allowance.requests == int(rates[0] - level[0])
        assert allowance.tokens == int(rates[1] - level[1])
        used = rng.randrange(0, 500)
        settle(bank, f"r{n}", used)
        level[1] = max(level[1] + used - tokens, Fraction(0))


def test_every_limit_binds_and_the_one_that_refuses_longest_is_named(bank: Bank) -> None:
    limits = (Limit(TENANT, "tenant 'a'", requests=10), Limit("o", "organisation 'acme'", requests=2))
    begin(bank, "r1", Claim(limits))
    begin(bank, "r2", Claim(limits))
    with pytest.raises(LimitRefused) as refused:
        begin(bank, "r3", Claim(limits))
    assert (refused.value.limit.owner, refused.value.wait_ms) == ("organisation 'acme'", 30_000)
    assert [allowance.requests for allowance in refused.value.allowances] == [8, 0]
    # Another tenant of the organisation shares its limit, and only that.
    other = (Limit(tenant_account("b"), "tenant 'b'", requests=10), limits[1])
    with pytest.raises(LimitRefused):
        begin(bank, "r4", Claim(other))
    assert begin(bank, "r5", Claim(other[:1]))[0].requests == 9


def state_of(url: str) -> dict[bytes, bytes]:
    with redis.Redis.from_url(url) as server:
        return {key: server.dump(key) for key in server.scan_iter()}


def test_a_refusal_writes_nothing(bank: Bank, valkey_url: str) -> None:
    claim = Claim((Limit(TENANT, "a", requests=5, tokens=100, concurrency=1, shares=(("instant", 10),)),), tokens=10)
    begin(bank, "r1", claim)
    before = state_of(valkey_url)
    with pytest.raises(LimitRefused) as refused:
        begin(bank, "r2", claim)
    assert (refused.value.kind, refused.value.wait_ms) == ("concurrency", None)
    with pytest.raises(LimitRefused):
        begin(bank, "r2", Claim(claim.limits, tokens=95))
    assert state_of(valkey_url) == before
    settle(bank, "r1", 10)
    before = state_of(valkey_url)
    with pytest.raises(ShareRefused):
        begin(bank, "r3", Claim(claim.limits, mode="instant"))
    assert state_of(valkey_url) == before


def test_a_limit_takes_nothing_of_a_request_that_its_budget_refuses(bank: Bank) -> None:
    claim = Claim((Limit(TENANT, "a", requests=5, concurrency=1),))
    hold = Hold(2, (Window(TENANT, "day", 1, "a"),))
    reply = bank.ask(
        bank.commands.begin(starting("r1", claim, hold), owner="one:1", lease_s=9, high_water=0, at=BEGAN)
    )[0]
    assert isinstance(reply, list)
    assert reply[0] == -2
    assert begin(bank, "r1", claim)[0].requests == 4


def test_open_requests_count_until_they_end_however_they_end(bank: Bank, valkey_url: str) -> None:
    claim = Claim((Limit(TENANT, "a", concurrency=2),))
    begin(bank, "r1", claim)
    begin(bank, "r2", claim)
    with pytest.raises(LimitRefused):
        begin(bank, "r3", claim)
    settle(bank, "r1")
    settle(bank, "r1")
    begin(bank, "r3", claim)
    with pytest.raises(LimitRefused):
        begin(bank, "r4", claim)
    settle(bank, "r2")
    settle(bank, "r3")
    with redis.Redis.from_url(valkey_url) as server:
        (record,) = server.hvals(scope_of("acme").now)
    assert counts_in(record)[3] == 0


def shared(per_hour: int = 200_000, mode: str = "reasoning") -> Claim:
    return Claim((Limit(TENANT, "a", shares=(("reasoning", per_hour),)),), mode=mode)


def modes_through(bank: Bank, modes: Sequence[str], *, at: float = 0, name: str = "r") -> list[str]:
    through = []
    for n, mode in enumerate(modes):
        try:
            begin(bank, f"{name}{n}", shared(mode=mode), at=at)
        except ShareRefused:
            continue
        through.append(mode)
    return through


def test_a_mode_never_gets_more_than_its_share(bank: Bank) -> None:
    asked = ["reasoning", "instant"] * 50
    through = modes_through(bank, asked)
    for end in range(1, len(through) + 1):
        assert through[:end].count("reasoning") <= 0.2 * end
    assert through.count("instant") == 50
    assert through.count("reasoning") == 12, "a fifth of 62"


def test_a_share_slides_with_its_window(bank: Bank) -> None:
    modes_through(bank, ["instant"] * 40, name="a")
    assert modes_through(bank, ["reasoning"] * 20, name="b", at=1800) == ["reasoning"] * 10
    # After the window's length the first forty count no more; ten of ten were reasoning.
    assert modes_through(bank, ["reasoning", *["instant"] * 44, "reasoning"], name="c", at=3700).count("reasoning") == 1
    assert modes_through(bank, ["instant"] * 4 + ["reasoning"], name="d", at=9000)[-1] == "reasoning"


def test_a_turn_that_goes_on_counts_in_no_share_and_full_modes_are_told(bank: Bank) -> None:
    (allowance,) = begin(bank, "r1", shared(mode=""))
    assert allowance.full_modes == ("reasoning",)
    modes_through(bank, ["instant"] * 3, name="a")
    (allowance,) = begin(bank, "r2", shared(mode="instant"))
    assert allowance.full_modes == ()


@pytest.mark.asyncio
async def test_three_gateways_on_one_store_let_through_what_one_would(valkey_url: str, tmp_path: Path) -> None:
    claim = Claim((Limit(TENANT, "a", requests=20, tokens=100_000, concurrency=50),), tokens=10)
    stores = [ValkeyStore(valkey_url, StoreOptions(spool_dir=tmp_path / str(n))) for n in range(3)]
    await asyncio.gather(*(store.start() for store in stores))
    results = await asyncio.gather(
        *(stores[n % 3].begin(starting(f"r{n}", claim)) for n in range(90)), return_exceptions=True
    )
    assert sum(isinstance(result, LimitRefused) for result in results) == 70
    await asyncio.gather(*(store.aclose() for store in stores))


@pytest.mark.asyncio
async def test_what_a_dead_gateway_had_open_is_freed_by_recovery(valkey_url: str, tmp_path: Path) -> None:
    claim = Claim((Limit(TENANT, "a", concurrency=1),))
    dead = ValkeyStore(valkey_url, StoreOptions(spool_dir=tmp_path, owner_ttl_s=0), name="dead")
    await dead.start()
    await dead.begin(starting("r1", claim))
    with pytest.raises(LimitRefused):
        await dead.begin(starting("r2", claim))
    other = ValkeyStore(valkey_url, StoreOptions(spool_dir=tmp_path), name="other")
    await other.start()
    await other.begin(starting("r2", claim))
    await other.aclose()
    await dead.aclose()


@pytest.mark.asyncio
async def test_recovery_charges_a_budget_and_frees_a_limit_of_one_request(valkey_url: str, tmp_path: Path) -> None:
    claim = Claim((Limit(TENANT, "a", tokens=1000, concurrency=1),), tokens=900)
    day = Window(TENANT, "day", 10**9, "a")
    dead = ValkeyStore(valkey_url, StoreOptions(spool_dir=tmp_path, owner_ttl_s=0), name="dead")
    await dead.start()
    stub = orjson.dumps({"decision_id": "d1", "tenant": "a", "arm": "small/instant"})
    await dead.begin(Start("r1", "acme", stub=stub, row=b"{}", embedding=b"", hold=Hold(700, (day,)), claim=claim))
    other = ValkeyStore(valkey_url, StoreOptions(spool_dir=tmp_path), name="other")
    await other.start()
    (balance,) = await balances(other, [("acme", day)])
    assert (balance.spent, balance.reserved) == (700, 0)
    (allowance,) = await other.begin(starting("r2", Claim(claim.limits, tokens=50)))
    assert 50 <= allowance.tokens < 1000 - 50, "its place is free; what it may have used stays taken"
    with redis.Redis.from_url(valkey_url) as server:
        rows = [fields for _, fields in server.xrange(scope_of("acme").log) if fields[b"t"] == b"o"]
    row = orjson.loads(rows[0][b"j"])
    assert (row["decision_id"], row["tenant"], row["served_arm"]) == ("d1", "a", "small/instant")
    assert (row["nano_usd"], row["status"], rows[0][b"m"].partition(b"\t")[0]) == (700, "unknown_after_crash", b"700")
    await other.aclose()
    await dead.aclose()


@pytest.mark.asyncio
async def test_a_begin_without_a_store_takes_nothing_and_its_row_is_not_refused_later(
    valkey_server: EmbeddedValkey, valkey_url: str, tmp_path: Path
) -> None:
    claim = Claim((Limit(TENANT, "a", requests=1, concurrency=1),))
    away = ValkeyStore(
        f"unix://{tmp_path}/none.sock", StoreOptions(spool_dir=tmp_path / "s", when_down="serve", timeout_s=0.01)
    )
    await away.start()
    for n in range(3):
        assert await away.begin(starting(f"r{n}", claim)) == ()
        assert await away.settle(ending(f"r{n}", 5))
    await away.aclose()
    back = ValkeyStore(valkey_url, StoreOptions(spool_dir=tmp_path / "s"))
    await back.start()
    with redis.Redis.from_url(valkey_url) as server:
        assert server.xlen(scope_of("acme").log) == 6
    assert (await back.begin(starting("r9", claim)))[0].requests == 0
    await back.aclose()


def test_a_count_that_no_bucket_holds_is_cut_and_owed(bank: Bank) -> None:
    claim = Claim((Limit(TENANT, "a", tokens=100, concurrency=1),), tokens=80)
    begin(bank, "r1", claim)
    assert settle(bank, "r1", 10**30) == 1
    with pytest.raises(LimitRefused) as refused:
        begin(bank, "r2", claim)
    assert refused.value.kind == "tokens"


def test_what_budgets_and_limits_count_of_one_account_does_not_mix_while_windows_roll(
    bank: Bank, valkey_url: str
) -> None:
    rng, at, level, spent = random.Random(8), 0, Fraction(0), Counter[str]()
    windows = (Window(TENANT, "hour", 10**9, "a"), Window(TENANT, "day", 10**9, "a"))
    limits = (Limit(TENANT, "a", tokens=600, concurrency=5),)
    for n in range(300):
        step = rng.choice((0, 5, 40_000, 900_000, 4_000_000))  # milliseconds
        at, level = at + step, max(level - Fraction(step, 100), Fraction(0))
        hold = Hold(rng.randrange(1, 900), windows) if rng.random() < 0.7 else None
        claim = Claim(limits, tokens=rng.randrange(1, 60)) if hold is None or rng.random() < 0.7 else None
        start = Start(f"r{n}", "acme", stub=b"{}", row=b"{}", embedding=b"", hold=hold, claim=claim)
        command = bank.commands.begin(start, owner="one:1", lease_s=LEASE_S, high_water=0, at=BEGAN + at / 1000)
        (reply,) = bank.ask(command)
        if isinstance(reply, list) and reply[0] != 1:
            assert claim is not None
            assert level + claim.tokens > 600
            continue
        cost, used = rng.randrange(900), rng.randrange(80)
        end = End(
            f"r{n}", "acme", row=b"{}", decision_id="d", tenant="a", reserved=hold is not None, nano_usd=cost,
            limited=claim is not None, tokens=used,
        )  # fmt: skip
        assert bank.ask(bank.commands.settle(end)) == [1]
        level += used if claim is not None else 0
        for window in windows if hold is not None else ():
            spent[f"{window.per}:{label_of(window.per, BEGAN + at / 1000)}"] += cost
    sums, (last, tokens, still_open) = counted(valkey_url)
    assert sums == {name: (cost, 0) for name, cost in spent.items()}
    assert len(sums) > 50
    assert still_open == 0
    assert max(tokens - 600 * (BEGAN * 1000 + at - last), 0) == level * 60_000 > 0


def counted(url: str) -> tuple[dict[str, tuple[int, int]], tuple[float, float, float]]:
    """Spent and reserved of every window of the tenant; when its limits were last counted, tokens and open requests."""
    scope = scope_of("acme")
    with redis.Redis.from_url(url) as server:
        record, apart = server.hget(scope.now, TENANT), server.hgetall(scope.account(TENANT))
    sums = {f"{per}:{label}": pair for (per, label), pair in sums_in(record).items()}
    for name in {field.decode().rpartition(":")[0] for field in apart}:
        sums[name] = int(apart[f"{name}:spent".encode()]), int(apart[f"{name}:reserved".encode()])
    last, _, tokens, still_open = counts_in(record)
    return sums, (last, tokens, still_open)


def test_a_limit_and_a_budget_of_one_request_both_count(bank: Bank) -> None:
    claim = Claim((Limit(TENANT, "a", requests=5),))
    hold = Hold(1, (Window(TENANT, "day", 1, "a"),))
    command = bank.commands.begin(starting("r1", claim, hold), owner="one:1", lease_s=9, high_water=0, at=BEGAN)
    assert read_allowances(bank.ask(command)[0], claim)[0].requests == 4
    end = End("r1", "acme", row=b"{}", decision_id="d", tenant="a", reserved=True, nano_usd=1, limited=True)
    assert bank.ask(bank.commands.settle(end)) == [1]
