"""What a budget's window holds beside its sums: requests and spending by part of its time, noted by workers.

Nothing of it is needed to keep a budget, so it is written in the background, a little late, and may lose what a worker
that was killed had not noted yet.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from router.store.balances import Balance, kept_s, notes_key
from router.store.ledger import Window, begins_at

if TYPE_CHECKING:
    import redis

    from router.store.valkey import ValkeyStore

N_PARTS = 24
N_EARLIER = 7  # windows that tell the usual traffic; the store keeps them for 40 days
_REQUESTS = tuple(f"requests:{part}" for part in range(N_PARTS))
_SPENT = tuple(f"spent:{part}" for part in range(N_PARTS))


def part_of(balance: Balance) -> int:
    """Which part of its window this moment is in, 0..23."""
    return min(int(balance.elapsed * N_PARTS), N_PARTS - 1)


async def note(store: "ValkeyStore", organisation: str, balance: Balance, *, requests: int, pace: float | None) -> None:
    """Write down what came since the last note, what is spent by now, and the pace. Raises StoreUnavailable."""
    key, part = notes_key(organisation, balance.window, balance.at), part_of(balance)
    values: list[str | int] = [_SPENT[part], balance.spent]
    if pace is not None:
        values += ["pace", f"{pace:.6g}"]
    calls: list[tuple[str | int, ...]] = [("HSET", key, *values), ("EXPIRE", key, kept_s(balance.window, balance.at))]
    if requests:
        calls += [("HINCRBY", key, "requests", requests), ("HINCRBY", key, _REQUESTS[part], requests)]
    await asyncio.gather(*(store.ask(*call) for call in calls))


async def usual_traffic(store: "ValkeyStore", organisation: str, window: Window, at: float) -> tuple[list[int], float]:
    """Requests by part of the window, summed over the earlier ones that are known, and their mean number in a window.

    Months differ in where their weekends lie, so theirs tell no shape. Raises StoreUnavailable.
    """
    keys = _earlier(organisation, window, at)
    found = await asyncio.gather(*(store.fields(key, "requests", *_REQUESTS) for key in keys))
    known = [[int(value or 0) for value in each] for each in found if each[0] is not None]
    if not known:
        return [1] * N_PARTS, 0.0
    parts = [sum(column) for column in zip(*known, strict=True)]
    shape = [1] * N_PARTS if window.per == "month" else parts[1:]
    return shape, parts[0] / len(known)


def read_spending(client: "redis.Redis", organisation: str, window: Window, at: float) -> list[int | None]:
    """What was spent by the end of each part of the window of this moment, nano-USD; None: no worker noted it.

    Raises redis.RedisError.
    """
    found: Any = client.hmget(notes_key(organisation, window, at), list(_SPENT))
    return [None if value is None else int(value) for value in found]


def _earlier(organisation: str, window: Window, at: float) -> Sequence[str]:
    keys, moment = [], at
    for _ in range(1 if window.per == "month" else N_EARLIER):
        moment = begins_at(window.per, moment) - 1
        keys.append(notes_key(organisation, window, moment))
    return keys
