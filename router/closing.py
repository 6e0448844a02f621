"""Closing a request: one outcome row, settled before the last byte leaves, counted once."""

import logging
from time import perf_counter

from router.exchange import Exchange
from router.gateway import Gateway
from router.sessions import Standing
from router.store.base import StoreUnavailable

log = logging.getLogger(__name__)


async def settle(
    gateway: Gateway, exchange: Exchange, *, status: str, http_status: int, error: str | None = None
) -> bool:
    """Write the outcome; the first call of an exchange counts, later ones change nothing.

    Returns:
        False if neither the store nor the local spool took the row; the client must not be told that all went well.
    """
    if exchange.settled:
        return True
    exchange.settled = True
    started = perf_counter()
    try:
        await gateway.store.settle(exchange.end(status=status, http_status=http_status, error=error))
    except StoreUnavailable:
        log.error("outcome of request %s was recorded neither in the store nor in the spool", exchange.request_id)
        return False
    finally:
        gateway.metrics.store_settle.observe(perf_counter() - started)
        gateway.metrics.ended(exchange, status)
    if status == "ok":
        standing = Standing(exchange.served.name, exchange.decision_id, exchange.chat.turn)
        gateway.sessions.remember(
            exchange.caller, standing, session=exchange.ask.session, tool_calls=exchange.tool_calls
        )
    return True
