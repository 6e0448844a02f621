"""A tenant's erasure as commands and the admin API carry it out: beginning and end are in the log of changes."""

from pathlib import Path
from typing import TYPE_CHECKING

from router.directory.directory import Directory
from router.store.erase import Erased, erase_tenant

if TYPE_CHECKING:
    import redis


def erase_and_note(
    directory: Directory,
    client: "redis.Redis",
    url: str,
    data_dir: Path,
    *,
    organisation: str,
    tenant: str,
    budgets: bool,
) -> Erased:
    """`erase_tenant`, noted in the name of who the directory's changes are by; an erasure that fails has no end there.

    Raises:
        StoreUnavailable, DamagedPartition, redis.RedisError, OSError: As `erase_tenant`.
        DirectoryUnreadable: The log of changes cannot be continued; nothing was erased.
    """
    directory.note("erase.begin", tenant, before={"organisation": organisation, "budgets": budgets})
    erased = erase_tenant(client, url, data_dir, organisation=organisation, tenant=tenant, budgets=budgets)
    directory.note("erase.end", tenant, after={"rows": erased.n_rows, "keys": erased.n_keys, "left": erased.left})
    return erased
