"""Budgets as a worker watches them between requests: the series, the paces, and who is to be told."""

import asyncio

from router.alerts import Alerts
from router.gateway import Gateway
from router.store.balances import AT_ONCE, balances
from router.store.valkey import ValkeyStore


async def look(gateway: Gateway, store: ValkeyStore, alerts: Alerts) -> None:
    """Read every window once and tell whoever lives by it. Raises StoreUnavailable: all stays as it was."""
    config = gateway.setup.config
    owned = gateway.pacing.budgets(config)
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
