"""The store on Valkey or Redis: `router.store.base.Store` as one server function per call, spooled when it is away."""

import asyncio
import contextlib
import logging
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import orjson

from router.store.accounts import read_refusals
from router.store.address import parse_address
from router.store.backlog import Backlog
from router.store.base import LEASE_S, End, SliceSpent, Start, StoreFull, StoreUnavailable, Unanswered
from router.store.commands import Commands, pack
from router.store.connection import ConnectionLost
from router.store.keys import load_functions, scope_of
from router.store.ledger import BudgetRefused, Hold
from router.store.limits import Allowance, read_allowances
from router.store.link import Link
from router.store.owner import Owner
from router.store.slices import Payer, Slices

log = logging.getLogger(__name__)

_FULL = "the log holds {} rows that are not archived yet; archive it or raise store.high_water_rows"


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """How a `ValkeyStore` behaves.

    Attributes:
        spool_dir: Where rows wait while the store is away.
        when_down: ``serve`` spools begins too; ``reject`` raises StoreUnavailable for them.
        high_water_rows: Rows in one shard's log above which new work is refused; 0 for no limit.
        lease_s: A request still open after this is taken for lost, whoever owns it.
        owner_ttl_s: An owner that has not been heard of for this long is dead.
        reap_s: How often leases of the dead are closed; the heartbeat goes out as often.
    """

    spool_dir: Path
    when_down: Literal["reject", "serve"] = "reject"
    high_water_rows: int = 2_000_000
    timeout_s: float = 2.0
    lease_s: int = LEASE_S
    owner_ttl_s: int = 15
    reap_s: float = 5.0


