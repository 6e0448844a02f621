"""Budgets as they stand: the current window of each, read by workers for the series and by `gearshift budget`."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from router.store.keys import scope_of
from router.store.ledger import Window, ends_at, label_of, read_sums, sums_of

if TYPE_CHECKING:
    import redis

    from router.store.valkey import ValkeyStore

Owned = tuple[str, Window]  # organisation, among whose keys the budget's windows are, and the budget


@dataclass(frozen=True, slots=True)
class Balance:
    """A window as it stands: what is spent and reserved in it, its name, and when it ends in POSIX seconds."""

    window: Window
    label: str
    ends_at: int
    spent: int
    reserved: int

    @property
    def left(self) -> int:
        """Neither spent nor reserved, in nano-USD; below 0 where more was charged than there was."""
        return self.window.limit - self.spent - self.reserved


async def balances(store: "ValkeyStore", owned: Sequence[Owned]) -> list[Balance]:
    """The current windows, by the store's clock. Raises StoreUnavailable."""
    at = await store.now()
    packed = await asyncio.gather(*(store.fields(scope_of(name).now, each.account) for name, each in owned))
    apart = await asyncio.gather(*(store.fields(_key(name, each), *_fields(each, at)) for name, each in owned))
    return [_balance(each, at, *sums) for (_, each), *sums in zip(owned, packed, apart, strict=True)]


def read_balances(client: "redis.Redis", owned: Iterable[Owned]) -> list[Balance]:
    """The same over a client of a command. Raises redis.RedisError."""
    seconds, micros = client.time()
    at = seconds + micros / 1e6
    packed: Any = [client.hmget(scope_of(name).now, [each.account]) for name, each in owned]
    apart: Any = [client.hmget(_key(name, each), _fields(each, at)) for name, each in owned]
    return [_balance(each, at, *sums) for (_, each), *sums in zip(owned, packed, apart, strict=True)]


def _key(organisation: str, window: Window) -> str:
    return scope_of(organisation).account(window.account)


def _fields(window: Window, at: float) -> tuple[str, str]:
    return sums_of(window.per, label_of(window.per, at))


def _balance(window: Window, at: float, packed: Sequence[bytes | None], apart: Sequence[bytes | None]) -> Balance:
    label = label_of(window.per, at)
    spent, reserved = read_sums(packed[0], apart, per=window.per, label=label)
    return Balance(window, label, ends_at(window.per, at), spent, reserved)
