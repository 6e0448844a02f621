"""A ledger in plain Python beside the store's own, and a state machine that drives both: they agree to a nano-USD.

`Bank` speaks to a real Valkey with the real function library. The model foretells every reply, so calls are sent many
at a time and a step costs tens of microseconds. Time is given with every call.
"""

import socket
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import hiredis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from router.store.accounts import accounts_of, asked_of, place_of, read_sums
from router.store.base import End, Start
from router.store.commands import Commands, pack
from router.store.keys import load_functions, scope_of, shard_of
from router.store.ledger import KEPT_S, ORGANISATION_ACCOUNT, Hold, Per, Window, sums_of, tenant_account
from router.store.slices import LEASE_S as SLICE_LEASE_S
from router.store.slices import Slice

BEGAN = int(datetime(2027, 1, 30, 22, 58, tzinfo=UTC).timestamp())  # the month's end is near; February is short
LEASE_S = 600
OWNERS = ("one:1", "two:2")
# Tenant -> organisation, and the windows that bind it. The limits are small beside the bounds, so that many do not fit.
TENANTS = {"a": "acme", "b": "acme", "c": "solo"}
BUDGETS = {
    "a": (Window(tenant_account("a"), "hour", 900, "a"), Window(tenant_account("a"), "day", 2_500, "a")),
    "b": (Window(tenant_account("b"), "day", 1_500, "b"),),
    "c": (Window(tenant_account("c"), "hour", 700, "c"), Window(tenant_account("c"), "month", 9_000, "c")),
}
OF_ORGANISATION = {"acme": (Window(ORGANISATION_ACCOUNT, "month", 12_000, "acme"),), "solo": ()}

Key = tuple[str, str, Per, str]  # organisation, account, per, label


def windows_of(tenant: str) -> Sequence[Window]:
    return BUDGETS[tenant] + OF_ORGANISATION[TENANTS[tenant]]


def label(per: str, at: int) -> str:
    """Written differently from the code under test: the calendar of the standard library."""
    text = datetime.fromtimestamp(at, UTC).isoformat()
    return text[: {"hour": 13, "day": 10, "month": 7}[per]]


@dataclass
class Open:
    """A request that was accepted and has not ended."""

    tenant: str
    owner: str
    bound: int
    keys: list[Key]
    expires: int


@dataclass
class Model:
    """What the ledger must be."""

    spent: dict[Key, int] = field(default_factory=lambda: defaultdict(int))
    reserved: dict[Key, int] = field(default_factory=lambda: defaultdict(int))
    open: dict[str, Open] = field(default_factory=dict)
    closed: dict[str, str] = field(default_factory=dict)  # request -> tenant
    slices: dict[str, Open] = field(default_factory=dict)  # `bound` is what is left of it
    gone: dict[str, str] = field(default_factory=dict)  # slice -> tenant

    def lacking(self, keys: Sequence[Key], windows: Sequence[Window], bound: int) -> list[tuple[int, int]]:
        """(place, left) of each window without room."""
        left = [window.limit - self.spent[key] - self.reserved[key] for key, window in zip(keys, windows, strict=True)]
        accounts = accounts_of(windows, ())
        places = [place_of(window, accounts) for window in windows]
        return [(at, room) for at, room in zip(places, left, strict=True) if bound > 0 and bound > room]

    def reserve(self, request: str, opened: Open) -> None:
        self.open[request] = opened
        for key in opened.keys:
            self.reserved[key] += opened.bound

    def settle(self, request: str, cost: int | None) -> bool:
        opened = self.open.pop(request, None)
        if opened is None:
            return False
        self.closed[request] = opened.tenant
        for key in opened.keys:
            self.reserved[key] -= opened.bound
            self.spent[key] += opened.bound if cost is None else cost
        return True

    def grant(self, name: str, granted: Open) -> None:
        self.slices[name] = granted
        for key in granted.keys:
            self.reserved[key] += granted.bound

    def draw(self, request: str, name: str, opened: Open) -> None:
        """No sum changes: it was reserved with the slice."""
        self.slices[name].bound -= opened.bound
        self.open[request] = opened

    def end_slice(self, name: str, *, charged: bool) -> None:
        """It is returned, or charged whole."""
        ended = self.slices.pop(name)
        self.gone[name] = ended.tenant
        for key in ended.keys:
            self.reserved[key] -= ended.bound
            self.spent[key] += ended.bound if charged else 0


