"""Budgets as they stand: the current window of each, read by workers for pace and series and by `gearshift budget`."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from router.store.accounts import read_sums
from router.store.keys import scope_of
from router.store.ledger import KEPT_S, Window, begins_at, ends_at, label_of, sums_of

if TYPE_CHECKING:
    import redis

    from router.store.valkey import ValkeyStore

Owned = tuple[str, Window]  # organisation, among whose keys the budget's windows are, and the budget
NOTED = ("requests", "pace")  # beside a window's sums, by workers


@dataclass(frozen=True, slots=True)
class Balance:
    """A window as it stands: what is spent and reserved in it, its name, and its times in POSIX seconds.

    Attributes:
        at: By the store's clock, when it stood so.
        requests: Begun in it, as far as workers have counted them out; only of paced windows.
        pace: The last multiplier of λ that a worker found; None: it is not paced, or nothing was found yet.
        exists: Something was asked of it already.
    """

    window: Window
    label: str
    begins_at: int
    ends_at: int
    at: float
    spent: int
    reserved: int
    requests: int = 0
    pace: float | None = None
    exists: bool = True

    @property
    def left(self) -> int:
        """Neither spent nor reserved, in nano-USD; below 0 where more was charged than there was."""
        return self.window.limit - self.spent - self.reserved

    @property
    def elapsed(self) -> float:
        """Share of its time that is over, 0..1."""
        return min(max((self.at - self.begins_at) / (self.ends_at - self.begins_at), 0.0), 1.0)


async def balances(store: "ValkeyStore", owned: Sequence[Owned]) -> list[Balance]:
    """The current windows, by the store's clock. Raises StoreUnavailable."""
    at = await store.now()
    found = await asyncio.gather(*(_read(store, name, each, at) for name, each in owned))
    return [_balance(each, at, *values) for (_, each), values in zip(owned, found, strict=True)]


async def _read(store: "ValkeyStore", organisation: str, window: Window, at: float) -> list[list[bytes | None]]:
    return await asyncio.gather(*(store.fields(key, *fields) for key, fields in _kept_in(organisation, window, at)))


def read_balances(client: "redis.Redis", owned: Iterable[Owned], *, at: float | None = None) -> list[Balance]:
    """The same over a client of a command, or of the windows that held a moment `at`. Raises redis.RedisError."""
    if at is None:
        seconds, micros = client.time()
        at = seconds + micros / 1e6
    found = []
    for organisation, window in owned:
        values: Any = [client.hmget(key, fields) for key, fields in _kept_in(organisation, window, at)]
        found.append(_balance(window, at, *values))
    return found


def notes_key(organisation: str, window: Window, at: float) -> str:
    """The hash of what workers note beside the sums of the window that holds this moment."""
    return scope_of(organisation).notes(window.account, window.per, label_of(window.per, at))


def kept_s(window: Window, at: float) -> int:
    """Seconds for which what is noted of the window of this moment is kept from then on."""
    return int(ends_at(window.per, at) - at) + KEPT_S


def _kept_in(organisation: str, window: Window, at: float) -> list[tuple[str, Sequence[str]]]:
    """Keys and fields of all that is known of the window of this moment: its account's record, sums apart, notes.

    In this order: sums that leave the record in between are found apart.
    """
    scope = scope_of(organisation)
    return [
        (scope.now, (window.account,)),
        (scope.account(window.account), sums_of(window.per, label_of(window.per, at))),
        (notes_key(organisation, window, at), NOTED),
    ]


def _balance(
    window: Window,
    at: float,
    record: Sequence[bytes | None],
    apart: Sequence[bytes | None],
    noted: Sequence[bytes | None],
) -> Balance:
    label = label_of(window.per, at)
    sums = read_sums(record[0], apart, per=window.per, label=label)
    spent, reserved = sums or (0, 0)
    requests, pace = noted
    return Balance(
        window=window,
        label=label,
        begins_at=begins_at(window.per, at),
        ends_at=ends_at(window.per, at),
        at=at,
        spent=spent,
        reserved=reserved,
        requests=int(requests or 0),
        pace=None if pace is None else float(pace),
        exists=sums is not None,
    )
