"""One process of those that sign leases: it registers, says that it lives, and closes what the dead left open."""

import asyncio
from collections.abc import Sequence

from router.store.backlog import Backlog
from router.store.commands import Commands
from router.store.link import Link
from router.store.recovery import close_leases, dead_owners, name_in


class Owner:
    """This process.

    Args:
        name: Unique among owners, without a colon.
        fallen: Names of owners that are known to be dead.

    Attributes:
        tag: What it signs leases with, name and epoch; epoch 0 until it is registered.
        ttl_s: Not heard of for so long it is dead.
    """

    def __init__(
        self, link: Link, commands: Commands, backlog: Backlog, *, name: str, ttl_s: int, fallen: Sequence[str]
    ) -> None:
        self._link, self._commands, self._backlog = link, commands, backlog
        self._name, self._epoch, self._fallen = name, 0, set(fallen)
        self.tag, self.ttl_s = f"{name}:0", ttl_s
        self._beating = asyncio.Lock()

    async def register(self) -> int:
        """Under a new epoch. Every owner with a smaller one registered before this call."""
        return await self._beat(self.ttl_s, is_new=True)

    async def beat(self) -> None:
        """Say that this owner lives. One that was taken for dead goes on under a new epoch."""
        await self._beat(self.ttl_s)

    async def sign_off(self) -> None:
        await self._beat(0)

    async def _beat(self, ttl_s: int, *, is_new: bool = False) -> int:
        # Two at once would get an epoch each where this owner was forgotten, and the store count one of them as dead.
        async with self._beating:
            epoch = 0 if is_new else self._epoch
            reply = await self._link.call(self._commands.beat(self._name, epoch=epoch, ttl_s=ttl_s))
            assert isinstance(reply, int)
            self._epoch, self.tag = reply, f"{self._name}:{reply}"
            return reply

    async def recover(self, *, before_epoch: int) -> int:
        """`router.store.valkey.ValkeyStore.recover`."""
        orphans, taken = await self._backlog.replay_orphans(self._link.call)
        dead = orphans | self._fallen | await dead_owners(self._link, self._commands)
        # What another process still sends of a dead one's spool may be the end of what is open: not before it has.
        due = {tag for tag in dead if name_in(tag) not in taken} - {self.tag}
        closed = await close_leases(self._link, self._commands, dead=due, before_epoch=before_epoch, ttl_s=self.ttl_s)
        self._fallen &= taken
        return closed