class Bank:
    """The store's ledger, called the way the gateway calls it.

    Attributes:
        calls: Calls of the ledger's functions so far.
    """

    def __init__(self, path: Path) -> None:
        functions = load_functions()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._reader, self.commands, self.calls = hiredis.Reader(), Commands(functions), 0
        self._told: list[tuple[bytes, Callable[[object], None]]] = []
        self.ask(pack("FUNCTION", "LOAD", "REPLACE", functions.text))

    def close(self) -> None:
        self._socket.close()

    def ask(self, *commands: bytes) -> list[object]:
        """Replies to commands sent together; an error is raised."""
        self._socket.sendall(b"".join(commands))
        replies: list[object] = []
        while len(replies) < len(commands):
            reply = self._reader.gets()
            if reply is False:
                self._reader.feed(self._socket.recv(65536))
                continue
            if isinstance(reply, hiredis.ReplyError):
                raise reply
            replies.append(reply)
        return replies

    def foretell(self, command: bytes, check: Callable[[object], None]) -> None:
        """Send a command with the next `compare`, which hands its reply to `check`."""
        self._told.append((command, check))

    def compare(self) -> None:
        told, self._told = self._told, []
        for reply, (_, check) in zip(self.ask(*(command for command, _ in told)), told, strict=True):
            check(reply)

    def begin(self, request: str, tenant: str, owner: str, hold: Hold | None, at: int) -> bytes:
        self.calls += 1
        start = Start(request, TENANTS[tenant], stub=b"{}", row=b"{}", embedding=b"", hold=hold)
        return self.commands.begin(start, owner=owner, lease_s=LEASE_S, high_water=0, at=at)

    def grant(self, name: str, tenant: str, owner: str, hold: Hold, at: int) -> bytes:
        self.calls += 1
        start = Start(name, TENANTS[tenant], stub=b"{}", row=b"", embedding=b"", hold=hold)
        return self.commands.begin(start, owner=owner, lease_s=SLICE_LEASE_S, high_water=0, at=at)

    def draw(self, request: str, name: str, tenant: str, owner: str, hold: Hold, at: int) -> bytes:
        self.calls += 1
        start = Start(request, TENANTS[tenant], stub=b"{}", row=b"{}", embedding=b"")
        return self.commands.draw(
            start, owner=owner, lease_s=LEASE_S, slice_id=name, accounts=asked_of(hold), bound=hold.bound, at=at
        )

    def end_slice(self, name: str, tenant: str) -> bytes:
        self.calls += 1
        return self.commands.settle(Slice(name, (TENANTS[tenant], tenant), Hold(0, ()), owner="", at=0.0).end())

    def forfeit(self, name: str, organisation: str, bound: int) -> bytes:
        self.calls += 1
        return self.commands.forfeit(
            End(name, organisation, row=b"{}", decision_id="d", tenant="t", reserved=True, nano_usd=bound)
        )

    def settle(self, request: str, organisation: str, cost: int | None) -> bytes:
        self.calls += 1
        end = End(request, organisation, row=b"{}", decision_id="d", tenant="t", reserved=True, nano_usd=cost)
        return self.commands.settle(end)

    def stale(self, organisation: str, dead: Sequence[str], at: int) -> bytes:
        self.calls += 1
        return self.commands.stale(shard_of(organisation), before_epoch=0, dead=dead, at=at)


def sums_commands(key: Key) -> tuple[bytes, bytes]:
    organisation, account, per, named = key
    scope = scope_of(organisation)
    return pack("HGET", scope.now, account), pack("HMGET", scope.account(account), *sums_of(per, named))


