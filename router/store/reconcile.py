"""Whether log and counters agree: what settled requests were charged, window by window, beside what the store counts.

Both are written in the same step of the store, so at rest they are equal to a nano-USD. While requests end, some may
do so between the two readings; windows that have ended are still then.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policies.archive_schema import read_log
from router.store.accounts import sums_in
from router.store.keys import SHARDS, organisation_in, shard_base
from router.store.ledger import KEPT_S, MAX_NANO_USD, PERS, label_of, read_entry
from router.store.logbook import read_live

if TYPE_CHECKING:
    import redis

Place = tuple[str, str, str, str]  # organisation, account, per, label
_SUM = re.compile(r"(hour|day|month):([0-9T-]+):(spent|reserved)")
_COLUMNS = ("request_id", "organisation", "outcome_nano_usd", "outcome_ledger")


@dataclass(frozen=True, slots=True)
class Difference:
    """A window in which they differ, in nano-USD.

    Attributes:
        spent / entries: What the store counts as spent, and the sum of the log's entries.
        reserved / held: What the store counts as reserved, and the sum of what leases hold.
    """

    place: Place
    spent: int
    entries: int
    reserved: int
    held: int


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What was compared, and what differs.

    Attributes:
        misstated: Requests whose outcome row says another cost than what was charged.
    """

    windows: int
    entries: int
    differences: tuple[Difference, ...]
    misstated: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        return not self.differences and not self.misstated


def reconcile(store_url: str, directory: Path) -> Reconciliation:
    """Compare every window that the store still keeps with the whole log.

    Args:
        store_url: Where the store is.
        directory: The data directory that its log is archived to.

    Raises:
        redis.RedisError: The store cannot be read.
        DamagedPartition: A file of the archive cannot be read.
    """
    import redis

    with redis.Redis.from_url(store_url, socket_timeout=30) as client:
        now = float(client.time()[0])
        counters, held = _counters(client), _held(client)
        live = read_live(client)
    entries, n, misstated = Counter[Place](), 0, []
    for table in read_log(directory, live=live, columns=_COLUMNS):
        for row in table.to_pylist():
            if row["outcome_ledger"] is None:
                continue
            n += 1
            entry = read_entry(row["outcome_ledger"])
            if min(row["outcome_nano_usd"] or 0, MAX_NANO_USD) != entry.nano_usd:
                misstated.append(str(row["request_id"]))
            for window in entry.windows:
                entries[(row["organisation"], *window)] += entry.nano_usd
    oldest: dict[str, str] = {per: label_of(per, now - KEPT_S) for per in PERS}
    places = {place for place in (*counters, *entries, *held) if place[3] >= oldest[place[2]]}
    found = (_difference(place, counters.get(place, (0, 0)), entries[place], held[place]) for place in sorted(places))
    return Reconciliation(len(places), n, tuple(each for each in found if each is not None), tuple(misstated))


def _difference(place: Place, counted: tuple[int, int], entries: int, held: int) -> Difference | None:
    spent, reserved = counted
    return None if (spent, reserved) == (entries, held) else Difference(place, spent, entries, reserved, held)


def _counters(client: "redis.Redis") -> dict[Place, tuple[int, int]]:
    """(spent, reserved) of every window."""
    found: dict[Place, tuple[int, int]] = {}
    for key in client.scan_iter(match="gs:{s??}:bud:*", count=1000):
        organisation, account = _names(key)
        sums: Any = client.hgetall(key)
        for name, amount in sums.items():
            if field := _SUM.fullmatch(name.decode()):
                place = (organisation, account, field[1], field[2])
                spent, reserved = found.get(place, (0, 0))
                found[place] = (int(amount), reserved) if field[3] == "spent" else (spent, int(amount))
    for key in client.scan_iter(match="gs:{s??}:now:*", count=1000):
        organisation, _ = _names(key)
        accounts: Any = client.hgetall(key)
        for account, packed in accounts.items():
            for (per, label), pair in sums_in(packed).items():
                found[(organisation, account.decode(), per, label)] = pair
    return found


def _names(key: bytes) -> tuple[str, str]:
    """Organisation and what follows it in `gs:{sNN}:<kind>:<length>:<organisation>:…`."""
    length, _, rest = key.decode().split(":", 3)[3].partition(":")
    return rest[: int(length)], rest[int(length) + 1 :]


def _held(client: "redis.Redis") -> Counter[Place]:
    """What leases say that they reserved."""
    found = Counter[Place]()
    for lease in _leases(client):
        lines = lease.decode().split("\n")  # owner, end, scope, stub, what it reserved and what it took of limits
        if len(lines) > 4 and lines[4]:
            bound = read_entry(lines[4])
            for window in bound.windows:
                found[(organisation_in(lines[2]), *window)] += bound.nano_usd
    return found


def _leases(client: "redis.Redis") -> Iterator[bytes]:
    for shard in range(SHARDS):
        leases: Any = client.hvals(shard_base(shard) + "open")
        yield from leases
