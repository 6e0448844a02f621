"""What could not reach the store, begins, draws, settles and withdrawals: spooled, and replayed when it is back."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

from router.store.accounts import asked_of
from router.store.base import End, Start, StoreUnavailable
from router.store.commands import Commands
from router.store.ledger import Hold, charged
from router.store.limits import given_back
from router.store.link import Link
from router.store.recovery import never_sent
from router.store.spool import Spool, SpoolTaken, adopt, spool_path

log = logging.getLogger(__name__)

BATCH = 64


def _start_fields(start: Start, owner: str) -> list[bytes]:
    names = (start.request_id.encode(), start.organisation.encode(), owner.encode())
    return [b"begin", *names, start.stub, start.row, start.embedding]


def _draw_fields(start: Start, hold: Hold, owner: str, slice_id: str) -> list[bytes]:
    return [b"draw", slice_id.encode(), b"%d" % hold.bound, asked_of(hold), *_start_fields(start, owner)]


def _end_fields(end: End) -> list[bytes]:
    texts = (end.request_id, end.organisation, end.decision_id, end.tenant, end.session)
    tool_calls = [call_id.encode() for call_id in end.tool_calls]
    settle = [b"settle", *(text.encode() for text in texts), end.row, end.session_value, *tool_calls]
    charge = [b"charge", charged(end.nano_usd).encode(), *settle] if end.reserved else settle
    return [b"limited", given_back(True, end.tokens).encode(), *charge] if end.limited else charge


def read_start(fields: Sequence[bytes]) -> tuple[Start, str]:
    """The spooled begin, behind its ``draw`` where a slice pays for it, and the tag of the owner that made it."""
    if fields[0] == b"draw":
        return read_start(fields[4:])
    request_id, organisation, owner = (field.decode() for field in fields[1:4])
    start = Start(request_id=request_id, organisation=organisation, stub=fields[4], row=fields[5], embedding=fields[6])
    return start, owner


def read_end(fields: Sequence[bytes]) -> End:
    """The spooled settle, behind its ``charge`` where money was reserved and ``limited`` where limits count it."""
    if fields[0] == b"limited":
        tokens = int(fields[1]) if fields[1] else None
        return replace(read_end(fields[2:]), limited=True, tokens=tokens)
    if fields[0] == b"charge":
        cost = int(fields[1]) if fields[1] else None
        return replace(read_end(fields[2:]), reserved=True, nano_usd=cost)
    request_id, organisation, decision_id, tenant, session = (field.decode() for field in fields[1:6])
    return End(
        request_id=request_id, organisation=organisation, row=fields[6], decision_id=decision_id, tenant=tenant,
        session=session, session_value=fields[7], tool_calls=[field.decode() for field in fields[8:]],
    )  # fmt: skip


class Backlog:
    """This process's spool and those that dead processes left behind.

    Attributes:
        added: Set when a record was added.
        empty: Set while the store has everything of this process.
    """

    def __init__(self, directory: Path, *, name: str, commands: Commands, lease_s: Callable[[], int]) -> None:
        self._directory, self._commands, self._lease_s = directory, commands, lease_s
        self._name = name
        self._own: Spool | None = None
        self._begun: set[str] = set()  # requests whose begin still waits here; their settle must wait behind it
        self.added, self.empty = asyncio.Event(), asyncio.Event()
        self.empty.set()

    @property
    def waiting(self) -> int:
        """Records of this process not yet in the store."""
        return self._own.waiting if self._own is not None else 0

    def holds_begin(self, request_id: str) -> bool:
        return request_id in self._begun

    def begin(self, start: Start, *, owner: str) -> None:
        """Raises StoreUnavailable when the spool cannot be written."""
        self._append(_start_fields(start, owner))
        self._begun.add(start.request_id)

    def draw(self, start: Start, hold: Hold, *, owner: str, slice_id: str) -> None:
        """A begin that is paid from a slice. Raises StoreUnavailable when the spool cannot be written."""
        self._append(_draw_fields(start, hold, owner, slice_id))
        self._begun.add(start.request_id)

    def settle(self, end: End) -> None:
        """Raises StoreUnavailable when the spool cannot be written."""
        self._append(_end_fields(end))

    def withdraw(self, start: Start) -> None:
        """A begin may have come through, and its request is refused: nothing may stay open, reserved or charged."""
        try:
            self._append([b"withdraw", *_end_fields(never_sent(start))])
        except StoreUnavailable as problem:
            log.error("request %s may stay open until its lease ends: %s", start.request_id, problem)

    def _append(self, fields: Sequence[bytes]) -> None:
        try:
            if self._own is None:
                self._own = self._new_spool()
            self._own.append(fields)
        except OSError as error:
            raise StoreUnavailable(f"neither the store nor {self._directory} takes rows: {error.strerror}") from error
        self.empty.clear()
        self.added.set()

    def _new_spool(self) -> Spool:
        for n in count():
            # Another process may look at a file that we have just created, and hold it for that moment.
            with contextlib.suppress(SpoolTaken):
                return Spool(spool_path(self._directory, self._name, n))
        raise AssertionError("unreachable")

    async def replay(self, call: Callable[[bytes], Awaitable[object]]) -> int:
        """Send this process's records in order; they are forgotten when the store has all of them.

        Raises:
            StoreUnavailable: The store went away again; everything stays for the next time.
        """
        if self._own is None or self._own.waiting == 0:
            return 0
        sent = 0
        while sent < self._own.waiting:  # rows may join while we send
            sent += await self._send(self._own.records()[sent:], call)
        self._own.clear()
        self._begun.clear()
        self.empty.set()
        return sent

    async def replay_forever(self, link: Link) -> None:
        """Send what waits whenever the store can be reached."""
        while True:
            await self.added.wait()
            self.added.clear()
            while self.waiting:
                try:
                    await self.replay(link.call)
                except (StoreUnavailable, OSError):
                    link.returned.clear()
                    if not link.is_up:
                        await link.returned.wait()
                    else:  # it answers but refuses, e.g. its disk is full
                        await asyncio.sleep(1.0)

    async def replay_orphans(self, call: Callable[[bytes], Awaitable[object]]) -> tuple[set[str], set[str]]:
        """Send what dead processes left.

        Returns:
            The tags of their owners, whose leases are for recovery, and the names of owners whose spool is taken: what
            is in it may end what they have open.
        """
        owners: set[str] = set()
        adopted, taken = adopt(self._directory)
        with contextlib.ExitStack() as opened:
            for spool in adopted:  # all of them, also where the store goes away at the first
                opened.callback(spool.close)
            for spool in adopted:
                records = spool.records()
                await self._send(records, call)
                owners |= {read_start(fields)[1] for fields in records if fields[0] in (b"begin", b"draw")}
                spool.clear()
        return owners, taken

    async def _send(self, records: list[list[bytes]], call: Callable[[bytes], Awaitable[object]]) -> int:
        # Were a draw refused and the settle behind it taken, nothing would pay for the request: so the store has all
        # draws before it gets the rest. In their place they come again, and change nothing then.
        draws = [fields for fields in records if fields[0] == b"draw"]
        for part in (draws, records):
            for at in range(0, len(part), BATCH):
                # One connection keeps their order: a settle never overtakes its begin.
                await asyncio.gather(*(call(self._pack(fields)) for fields in part[at : at + BATCH]))
        return len(records)

    def _pack(self, fields: Sequence[bytes]) -> bytes:
        if fields[0] in (b"settle", b"charge", b"limited"):
            return self._commands.settle(read_end(fields))
        if fields[0] == b"withdraw":
            return self._commands.withdraw(read_end(fields[1:]))
        start, owner = read_start(fields)
        if fields[0] == b"draw":
            return self._commands.draw(
                start,
                owner=owner,
                lease_s=self._lease_s(),
                slice_id=fields[1].decode(),
                accounts=fields[3],
                bound=int(fields[2]),
            )
        # No high water: the request was answered, its row must go in.
        return self._commands.begin(start, owner=owner, lease_s=self._lease_s(), high_water=0)

    async def sync(self) -> None:
        """Make waiting records survive a power cut."""
        if self._own is not None and self._own.waiting:
            await asyncio.to_thread(self._own.sync)

    def close(self) -> None:
        if self._own is not None:
            self._own.close()
            self._own = None