def sums_in(key: Key, packed: object, apart: object) -> tuple[int, int]:
    """(spent, reserved) of a window, of the replies to `sums_commands`."""
    assert packed is None or isinstance(packed, bytes)
    assert isinstance(apart, list)
    _, _, per, named = key
    return read_sums(packed, apart, per=per, label=named) or (0, 0)


def is_reply(expected: object) -> Callable[[object], None]:
    def check(reply: object) -> None:
        assert reply == expected

    return check


def names_in(expected: set[str]) -> Callable[[object], None]:
    """Of HKEYS."""

    def check(reply: object) -> None:
        assert isinstance(reply, list)
        assert {each.decode() for each in reply} == expected

    return check


def are_lost(bounds: dict[str, int], others: set[str]) -> Callable[[object], None]:
    """Of `stale`: the requests, what each reserved, and the owners of the others."""

    def check(reply: object) -> None:
        assert isinstance(reply, list)
        found, names = reply
        assert {request.decode(): int(bound) for request, _, _, bound in found} == bounds
        assert sorted(name.decode() for name in names) == sorted(others)

    return check


def refuses(lacking: list[tuple[int, int]]) -> Callable[[object], None]:
    def check(reply: object) -> None:
        assert isinstance(reply, list)
        assert reply[0] == -2
        assert list(zip(reply[1::3], reply[2::3], strict=True)) == lacking
        assert all(0 < ends_in <= 31 * 86_400 for ends_in in reply[3::3])

    return check


