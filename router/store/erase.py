"""All that a tenant left, taken out of the store and the archive: its log, its sessions, what waits to be learned.

The order makes it repeatable: the log goes to the archive first, so that what is left in the streams is little; what
tells which decisions were the tenant's goes last. Interrupted anywhere, it is simply begun again.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from router.store.archive import archive_once, holder_of, holds, own_pass
from router.store.archives import has_rows, not_yet_erased, note_archive, note_not_erased, read_archives
from router.store.base import StoreUnavailable
from router.store.keys import online_keys, scope_of
from router.store.ledger import tenant_account
from router.store.limits import key_account
from router.store.recovery import SLICE

if TYPE_CHECKING:
    import redis

SCAN_COUNT = 1000
COMPACT_S = 600.0
POLL_S = 0.05
_NOTHING_KNOWN = "\n"  # neither decision nor tenant, of a request that ended: as `withdraw` has it


@dataclass(frozen=True, slots=True)
class Erased:
    """What went: rows of the log from store and archive, and other keys of the store.

    Attributes:
        n_open: Requests under way, whose rows are still to come.
        is_compact: The store's own files were written anew, so that they hold nothing of it either.
        elsewhere: Places of archives on other hosts that may still have rows of it.
        damaged: Copies of damaged spools on this host, whose rows nobody can tell apart.
    """

    n_rows: int
    n_keys: int
    n_open: int
    is_compact: bool
    elsewhere: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()

    @property
    def left(self) -> list[str]:
        """What is or may be left, each with what to do about it; empty: the tenant is gone."""
        found = [f"{self.n_open} requests are still open: erase again once they have ended"] if self.n_open else []
        found += [f"the archive {place} may still have rows of it: erase on that host too" for place in self.elsewhere]
        found += [f"{path} is a copy of a damaged spool and may hold rows of it: delete it" for path in self.damaged]
        if not self.is_compact:
            found.append("the store did not write its files anew: run BGREWRITEAOF or BGSAVE there")
        return found


def erase_tenant(
    client: "redis.Redis",
    url: str,
    directory: Path,
    *,
    organisation: str,
    tenant: str,
    budgets: bool,
    step: Callable[[str], None] = lambda name: None,
) -> Erased:
    """Take out what this tenant of this organisation left.

    Where other archives have rows of this store too, it is to be called on each of their hosts.

    Args:
        directory: The data directory; its archive is one that has rows of the store.
        budgets: Also what it spent, which its budgets then count anew.
        step: Called after each step with its name.

    Raises:
        StoreUnavailable: The log goes to other data directories' archives alone; nothing was changed.
        redis.RedisError, OSError, DamagedPartition: Call it again once that is mended.
    """
    from router.store.erase_archive import archived_key_ids, erase_archive

    is_ours = _archives_now(client, directory)
    if is_ours:
        archive_once(url, directory)
    step("archived")
    with own_pass(directory) as name:
        if is_ours and not holds(client, name):
            raise _elsewhere(client, directory)
        if has_rows(directory):
            note_archive(client, name, directory)
        to_do = not_yet_erased(client, organisation, tenant)
        # First of all: the rows that are about to go tell which keys were the tenant's.
        n_counts = _erase_counts(client, organisation, tenant, archived_key_ids(directory, organisation, tenant))
        step("limits")
        found: Any = client.eval(_script("erase.lua"), 1, scope_of(organisation).log, organisation, tenant)
        step("log")
        n_rows = int(found) + erase_archive(directory, organisation, tenant, step=step)
    n_keys = n_counts + _erase_keys(client, organisation, tenant, budgets=budgets, step=step)
    n_open = _count_open(client, organisation, tenant)
    note_not_erased(client, organisation, tenant, to_do if n_open else to_do - {name})
    is_compact = compact(client)
    step("compacted")
    places = read_archives(client)
    elsewhere = tuple(places[other] for other in sorted(to_do - {name}) if other in places)
    damaged = tuple(str(path) for path in sorted(directory.glob("spool/*.damaged")))
    return Erased(n_rows, n_keys, n_open, is_compact, elsewhere, damaged)


def _archives_now(client: "redis.Redis", directory: Path) -> bool:
    """Whether the log goes to this archive, or to none yet; an erasure takes it over from no other.

    Raises:
        StoreUnavailable: It goes to others, and this archive has none of it.
    """
    with own_pass(directory) as name:
        if has_rows(directory):
            note_archive(client, name, directory)
        noted, holder = read_archives(client).keys(), holder_of(client)
    if name not in noted and (noted or holder is not None) and holder != name:
        raise _elsewhere(client, directory)
    return holder == name or (holder is None and noted <= {name})


def _elsewhere(client: "redis.Redis", directory: Path) -> StoreUnavailable:
    places = ", ".join(sorted(read_archives(client).values())) or "that of another host"
    return StoreUnavailable(
        f"this store's log is not archived to {directory} but to {places}; run it where the gateway that archives it "
        "runs"
    )


def _script(name: str) -> str:
    return resources.files("router.store").joinpath(name).read_text(encoding="utf-8")


def _erase_counts(client: "redis.Redis", organisation: str, tenant: str, key_ids: Iterable[str]) -> int:
    """What limits and shares count of the tenant and its keys; requests that are open then count in none."""
    accounts = (tenant_account(tenant), *(key_account(key_id) for key_id in key_ids))
    return sum(_erase_account(client, organisation, account) for account in accounts)


def _erase_account(client: "redis.Redis", organisation: str, account: str, *, budgets: bool = False) -> int:
    scope = scope_of(organisation)
    keys = (scope.now, scope.shares, scope.account(account))
    gone: Any = client.eval(_script("erase_account.lua"), 3, *keys, account, "budgets" if budgets else "")
    return int(gone)


def _erase_keys(
    client: "redis.Redis", organisation: str, tenant: str, *, budgets: bool, step: Callable[[str], None]
) -> int:
    scope = scope_of(organisation)
    requests = dict(_requests_of(client, organisation, tenant))
    decisions = set(requests.values())
    n_keys = _forget_waiting(client, decisions)
    step("waiting")
    for prefix in (scope.session(""), scope.tool_call("")):
        for keys in _scan(client, prefix):
            values: Any = client.mget(keys)
            standing = zip(keys, values, strict=True)
            n_keys += _delete(client, [key for key, value in standing if value and _decision_in(value) in decisions])
    for keys in _scan(client, f"{scope.base}fb:{scope.scope}{len(tenant)}:{tenant}:"):
        n_keys += _delete(client, keys)
    if budgets:
        account = tenant_account(tenant)
        n_keys += _erase_account(client, organisation, account, budgets=True)
        for keys in _scan(client, f"{scope.base}win:{scope.scope}{account}:"):
            n_keys += _delete(client, keys)
    step("sessions")
    return n_keys + _blank(client, list(requests))


def _requests_of(client: "redis.Redis", organisation: str, tenant: str) -> Iterator[tuple[bytes, str]]:
    """Key and decision of each request of the last 30 days that the tenant made."""
    for keys in _scan(client, scope_of(organisation).request("")):
        values: Any = client.mget(keys)
        for key, value in zip(keys, values, strict=True):
            decision_id, _, owner = (value or b"").decode().partition("\n")
            if owner == tenant:
                yield key, decision_id


def _forget_waiting(client: "redis.Redis", decisions: set[str]) -> int:
    """Decisions that wait for feedback to be learned from, of every artifact."""
    gone = 0
    names = list(decisions)
    for key in client.scan_iter(match=_escaped(online_keys("").state) + "*:waiting", count=SCAN_COUNT):
        for at in range(0, len(names), SCAN_COUNT):
            found: Any = client.hdel(key, *names[at : at + SCAN_COUNT])
            gone += int(found)
    return gone


def _count_open(client: "redis.Redis", organisation: str, tenant: str) -> int:
    """Requests; a slice is money alone, and leaves no row but where it is lost."""
    scope = scope_of(organisation)
    leases: Any = client.hgetall(f"{scope.base}open")
    requests = [lease for name, lease in leases.items() if not name.startswith(SLICE.encode())]
    stubs = [(of, stub) for _, _, of, stub in (lease.split(b"\n")[:4] for lease in requests)]
    return sum(
        of == scope.scope.encode() and bool(stub) and orjson.loads(stub).get("tenant") == tenant for of, stub in stubs
    )


def _decision_in(value: bytes) -> str:
    """The decision that a session's or tool call's standing names: `router.sessions.Standing`."""
    return str(orjson.loads(value)[1])


def _scan(client: "redis.Redis", prefix: str) -> Iterator[list[bytes]]:
    """Keys that begin with a prefix, a thousand at a time."""
    batch: list[bytes] = []
    for key in client.scan_iter(match=_escaped(prefix) + "*", count=SCAN_COUNT):
        batch.append(key)
        if len(batch) == SCAN_COUNT:
            yield batch
            batch = []
    if batch:
        yield batch


def _escaped(text: str) -> str:
    return "".join(f"\\{char}" if char in "*?[]\\^" else char for char in text)


def _delete(client: "redis.Redis", keys: list[bytes]) -> int:
    gone = 0
    for at in range(0, len(keys), SCAN_COUNT):
        found: Any = client.unlink(*keys[at : at + SCAN_COUNT])
        gone += int(found)
    return gone


def _blank(client: "redis.Redis", keys: list[bytes]) -> int:
    """Leave of ended requests that they ended, for as long as that was kept: a replay may still repeat them, and would
    charge them anew."""
    for at in range(0, len(keys), SCAN_COUNT):
        with client.pipeline(transaction=False) as pipe:
            for key in keys[at : at + SCAN_COUNT]:
                pipe.set(key, _NOTHING_KNOWN, xx=True, keepttl=True)
            pipe.execute()
    return len(keys)


def compact(client: "redis.Redis") -> bool:
    """Have the server write its files anew, without what is deleted; False where it does not let us."""
    import redis

    state = _persistence(client)
    kind, begin = ("aof_rewrite", client.bgrewriteaof) if state.get("aof_enabled") else ("rdb_bgsave", client.bgsave)
    try:
        wait_idle(client)  # what runs already may have begun before the last deletion
        begin()
    except redis.ResponseError:
        return False
    wait_idle(client)
    last = "aof_last_bgrewrite_status" if kind == "aof_rewrite" else "rdb_last_bgsave_status"
    return _persistence(client).get(last) == "ok"


def wait_idle(client: "redis.Redis") -> None:
    """Until the server writes no file of its own. Raises StoreUnavailable after ten minutes."""
    deadline = time.monotonic() + COMPACT_S
    running = ("aof_rewrite_in_progress", "aof_rewrite_scheduled", "rdb_bgsave_in_progress")
    while any(_persistence(client).get(name) for name in running):
        if time.monotonic() > deadline:
            raise StoreUnavailable(f"the store still writes its files after {COMPACT_S:g} s; try again later")
        time.sleep(POLL_S)


def _persistence(client: "redis.Redis") -> dict[str, Any]:
    found: Any = client.info("persistence")
    return dict(found)
