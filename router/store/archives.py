"""Which archives hold rows of a store: gateways that share one may each have archived for a while, to their own disks.

Noted in the store, without a term, before the first row goes there: an erasure on one host knows by it what it cannot
reach. An archive that is gone for good is taken off the list by hand.
"""

import socket
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from router.store.keys import ARCHIVES_KEY, scope_of

if TYPE_CHECKING:
    import redis

ERASING_TTL_S = 7 * 86_400  # for the way from host to host; later, rows may have come to where it was erased first


def note_archive(client: "redis.Redis", name: str, directory: Path) -> None:
    """Say in the store that this archive has rows of it, and on which host."""
    client.hset(ARCHIVES_KEY, name, f"{socket.gethostname()}:{directory.resolve() / 'archive'}")


def has_rows(directory: Path) -> bool:
    """Whether the data directory's archive has any file of rows, whatever is left in it."""
    return any(directory.glob("archive/*/shard=*/*"))


def read_archives(client: "redis.Redis") -> dict[str, str]:
    """Place by name of every archive that has rows of this store."""
    found: Any = client.hgetall(ARCHIVES_KEY)
    return {name.decode(): place.decode() for name, place in found.items()}


def not_yet_erased(client: "redis.Redis", organisation: str, tenant: str) -> set[str]:
    """Names of the archives that a tenant is still to be erased from; all, where no erasure of it is on its way."""
    noted, raw = set(read_archives(client)), client.get(_erasing(organisation, tenant))
    return noted if raw is None else noted & set(orjson.loads(raw))


def note_not_erased(client: "redis.Redis", organisation: str, tenant: str, names: Collection[str]) -> None:
    """For the erasures on the other hosts; nothing is kept of one that is done on all."""
    key = _erasing(organisation, tenant)
    if names:
        client.set(key, orjson.dumps(sorted(names)), ex=ERASING_TTL_S)
    else:
        client.delete(key)


def _erasing(organisation: str, tenant: str) -> str:
    return f"gs:{{gs}}:erasing:{scope_of(organisation).scope}{tenant}"
