"""Money that a process keeps reserved in advance, so that tenants with a budget are answered while the store is down.

A slice is a reservation in all windows of a tenant, with a lease that nothing but its owner's end ends. While the store
is away requests take their bounds from it, here; when they are replayed the store takes the same from the slice's lease
for theirs. So nothing is spent that was not reserved. What a request leaves over comes back with the slice.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import orjson
from ulid import ULID

from policies.prices import NANO
from policies.records import DecisionRow
from router.store.backlog import Backlog
from router.store.base import End, Start, StoreUnavailable
from router.store.commands import Commands, pack
from router.store.keys import PROBE_KEY, scope_of
from router.store.ledger import Hold, label_of
from router.store.link import Link
from router.store.recovery import SLICE, row_json

log = logging.getLogger(__name__)

LEASE_S = 10_000_000_000  # it does not end by time
CLOSED = -1  # has no room, not even for what costs nothing

Payer = tuple[str, str]  # organisation and tenant


def payer_of(start: Start) -> Payer:
    """Whose request it is."""
    return start.organisation, str(orjson.loads(start.stub).get("tenant"))


@dataclass(slots=True)
class Slice:
    """One tenant's.

    Attributes:
        hold: What was reserved for it, and in which windows.
        owner: The tag on its lease.
        at: POSIX seconds by the store's clock, not after it was granted.
        left: What no request took yet, nano-USD.
    """

    slice_id: str
    payer: Payer
    hold: Hold
    owner: str
    at: float
    left: int = CLOSED

    def is_as(self, hold: Hold, *, owner: str, at: float) -> bool:
        """Whether it is whole, for these windows, all of which last still, and signed by this owner."""
        lasts = all(label_of(each.per, self.at) == label_of(each.per, at) for each in self.hold.windows)
        return lasts and (self.hold, self.owner, self.left) == (hold, owner, hold.bound)

    def start(self) -> Start:
        """Grants it. Its stub is the decision row that it becomes where it is lost."""
        organisation, tenant = self.payer
        row = DecisionRow(
            request_id=self.slice_id, decision_id=f"dec-{self.slice_id.removeprefix(SLICE)}", client_request_id=None,
            organisation=organisation, tenant=tenant, key_id="", session="", turn=0, kind="slice", requested_model="",
            arm="", arms=[], propensities=[], quality=[], quality_sd=[], usd=[], seconds=[], revisions=[], removed={},
            trade_off=[0.0, 0.0, 0.0, None], explore=0.0, policy="", config="", encoder_id="", far=False, state="live",
            stream=False, prompt_tokens=0, features=[], embedding_dim=0,
        )  # fmt: skip
        return Start(self.slice_id, organisation, stub=row_json(row), row=b"", embedding=b"", hold=self.hold)

    def end(self) -> End:
        """Returns what is left of it, also where nobody knows whether it was granted: then it never will be."""
        organisation, tenant = self.payer
        return End(self.slice_id, organisation, row=b"", decision_id="", tenant=tenant, reserved=True, nano_usd=0)


class Slices:
    """This process's.

    Args:
        settle: `Store.settle`.

    Attributes:
        wanted: What each payer is to have; asked at each `renew`.
    """

    def __init__(
        self, link: Link, commands: Commands, backlog: Backlog, *, settle: Callable[[End], Awaitable[bool]]
    ) -> None:
        self._link, self._commands, self._backlog, self._settle = link, commands, backlog, settle
        self.wanted: Callable[[], Mapping[Payer, Hold]] = dict
        self._mine: dict[Payer, Slice] = {}
        self._refused: set[Payer] = set()
        self._renewing = asyncio.Lock()

    @property
    def left(self) -> dict[Payer, int]:
        """What requests may take while the store is down, in nano-USD."""
        return {payer: each.left for payer, each in self._mine.items() if each.left != CLOSED}

    def begin(self, start: Start, hold: Hold, *, owner: str) -> bool:
        """Take the bound and spool the begin; False where there is no slice for just these windows, where too little is
        left of it, or where the spool takes nothing."""
        mine = self._mine.get(payer_of(start))
        if mine is None or mine.hold.windows != hold.windows or hold.bound > mine.left:
            return False
        try:
            self._backlog.draw(start, hold, owner=owner, slice_id=mine.slice_id)
        except StoreUnavailable as problem:
            log.error("what is reserved for an outage cannot be spent: %s", problem)
            return False
        mine.left -= hold.bound
        return True

    def lacks(self, start: Start, hold: Hold) -> bool:
        """Whether the payer has a slice, only too little of it."""
        left = self.left.get(payer_of(start))
        return left is not None and hold.bound > left

    async def renew(self, *, owner: str, at: float) -> None:
        """Return what is no longer as it is wanted, and grant what is wanted.

        Args:
            owner: The tag that this process signs with.
            at: POSIX seconds by the store's clock.

        Raises:
            StoreUnavailable: What is left to do is done at the next call.
        """
        async with self._renewing:
            wanted = self.wanted()
            # What waits may have been taken from a slice, whose lease does not know it yet.
            if self._backlog.waiting or not (wanted or self._mine):
                return
            # Out of memory the store takes returns and no grants: then the slices there are had better stay.
            await self._link.call(pack("SET", PROBE_KEY, "", "PX", 1))
            there = await self._leases()
            payers = {**self._mine, **wanted}
            steps = (self._renew(each, wanted.get(each), is_there=each in there, owner=owner, at=at) for each in payers)
            problems = [each for each in await asyncio.gather(*steps, return_exceptions=True) if each is not None]
            if problems:
                raise problems[0]

    async def _leases(self) -> set[Payer]:
        """Payers whose slice the store still has. It charges those of who seems dead, and may lose what came last."""
        asked = list(self._mine.values())
        found = await self._link.call_many(
            [pack("HEXISTS", scope_of(each.payer[0]).base + "open", each.slice_id) for each in asked]
        )
        return {each.payer for each, reply in zip(asked, found, strict=True) if reply == 1}

    async def _renew(self, payer: Payer, hold: Hold | None, *, is_there: bool, owner: str, at: float) -> None:
        mine = self._mine.get(payer)
        if mine is not None:
            if hold is not None and is_there and mine.is_as(hold, owner=owner, at=at):
                return
            await self._return(mine)
        if hold is not None and not self._backlog.waiting:
            await self._grant(Slice(f"{SLICE}{ULID()}", payer, hold, owner, at))

    async def _grant(self, new: Slice) -> None:
        # It stands there before it is asked for: if its reply is lost, the next renewal returns it.
        self._mine[new.payer] = new
        command = self._commands.begin(new.start(), owner=new.owner, lease_s=LEASE_S, high_water=0)
        if await self._link.call(command) in (1, 0):  # 0: the first of two attempts had come through
            new.left = new.hold.bound
            self._refused.discard(new.payer)
            return
        del self._mine[new.payer]
        if new.payer not in self._refused:
            self._refused.add(new.payer)
            log.warning(
                "tenant %r: its budget has no room for %g USD in advance (outage_usd), so it is not answered while the "
                "store is down; asked again until there is", new.payer[1], new.hold.bound / NANO,
            )  # fmt: skip

    async def _return(self, mine: Slice) -> None:
        """Raises StoreUnavailable where neither store nor spool takes it; it can be repeated."""
        # First of all, so that nothing is taken from it any more: what was, is in the spool before its return.
        mine.left = CLOSED
        if self._backlog.waiting or not self._link.is_up:
            self._backlog.settle(mine.end())
        else:
            await self._settle(mine.end())
        del self._mine[mine.payer]

    async def return_all(self) -> None:
        """To the store, or by way of the spool; what neither takes stays reserved until this process is known to be
        dead, and is charged then."""
        found = await asyncio.gather(*(self._return(each) for each in self._mine.values()), return_exceptions=True)
        for problem in found:
            if isinstance(problem, StoreUnavailable):
                log.error("what was reserved for an outage is not returned: %s", problem)
            elif isinstance(problem, BaseException):
                raise problem
