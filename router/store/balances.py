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
AT_ONCE = 100  # budgets that are looked at before requests get their turn


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
    found = []
    for first in range(0, len(owned), AT_ONCE):
        found += await _read(store, owned[first : first + AT_ONCE], at)
    return found


async def _read(store: "ValkeyStore", owned: Sequence[Owned], at: float) -> list[Balance]:
    """Records by organisation; then only what they lack, and the notes of what is paced."""
    accounts: dict[str, dict[str, bytes | None]] = {}
    for organisation, window in owned:
        accounts.setdefault(organisation, {})[window.account] = None
    records = await asyncio.gather(*(store.fields(scope_of(name).now, *mine) for name, mine in accounts.items()))
    for mine, values in zip(accounts.values(), records, strict=True):
        mine.update(zip(mine, values, strict=True))

    async def read(organisation: str, window: Window) -> Balance:
        record = accounts[organisation][window.account]
        _, (key, fields), (noted_key, noted_fields) = _kept_in(organisation, window, at)
        apart: Sequence[bytes | None] = (None, None)
        if read_sums(record, apart, per=window.per, label=label_of(window.per, at)) is None:
            apart = await store.fields(key, *fields)
        noted = await store.fields(noted_key, *noted_fields) if window.paced else (None, None)
        return _balance(window, at, (record,), apart, noted)

    return await asyncio.gather(*(read(organisation, window) for organisation, window in owned))


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
