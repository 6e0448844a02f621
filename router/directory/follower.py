"""A worker's side: it asks twice a second whether tenants or keys changed, and swaps its setup; no request waits."""

import asyncio
import logging
from dataclasses import replace
from time import monotonic
from typing import Protocol

from router.config.schema import Config
from router.directory.kept import FIELDS, SECRET_FIELD, DirectoryUnreadable, Kept, read_kept, with_tenants
from router.gateway import Gateway
from router.http.boundary import log_place
from router.secret import VARIABLE, secret_id
from router.setup import Setup
from router.store.base import StoreUnavailable
from router.store.keys import DIRECTORY_KEY
from router.tenants import Tenants

log = logging.getLogger(__name__)
INTERVAL_S = 0.5


class Fields(Protocol):
    """What is asked of the store."""

    async def fields(self, key: str, *names: str) -> list[bytes | None]: ...

    async def ask(self, *command: str | int) -> object: ...

    async def now(self) -> float: ...


class DirectoryFollower:
    """Keeps a worker's tenants at what the file and the store say. While the store is away, what was known stays."""

    def __init__(self, store: Fields, *, secret: bytes, interval_s: float = INTERVAL_S) -> None:
        self._store, self._secret, self._interval_s = store, secret, interval_s
        self._config: Config | None = None  # as the file says
        self._kept: Kept | None = None
        self._head: bytes | None = None
        self._read_at_s, self._store_now = 0.0, 0.0
        self._told: dict[str, str] = {}
        self._unreadable = ""

    def take(self, setup: Setup) -> Setup:
        """Follow this configuration from now on; the setup with what the store is known to keep."""
        self._config = setup.config
        return self._dressed(setup, self._tenants())

    async def follow(self, gateway: Gateway) -> None:
        """Look again every interval, for good. What fails here must never take a serving process down."""
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                await self.look(gateway)
            except Exception as error:
                log_place(error)

    async def look(self, gateway: Gateway) -> None:
        """Take up what changed since the last look, if the store can be asked."""
        try:
            (head,) = await self._store.fields(DIRECTORY_KEY, FIELDS[0])
            if self._kept is not None and head == self._head:
                return
            head, document = await self._store.fields(DIRECTORY_KEY, *FIELDS)
            now = await self._store.now()
            if self._kept is None:
                await self._compare_secret(is_empty=head is None)
            kept = read_kept(head, document)
        except StoreUnavailable:
            return
        except DirectoryUnreadable as problem:
            if str(problem) != self._unreadable:  # told once: what was known stays in force
                self._unreadable = str(problem)
                log.error("tenants and keys stay as they are: %s", problem)
            return
        self._kept, self._unreadable = kept, ""
        self._read_at_s, self._store_now = monotonic(), now
        config, tenants = self._config, None
        while tenants is None or config is not self._config:  # else a reload came meanwhile
            config = self._config
            # Thousands of tenants take a tenth of a second, which no request should wait for.
            tenants = await asyncio.to_thread(self._tenants)
        gateway.setup = self._dressed(gateway.setup, tenants)
        self._head = head

    async def _compare_secret(self, *, is_empty: bool) -> None:
        """Note our secret for who makes keys, or say that keys of the store were made under another."""
        mine = secret_id(self._secret)
        (noted,) = await self._store.fields(DIRECTORY_KEY, SECRET_FIELD)
        if is_empty:
            await self._store.ask("HSET", DIRECTORY_KEY, SECRET_FIELD, mine)
        elif noted != mine.encode():
            log.error(
                "the store's keys were made under another key secret, and none works here; set %s alike", VARIABLE
            )

    def _tenants(self) -> Tenants:
        now = self._store_now + monotonic() - self._read_at_s
        return Tenants(self._config_of_file(), self._secret, kept=self._kept, now=now)

    def _dressed(self, setup: Setup, tenants: Tenants) -> Setup:
        self._tell(tenants.problems)
        return replace(setup, config=with_tenants(self._config_of_file(), tenants.usable), tenants=tenants)

    def _config_of_file(self) -> Config:
        assert self._config is not None, "take() comes first"
        return self._config

    def _tell(self, problems: dict[str, str]) -> None:
        for name, why in problems.items():
            if self._told.get(name) != why:
                log.error("tenant %r of the store is not served here: %s", name, why)
        self._told = problems
