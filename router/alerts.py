"""Soft alerts: a POST to a webhook when a budget reaches a level, once for each window however many gateways look.

Whoever looks first takes a lease in the store, delivers, and only then writes down that it was told; a worker that dies
on the way leaves a lease that runs out, and another delivers. So a hook may hear twice, with the same `id`, and never
misses one while the window lasts and any gateway runs. No request waits for it.
"""

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import aiohttp
import orjson

from policies.prices import NANO
from router.config.schema import AlertsConfig
from router.store.balances import AT_ONCE, Balance, Owned, kept_s, notes_key
from router.store.base import StoreUnavailable

if TYPE_CHECKING:
    from router.store.valkey import ValkeyStore

log = logging.getLogger(__name__)
PAUSES_S = (1.0, 4.0, 10.0)  # between attempts; all of them end before the lease does
TIMEOUT_S = 8.0
LEASE_S = 60
_FULL = 99  # percent; what is left of a budget then rarely fits a request, so 100 would seldom be reached


class Alerts:
    """One worker's part in telling of budgets.

    Args:
        session: That of the upstreams.
        pauses_s: Between attempts to deliver.
    """

    def __init__(self, session: aiohttp.ClientSession, *, pauses_s: Sequence[float] = PAUSES_S) -> None:
        self._session, self._pauses_s = session, pauses_s
        self._told: dict[Owned, tuple[str, set[int]]] = {}  # levels that were told, of the window of this label
        self._under_way: dict[str, asyncio.Task[None]] = {}

    async def look(
        self, store: "ValkeyStore", config: AlertsConfig, owned: Sequence[Owned], standing: Sequence[Balance]
    ) -> None:
        """Begin to tell of every level that a window has reached and nobody told of. Raises StoreUnavailable."""
        if config.webhook is None:
            return
        for number, (key, balance) in enumerate(zip(owned, standing, strict=True)):
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
            label, told = self._told.get(key, ("", set()))
            if label != balance.label:
                _, told = self._told[key] = balance.label, set()
            for level in config.levels:
                if level not in told and reached(balance, level):
                    await self._claim(store, config.webhook, key[0], balance, level=level, told=told)

    async def wait(self) -> None:
        """Until what is under way is told or given up."""
        await asyncio.gather(*self._under_way.values())

    async def aclose(self) -> None:
        """Stop telling; what was not delivered another worker delivers when the lease has run out."""
        for task in self._under_way.values():
            task.cancel()
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)

    async def _claim(
        self, store: "ValkeyStore", webhook: str, organisation: str, balance: Balance, *, level: int, told: set[int]
    ) -> None:
        key, field = notes_key(organisation, balance.window, balance.at), f"alert:{level}:{balance.window.limit}"
        lease = f"{key}:{field}"
        if lease in self._under_way:
            return
        (done,) = await store.fields(key, field)
        if done is not None:
            told.add(level)
        elif await store.ask("SET", lease, 1, "NX", "EX", LEASE_S) is not None:
            text = orjson.dumps(message(organisation, balance, level))
            delivery = self._deliver(
                store, webhook, text, key=key, field=field, kept_s=kept_s(balance.window, balance.at)
            )
            task = self._under_way[lease] = asyncio.create_task(delivery, name="budget-alert")
            task.add_done_callback(lambda _: self._under_way.pop(lease, None))

    async def _deliver(
        self, store: "ValkeyStore", webhook: str, text: bytes, *, key: str, field: str, kept_s: int
    ) -> None:
        for pause_s in (*self._pauses_s, None):
            problem = await self._post(webhook, text)
            if problem is None:
                try:
                    await store.ask("HSET", key, field, 1)
                    await store.ask("EXPIRE", key, kept_s)
                except StoreUnavailable:
                    log.warning("a budget alert was delivered, but not written down; it may be told again")
                return
            if pause_s is not None:
                await asyncio.sleep(pause_s)
        # The URL is often a secret, and an exception's text may hold it.
        log.warning("alerts.webhook did not take a budget alert: %s; it is tried again in a minute", problem)

    async def _post(self, webhook: str, text: bytes) -> str | None:
        """What went wrong, or None."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        headers = {"content-type": "application/json"}
        try:
            async with self._session.post(
                webhook, data=text, headers=headers, timeout=timeout, allow_redirects=False
            ) as answer:
                return None if answer.status < 300 else f"status {answer.status}"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return type(error).__name__


def reached(balance: Balance, level: int) -> bool:
    """Whether so many percent of the limit are spent; 100 counts as reached from 99 on."""
    return balance.spent * 100 >= min(level, _FULL) * balance.window.limit


def message(organisation: str, balance: Balance, level: int) -> dict[str, object]:
    """What the hook is told; the same `id` for the same level and limit of a window, whoever tells."""
    window = balance.window
    return {
        "type": "budget_alert",
        "id": f"{organisation}/{window.account}/{window.per}/{balance.label}/{level}/{window.limit}",
        "organisation": organisation,
        "owner": window.owner,
        "per": window.per,
        "window": balance.label,
        "level_percent": level,
        "spent_usd": balance.spent / NANO,
        "limit_usd": window.limit / NANO,
        "at": datetime.fromtimestamp(balance.at, UTC).isoformat(timespec="seconds"),
        "ends_at": datetime.fromtimestamp(balance.ends_at, UTC).isoformat(timespec="seconds"),
    }
