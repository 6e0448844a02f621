"""Sweeps texts whose term is over out of the archive now and then, from a thread of the supervisor."""

import logging
import threading
from collections.abc import Mapping

import orjson

from router.config.schema import Config, StoreConfig
from router.store.archiver import pass_in_child
from router.store.place import EMBEDDED, data_dir, store_url
from router.store.retention import DAY_S

log = logging.getLogger(__name__)

FIRST_S, EVERY_S = 60.0, 6 * 3600.0
STOP_S = 10.0


def terms_of(config: Config) -> list[tuple[str, str, float]]:
    """(organisation, tenant, seconds that its texts are kept) of the file's tenants that have a term."""
    return [
        (tenant.organisation, name, tenant.retention_days * DAY_S)
        for name, tenant in config.tenants.items()
        if tenant.retention_days is not None
    ]


class Sweeper:
    """Runs `router.store.retention` in a child every six hours; it adds the terms of tenants that the store keeps.

    Args:
        secret: The key secret, behind the pseudonyms of end users.
        environ: The children's environment; this process's own by default.
        first_s: Until the first pass.
    """

    def __init__(
        self,
        config: StoreConfig,
        *,
        secret: bytes,
        environ: Mapping[str, str] | None = None,
        first_s: float = FIRST_S,
    ) -> None:
        self._store, self._secret, self._environ, self._first_s = config, secret, environ, first_s
        self._tenants: list[str] = []
        self._terms: list[tuple[str, str, float]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    def take(self, config: Config) -> None:
        """Go by the terms of this configuration from the next pass on."""
        self._tenants, self._terms = list(config.tenants), terms_of(config)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends the pass under way, which loses nothing."""
        self._stop.set()
        self._thread.join(STOP_S)

    def _run(self) -> None:
        pause_s = self._first_s
        while not self._stop.wait(pause_s):
            pause_s = EVERY_S
            self._sweep()

    def _sweep(self) -> None:
        told = {
            "url": store_url(self._store),
            "own": self._store.url == EMBEDDED,
            "secret": self._secret.hex(),  # on standard input, as the URL, which may hold a password
            "tenants": self._tenants,
            "terms": self._terms,
        }
        printed = pass_in_child(
            "router.store.retention",
            data_dir(self._store),
            orjson.dumps(told).decode(),
            stop=self._stop,
            environ=self._environ,
        )
        if printed is not None and (gone := int(printed)):
            log.info("%d texts and names whose term is over have left the archive", gone)
