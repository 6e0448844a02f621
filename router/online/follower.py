"""A worker's side: it looks now and then for what was learned, and swaps its setup; a request notices nothing."""

import asyncio
import logging
from dataclasses import replace
from time import monotonic
from typing import Protocol, cast

from policies.zoo.default import DefaultPolicy
from router.gateway import Gateway
from router.http.boundary import log_place
from router.metrics import Metrics
from router.online.snapshot import Served, StateUnreadable, read_served
from router.setup import Setup
from router.store.base import StoreUnavailable
from router.store.keys import online_keys

log = logging.getLogger(__name__)
IDLE_S = 5.0
_SERVED = ("format", "artifact", "sequence", "explore_share", "extra_usd", "barred", "offsets")
_TOLD = ("sequence", "lessons", "waiting", "read_at")


class Fields(Protocol):
    """What is asked of the store."""

    async def fields(self, key: str, *names: str) -> list[bytes | None]: ...

    async def now(self) -> float: ...


class Follower:
    """Keeps a worker's setup at the last published state of its artifact."""

    def __init__(self, store: Fields, metrics: Metrics) -> None:
        self._store, self._metrics = store, metrics
        self._artifact: DefaultPolicy | None = None  # as it was loaded; None: nothing is learned
        self._served: Served | None = None
        self._refused = 0
        self._read_at_s = monotonic()
        self.interval_s = IDLE_S

    def take(self, setup: Setup) -> Setup:
        """Follow a configuration's policy from now on; the setup with what is known of it already."""
        online = setup.config.policy.online
        self._artifact = cast(DefaultPolicy, setup.policy) if online.enabled else None
        self.interval_s = online.interval_s if online.enabled else IDLE_S
        if self._artifact is None:
            return setup
        if self._served is not None and self._served.artifact != self._artifact.version:
            self._served = None
        self._refused = 0
        return setup if self._served is None else self._dressed(setup, self._artifact, self._served)

    async def follow(self, gateway: Gateway) -> None:
        """Look again every interval, for good. What fails here must never take a serving process down."""
        while True:
            try:
                await self.look(gateway)
            except Exception as error:
                log_place(error)
            await asyncio.sleep(self.interval_s)

    async def look(self, gateway: Gateway) -> None:
        """Serve what was learned since the last look, if the store can be asked."""
        artifact = self._artifact
        if artifact is None:
            return
        key = online_keys(artifact.version).state
        try:
            sequence, *told = await self._store.fields(key, *_TOLD)
            self._show(*told, now=await self._store.now())
            known = self._refused if self._served is None else max(self._served.sequence, self._refused)
            if sequence is None or int(sequence) == known:
                return
            found = await self._store.fields(key, *_SERVED)
        except StoreUnavailable:
            self._metrics.online_lag.set(monotonic() - self._read_at_s)
            return
        if artifact is self._artifact:  # a reload came meanwhile
            self._swap(gateway, artifact, dict(zip(_SERVED, found, strict=True)))

    def _swap(self, gateway: Gateway, artifact: DefaultPolicy, found: dict[str, bytes | None]) -> None:
        raw = {name.encode(): value for name, value in found.items() if value is not None}
        try:
            served = read_served(raw, artifact=artifact.version)
            gateway.setup = self._dressed(gateway.setup, artifact, served)
        except StateUnreadable as problem:
            self._refused = int(raw.get(b"sequence", b"0"))
            log.error("%s; the policy stays as it is", problem)
            return
        self._served = served
        self._metrics.online_sequence.set(served.sequence)

    def _dressed(self, setup: Setup, artifact: DefaultPolicy, served: Served) -> Setup:
        policy = served.dressed(artifact)
        return replace(setup, policy=policy, policy_label=f"{policy.name}@{policy.version}")

    def _show(self, lessons: bytes | None, waiting: bytes | None, read_at: bytes | None, *, now: float) -> None:
        self._metrics.online_lessons.set(int(lessons or 0))
        self._metrics.online_waiting.set(int(waiting or 0))
        if read_at is not None:
            self._read_at_s = monotonic() - max(now - float(read_at), 0.0)
        self._metrics.online_lag.set(monotonic() - self._read_at_s)
