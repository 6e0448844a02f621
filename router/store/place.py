"""Where a configuration's store is, and how each kind of process comes to it."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from pathlib import Path

from router.config.schema import StoreConfig
from router.store.base import LEASE_S, StoreUnavailable
from router.store.embedded import POLL_S, EmbeddedValkey, embedded_url, is_answering, is_gateway_up
from router.store.valkey import StoreOptions, ValkeyStore
from router.workers_lock import wait_for_workers

EMBEDDED = "embedded"
LEASE_SLACK_S = 60  # for all that is no attempt
EARLIER_WORKERS_S = 40.0  # a worker whose supervisor is gone drains first


def data_dir(config: StoreConfig) -> Path:
    """The data directory: the embedded store's files, the archive and the spool."""
    return Path(config.dir).expanduser()


def store_url(config: StoreConfig) -> str:
    """What a worker connects to; for the embedded store its socket, whether it runs or not."""
    return embedded_url(data_dir(config)) if config.url == EMBEDDED else config.url


def lease_of(longest_s: float) -> int:
    """Seconds of a lease that outlasts a request of so many."""
    return max(LEASE_S, ceil(longest_s) + LEASE_SLACK_S)


def make_store(
    config: StoreConfig, *, name: str | None = None, fallen: Sequence[str] = (), longest_s: float = 0.0
) -> ValkeyStore:
    """A worker's store; the caller starts and closes it.

    Args:
        longest_s: How long a request may take: its lease outlasts it.
        name: Unique among owners; by default made.
        fallen: Names of owners that are known to be dead, however lately they were heard of.
    """
    options = StoreOptions(
        spool_dir=data_dir(config) / "spool",
        when_down=config.when_down,
        high_water_rows=config.high_water_rows,
        lease_s=lease_of(longest_s),
    )
    return ValkeyStore(store_url(config), options, name=name, fallen=fallen)


async def recover_embedded(config: StoreConfig) -> int:
    """Close what an earlier run left open. For the supervisor, after the server started and before any worker.

    Returns:
        How many requests ended as `unknown_after_crash`.
    """
    store = make_store(config)
    await store.connect()
    try:
        closed = await store.recover(before_epoch=await store.new_epoch())
    finally:
        await store.aclose()
    return closed


@contextmanager
def open_store_for_cli(config: StoreConfig) -> Iterator[str]:
    """The URL of a store that answers. With the gateway down, an embedded one is started for as long as this lasts,
    and what the gateway left open is closed as `unknown_after_crash`.

    Raises:
        StoreUnavailable: It cannot be reached or started, or there is no data directory yet.
    """
    directory = data_dir(config)
    if config.url != EMBEDDED or _joined(directory):
        yield store_url(config)
        return
    if not directory.is_dir():
        raise StoreUnavailable(f"{directory} does not exist: no gateway has run with this store.dir yet")
    with EmbeddedValkey(directory, holder="reader") as server:
        # The directory is ours alone: whatever is still open will never end, and rows in a spool are due.
        if wait_for_workers(directory, wait_s=EARLIER_WORKERS_S):
            asyncio.run(recover_embedded(config))
        yield server.url


def _joined(directory: Path) -> bool:
    """Whether a living gateway's server is there to be used; one that starts is waited for."""
    while is_gateway_up(directory):
        if is_answering(directory):
            return True
        time.sleep(POLL_S)
    return False
