"""Budgets as a worker watches them between requests: the series, the paces, and who is to be told."""

import asyncio

from router.alerts import Alerts
from router.gateway import Gateway
from router.http.boundary import log_place
from router.store.balances import AT_ONCE, balances
from router.store.base import StoreUnavailable
from router.store.valkey import ValkeyStore

EVERY_S = 2.0


async def watch(gateway: Gateway, store: ValkeyStore, alerts: Alerts, *, every_s: float = EVERY_S) -> None:
    """Look again every `every_s` seconds, for good. What fails here must end neither this nor a serving process."""
    while True:
        try:
            await look(gateway, store, alerts)
        except StoreUnavailable:
            pass  # series and paces stay as they were
        except Exception as error:  # a task that ends is missed by nobody; only the stack is logged
            log_place(error)
        await asyncio.sleep(every_s)


async def look(gateway: Gateway, store: ValkeyStore, alerts: Alerts) -> None:
    """Read every window once and tell whoever lives by it. Raises StoreUnavailable: all stays as it was."""
    config = gateway.setup.config
    owned = gateway.pacing.budgets(config)
    windows = [window for _, window in owned]
    gateway.metrics.keep_budgets(windows, paced=[window for window in windows if window.paced])
    if not owned:
        return
    standing = await balances(store, owned)
    for number, balance in enumerate(standing):
        gateway.metrics.balanced(balance)
        if number % AT_ONCE == 0:
            await asyncio.sleep(0)
    paces = await gateway.pacing.look(store, owned, standing, config=config)
    for (_, window), multiplier in paces.items():
        gateway.metrics.paced(window, multiplier)
    await alerts.look(store, config.alerts, owned, standing)
