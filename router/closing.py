"""Closing a request: one outcome row, settled before the last byte leaves, counted once."""

import asyncio
import contextlib
import logging
from time import perf_counter

from router.exchange import Exchange
from router.gateway import Gateway
from router.sessions import Standing
from router.store.base import End, Store, StoreUnavailable

log = logging.getLogger(__name__)


async def settle(
    gateway: Gateway, exchange: Exchange, *, status: str, http_status: int, error: str | None = None
) -> bool:
    """Write the outcome; the first call of an exchange counts, later ones change nothing.

    Returns:
        False if neither the store nor the local spool took the row, or the request had been closed as lost, this
        process having been taken for dead: the client must not be told that all went well.
    """
    if exchange.settled:
        return True
    end = exchange.end(status=status, http_status=http_status, error=error)
    exchange.settled = True
    started, written = perf_counter(), False
    try:
        written = await record(gateway.store, end)
    finally:
        gateway.metrics.store_settle.observe(perf_counter() - started)
        gateway.metrics.ended(exchange, status if written or status != "ok" else "error")
        gateway.pacing.ended(exchange)
    if written and status == "ok":
        standing = Standing(exchange.served.name, exchange.decision_id, exchange.chat.turn)
        gateway.sessions.remember(
            exchange.caller, standing, session=exchange.ask.session, tool_calls=exchange.tool_calls
        )
    return written


async def record(store: Store, end: End) -> bool:
    """Settle, whatever comes between; False where neither store nor spool took it, or it had been closed as lost."""
    try:
        written = await store.settle(end)
    except asyncio.CancelledError:
        # The client left or we shut down just now. Settling again is safe: the store takes the first row of a request.
        with contextlib.suppress(StoreUnavailable):
            await store.settle(end)
        raise
    except StoreUnavailable:
        log.error("outcome of request %s was recorded neither in the store nor in the spool", end.request_id)
        return False
    if not written:
        log.error("request %s was closed as lost while it was answered; its answer is withheld", end.request_id)
    return written