class Ledgers(RuleBasedStateMachine):
    """Random requests of three tenants through two gateways that crash, on a clock that jumps.

    A subclass sets `path`, the store's socket, and `took`, to which each example adds its number of calls.
    """

    path: Path
    took: list[int]

    @initialize()
    def opened(self) -> None:
        self.bank, self.model, self.now, self.price, self.n = Bank(self.path), Model(), BEGAN, 1, 0
        self.bank.ask(pack("FLUSHALL"))

    def teardown(self) -> None:
        if hasattr(self, "bank"):
            self.took.append(self.bank.calls)
            self.bank.close()

    @rule(steps=st.binary(min_size=60, max_size=300))
    def requests(self, steps: bytes) -> None:
        """Three bytes a step: what, how much, which."""
        for what, amount, which in zip(*[iter(steps)] * 3, strict=False):
            steps_there_are = (
                self.reserve, self.reserve, self.settle, self.settle, self.settle_again, self.begin_again,
                self.grant, self.draw, self.draw, self.give_back, self.be_ahead,
            )  # fmt: skip
            steps_there_are[what % 11](what // 11, amount, which)
        self.bank.compare()
        self.whole()

    def reserve(self, who: int, tokens: int, _: int) -> None:
        self.n += 1
        tenant, owner = sorted(TENANTS)[who % 3], OWNERS[who // 3 % 2]
        request, bound, windows = f"r{self.n}", tokens * self.price, windows_of(tenant)
        keys = [(TENANTS[tenant], each.account, each.per, label(each.per, self.now)) for each in windows]
        lacking = self.model.lacking(keys, windows, bound)
        begin = self.bank.begin(request, tenant, owner, Hold(bound, windows), self.now)
        self.bank.foretell(begin, refuses(lacking) if lacking else is_reply(1))
        if not lacking:
            self.model.reserve(request, Open(tenant, owner, bound, keys, self.now + LEASE_S))
        for key, window in zip(keys, windows, strict=True):
            self.agree(key, at_most=window.limit if bound and not lacking else None)
        self.agree_on_others(tenant)

    def be_ahead(self, who: int, tokens: int, which: int) -> None:
        """The store's clock is wrong while one request comes, then right again when its tenant's next one does."""
        ahead_s = (3_600, 45 * 86_400, 400 * 86_400)[which % 3]
        self.now += ahead_s
        self.reserve(who, tokens, 0)
        self.now -= ahead_s
        self.reserve(who, 0, 0)

    def settle(self, _: int, share: int, which: int) -> None:
        """By the price of now, which may have risen since the reservation: the cost can be above the bound."""
        if not self.model.open:
            return
        request = list(self.model.open)[which % len(self.model.open)]
        opened = self.model.open[request]
        cost = None if share > 250 else opened.bound * share // 230 * self.price // 2
        before = {key: self.model.spent[key] for key in opened.keys}
        self.bank.foretell(self.bank.settle(request, TENANTS[opened.tenant], cost), is_reply(1))
        self.model.settle(request, cost)
        for key in opened.keys:
            self.agree(key)
            assert self.model.spent[key] >= before[key]
        self.agree_on_others(opened.tenant)

    def settle_again(self, _: int, cost: int, which: int) -> None:
        if self.model.closed:
            request = list(self.model.closed)[which % len(self.model.closed)]
            organisation = TENANTS[self.model.closed[request]]
            self.bank.foretell(self.bank.settle(request, organisation, cost or None), is_reply(0))

    def begin_again(self, _: int, __: int, which: int) -> None:
        """A gateway that does not know whether its call went through repeats it."""
        if self.model.open:
            request = list(self.model.open)[which % len(self.model.open)]
            opened = self.model.open[request]
            hold = Hold(opened.bound, windows_of(opened.tenant))
            self.bank.foretell(self.bank.begin(request, opened.tenant, opened.owner, hold, self.now), is_reply(0))

    def grant(self, who: int, amount: int, _: int) -> None:
        """A gateway sets money aside for an outage."""
        self.n += 1
        tenant, owner = sorted(TENANTS)[who % 3], OWNERS[who // 3 % 2]
        name, windows = f"slice-{self.n}", windows_of(tenant)
        keys = [(TENANTS[tenant], each.account, each.per, label(each.per, self.now)) for each in windows]
        lacking = self.model.lacking(keys, windows, amount)
        grant = self.bank.grant(name, tenant, owner, Hold(amount, windows), self.now)
        self.bank.foretell(grant, refuses(lacking) if lacking else is_reply(1))
        if not lacking:
            self.model.grant(name, Open(tenant, owner, amount, keys, self.now + SLICE_LEASE_S))
            self.bank.foretell(grant, is_reply(0))
        for key, window in zip(keys, windows, strict=True):
            self.agree(key, at_most=window.limit if amount and not lacking else None)
        self.agree_on_others(tenant)

    def draw(self, who: int, share: int, which: int) -> None:
        """The store is back, and hears of a request that was paid from a slice, which may be charged already."""
        names = [*self.model.slices, *list(self.model.gone)[-2:]]
        if not names:
            return
        self.n += 1
        request, name = f"r{self.n}", names[which % len(names)]
        mine = self.model.slices.get(name)
        tenant = mine.tenant if mine is not None else self.model.gone[name]
        windows, owner = windows_of(tenant), mine.owner if mine is not None else OWNERS[who % 2]
        bound = share * mine.bound // 255 if mine is not None else share
        draw = self.bank.draw(request, name, tenant, owner, Hold(bound, windows), self.now)
        self.bank.foretell(draw, is_reply(1))
        self.bank.foretell(draw, is_reply(0))
        if mine is not None:
            self.model.draw(request, name, Open(tenant, owner, bound, mine.keys, self.now + LEASE_S))
        else:
            keys = [(TENANTS[tenant], each.account, each.per, label(each.per, self.now)) for each in windows]
            self.model.reserve(request, Open(tenant, owner, 0, keys, self.now + LEASE_S))
        for key in self.model.open[request].keys:
            self.agree(key)
        self.agree_on_others(tenant)

    def give_back(self, _: int, __: int, which: int) -> None:
        """A gateway renews a slice, or ends."""
        if self.model.slices:
            name = list(self.model.slices)[which % len(self.model.slices)]
            mine = self.model.slices[name]
            self.bank.foretell(self.bank.end_slice(name, mine.tenant), is_reply(1))
            self.bank.foretell(self.bank.end_slice(name, mine.tenant), is_reply(0))
            self.model.end_slice(name, charged=False)
            for key in mine.keys:
                self.agree(key)

    @rule(told=st.sampled_from([(), *((owner,) for owner in OWNERS), OWNERS, ("one",)]))
    def recover(self, told: tuple[str, ...]) -> None:
        """Owners crashed, or leases ran out: what nobody will close is charged at its bound, a slice at what it has.

        Args:
            told: Tags of the dead, or names that tell the same.
        """
        dead = {"one:1" if each == "one" else each for each in told}
        for organisation in OF_ORGANISATION:
            lost = {
                name
                for name, each in self.model.open.items()
                if TENANTS[each.tenant] == organisation and (each.owner in dead or each.expires <= self.now)
            }
            bounds = {name: self.model.open[name].bound for name in lost}
            orphaned = {
                name: each.bound
                for name, each in self.model.slices.items()
                if TENANTS[each.tenant] == organisation and each.owner in dead
            }
            others = {
                each.owner.split(":")[0]
                for name, each in (self.model.open | self.model.slices).items()
                if TENANTS[each.tenant] == organisation and name not in lost | orphaned.keys()
            }
            self.bank.foretell(self.bank.stale(organisation, told, self.now), are_lost(bounds | orphaned, others))
            for name, left in orphaned.items():
                self.bank.foretell(self.bank.forfeit(name, organisation, left + 1), is_reply(-1))
                self.bank.foretell(self.bank.forfeit(name, organisation, left), is_reply(1))
                self.bank.foretell(self.bank.forfeit(name, organisation, left), is_reply(0))
                self.model.end_slice(name, charged=True)
            for request in sorted(lost):
                self.bank.foretell(self.bank.settle(request, organisation, None), is_reply(1))
                self.model.settle(request, None)
        self.bank.compare()
        self.whole()

    @rule(seconds=st.sampled_from([1, 59, 600, 3600, 5 * 3600, 86_400, 27 * 86_400]))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule(price=st.integers(1, 4))
    def reprice(self, price: int) -> None:
        self.price = price

    def agree(self, key: Key, *, at_most: int | None = None) -> None:
        _, _, per, named = key
        if named < label(per, self.now - KEPT_S):
            return  # it ended so long ago that the account may have let go of it
        expected = self.model.spent[key], self.model.reserved[key]

        packed: list[object] = []

        def check(reply: object) -> None:
            assert sums_in(key, packed[0], reply) == expected
            assert at_most is None or sum(expected) <= at_most

        first, second = sums_commands(key)
        self.bank.foretell(first, packed.append)
        self.bank.foretell(second, check)

    def agree_on_others(self, tenant: str) -> None:
        """Nobody's money moves with another's: the windows now in force of the other tenants, as the model has them."""
        for other, organisation in TENANTS.items():
            if other != tenant:
                for each in BUDGETS[other]:
                    self.agree((organisation, each.account, each.per, label(each.per, self.now)))

    def whole(self) -> None:
        """Every window that there ever was, every reservation and every lease."""
        for key in list(self.model.spent | self.model.reserved):
            self.agree(key)
        for organisation in OF_ORGANISATION:
            everything = self.model.open | self.model.slices
            opened = {name for name, each in everything.items() if TENANTS[each.tenant] == organisation}
            self.bank.foretell(pack("HKEYS", scope_of(organisation).base + "open"), names_in(opened))
        self.bank.compare()


def agreeing_calls(path: Path, *, examples: int, steps: int) -> int:
    """Run the machine on the store at this socket; returns how many calls of the ledger's functions were compared.

    A failure is not shrunk, which takes minutes: the same examples come every time.
    """
    took: list[int] = []
    run_state_machine_as_test(
        type("Machine", (Ledgers,), {"path": path, "took": took}),
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(HealthCheck), phases=[Phase.generate],
        ),
    )  # fmt: skip
    return sum(took)