class ValkeyStore:
    """One worker's store. `start()` it, then use it as `router.store.base.Store`.

    Args:
        name: Unique among owners; by default made.
        fallen: Names of owners that are known to be dead; the first recovery need not wait until they are overdue.

    Attributes:
        lease_s: Of requests from now on; a new configuration may let them take longer.
    """

    def __init__(self, url: str, options: StoreOptions, *, name: str | None = None, fallen: Sequence[str] = ()) -> None:
        functions = load_functions()
        self._commands, self._options, self.lease_s = Commands(functions), options, options.lease_s
        self._link = Link(parse_address(url), functions=functions, timeout_s=options.timeout_s)
        name = name or f"{os.getpid()}-{secrets.token_hex(4)}"
        self._backlog = Backlog(options.spool_dir, name=name, commands=self._commands, lease_s=lambda: self.lease_s)
        self._owner = Owner(
            self._link, self._commands, self._backlog, name=name, ttl_s=options.owner_ttl_s, fallen=fallen
        )
        self._slices = Slices(self._link, self._commands, self._backlog, settle=self.settle)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def waiting_rows(self) -> int:
        """Rows in the local spool that the store does not have yet."""
        return self._backlog.waiting

    @property
    def is_up(self) -> bool:
        return self._link.is_up

    @property
    def owner(self) -> str:
        """The tag on this worker's leases: name and epoch."""
        return self._owner.tag

    @property
    def outage_left(self) -> dict[Payer, int]:
        """Nano-USD, by organisation and tenant, that may be spent while the store is down."""
        return self._slices.left

    async def connect(self) -> None:
        """Connect and nothing more; a store that is down is waited for in the background.

        Raises:
            SchemaTooNew: The store belongs to a newer version.
        """
        await self._link.start()

    async def start(self) -> None:
        """Connect, register as an owner, close what dead owners left, and keep doing so in the background.

        Raises:
            SchemaTooNew: The store belongs to a newer version.
        """
        await self.connect()
        # Of its own, for upkeep may take longer than this owner's life: a large spool is replayed in it.
        self._tasks = [asyncio.create_task(self._beat_forever(), name="store-heartbeat")]
        if self._link.is_up:
            await self._upkeep()
        self._tasks += [
            asyncio.create_task(self._reap_forever(), name="store-upkeep"),
            asyncio.create_task(self._backlog.replay_forever(self._link), name="store-replay"),
        ]

    async def keep_slices(self, wanted: Callable[[], Mapping[Payer, Hold]]) -> None:
        """Keep so much reserved in advance from now on; what is wanted is asked anew at each upkeep."""
        self._slices.wanted = wanted
        if self._link.is_up:
            await self._upkeep()

    async def aclose(self) -> None:
        """Send what is spooled if the store is there, return what was reserved in advance, sign off, disconnect."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._link.is_up:
            try:
                await self.replay()
            except StoreUnavailable as problem:
                log.warning("%d rows stay in the spool: %s", self._backlog.waiting, problem)
        await self._slices.return_all()
        if self._link.is_up:
            try:
                await self._owner.sign_off()
            except StoreUnavailable as problem:
                log.warning("this gateway could not sign off from the store: %s", problem)
        self._backlog.close()
        await self._link.aclose()

    async def begin(self, start: Start) -> tuple[Allowance, ...]:
        options = self._options
        if not self._link.is_up and self._begin_without(start):
            return ()
        command = self._commands.begin(
            start, owner=self.owner, lease_s=self.lease_s, high_water=options.high_water_rows
        )
        try:
            reply = await self._link.call(command)
        except StoreUnavailable as problem:
            # It may have come through. Then its replay, which has the same id, changes nothing.
            if self._begin_without(start):
                return ()
            if isinstance(problem, Unanswered):
                self._backlog.withdraw(start)
            if start.hold is not None and self._slices.lacks(start, start.hold):
                raise SliceSpent(str(problem)) from problem
            raise
        if reply == -1:
            raise StoreFull(_FULL.format(options.high_water_rows))
        if start.hold is not None and isinstance(reply, list) and reply[0] == -2:
            raise BudgetRefused(read_refusals(reply, start.hold, start.claim))
        return () if start.claim is None else read_allowances(reply, start.claim)

    def _begin_without(self, start: Start) -> bool:
        """Spool the begin if the request may be answered without the store. Raises StoreUnavailable: it cannot be."""
        if start.hold is None:
            if self._options.when_down == "reject":
                return False
            self._backlog.begin(start, owner=self.owner)
            return True
        # Money that nobody counts would be spent twice: a budget allows what was reserved before, and no more.
        return self._slices.begin(start, start.hold, owner=self.owner)

    async def settle(self, end: End) -> bool:
        if self._backlog.holds_begin(end.request_id):
            self._backlog.settle(end)
            return True
        command = self._commands.settle(end)
        try:
            return await self._settle_now(command)
        except StoreUnavailable as problem:
            log.warning("an outcome waits in the spool: %s", problem)
            self._backlog.settle(end)
            return True

    async def _settle_now(self, command: bytes) -> bool:
        try:
            return await self._link.call_once(command) != 0
        except ConnectionLost:
            # The first call may have gone through: if so this one finds the request closed, by us.
            await self._link.call(command)
            return True

    async def session(self, organisation: str, session: str) -> bytes | None:
        return _value(await self._link.call(pack("GET", scope_of(organisation).session(session))))

    async def tool_call_owner(self, organisation: str, tool_call_ids: Sequence[str]) -> bytes | None:
        if not tool_call_ids:
            return None
        scope = scope_of(organisation)
        found = await self._link.call(pack("MGET", *(scope.tool_call(call_id) for call_id in tool_call_ids)))
        assert isinstance(found, list)
        return next((_value(value) for value in found if value is not None), None)

    async def request_owner(self, organisation: str, request_id: str) -> tuple[str, str] | None:
        value = _value(await self._link.call(pack("GET", scope_of(organisation).request(request_id))))
        if value is None:
            return None
        decision_id, tenant = value.decode().split("\n", 1)
        return decision_id, tenant

    async def feedback(self, organisation: str, *, row: bytes, idempotency_key: str) -> str:
        feedback_id, limit = str(orjson.loads(row)["feedback_id"]), self._options.high_water_rows
        key = idempotency_key or feedback_id
        reply = await self._link.call(
            self._commands.feedback(organisation, key=key, feedback_id=feedback_id, row=row, high_water=limit)
        )
        if reply == -1:
            raise StoreFull(_FULL.format(limit))
        value = _value(reply)
        assert value is not None
        return value.decode()

    async def fields(self, key: str, *names: str) -> list[bytes | None]:
        """Values of a hash's fields; None for what it lacks."""
        found = await self._link.call(pack("HMGET", key, *names))
        assert isinstance(found, list)
        return [_value(value) for value in found]

    async def ask(self, *command: str | int | bytes) -> object:
        """The reply to a command that is no part of a request and may be carried out twice. Raises StoreUnavailable."""
        return await self._link.call(pack(*command))

    async def now(self) -> float:
        """POSIX seconds by the store's clock."""
        told = await self._link.call(pack("TIME"))
        assert isinstance(told, list)
        return float(told[0]) + float(told[1]) / 1e6

    async def ping(self) -> None:
        await self._link.call(pack("PING"))

    async def replay(self) -> int:
        """Send the spooled rows now; returns how many there were. Raises StoreUnavailable and keeps them."""
        return await self._backlog.replay(self._link.call)

    async def wait_replayed(self) -> None:
        """Until the background task has sent every spooled row."""
        await self._backlog.empty.wait()

    async def new_epoch(self) -> int:
        """Register this process anew. Every owner with a smaller epoch registered before this call."""
        return await self._owner.register()

    async def heartbeat(self) -> None:
        """Say that this owner lives. One that was taken for dead goes on under a new epoch."""
        await self._owner.beat()

    async def recover(self, *, before_epoch: int = 0) -> int:
        """Close the requests of dead owners as `unknown_after_crash`, each exactly once. Those of one whose spool
        another process has, to send what is in it, are left to a later call.

        Args:
            before_epoch: Owners with a smaller epoch are dead whatever their heartbeat says (a store of one's own).

        Returns:
            How many this call closed.
        """
        return await self._owner.recover(before_epoch=before_epoch)

    async def _upkeep(self) -> None:
        try:
            await self._backlog.sync()
            await self.heartbeat()
            if closed := await self.recover():
                log.warning("closed %d requests of gateways that are gone", closed)
            await self._slices.renew(owner=self.owner, at=await self.now())
        except (StoreUnavailable, OSError) as problem:
            log.warning("store upkeep waits: %s", problem)

    async def _beat_forever(self) -> None:
        while True:
            await asyncio.sleep(self._options.reap_s)
            with contextlib.suppress(StoreUnavailable):  # upkeep tells of it
                await self.heartbeat()

    async def _reap_forever(self) -> None:
        while True:
            await asyncio.sleep(self._options.reap_s)
            await self._upkeep()


def _value(reply: object) -> bytes | None:
    return reply if isinstance(reply, bytes) else None
