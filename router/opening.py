"""Opening a request: its ids, and the one store call that must succeed before an upstream is called."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from ulid import ULID

from router.ask import Ask, Headers
from router.errors import LedgerDown, StoreDown
from router.exchange import Exchange
from router.gateway import Gateway
from router.limiting import open_within_limits
from router.perceive import Sight
from router.ruling import Ruling
from router.store.base import SliceSpent, StoreFull, StoreUnavailable

_CLIENT_ID_CHARS = 128


def open_exchange(
    ask: Ask, sight: Sight, ruling: Ruling, *, observed: dict[str, object] | None, headers: Headers, started: float
) -> Exchange:
    """Give the request its ids. A tool-result turn keeps the decision it continues."""
    ulid = str(ULID())
    kept = ask.before if ruling.kind == "sticky" else None
    client_id = headers.get(b"x-client-request-id")
    return Exchange(
        ask=ask,
        request_id=f"chatcmpl-{ulid}",
        decision_id=kept.decision_id if kept is not None else f"dec-{ulid}",
        client_request_id=client_id.decode("latin-1")[:_CLIENT_ID_CHARS] if client_id else None,
        sight=sight,
        ruling=ruling,
        observed=observed,
        started=started,
    )


async def begin(gateway: Gateway, exchange: Exchange) -> None:
    """Write lease and decision row, and reserve what the request can cost at most where its tenant has a budget.

    Raises:
        RateLimited: A limit of tenant, key or organisation has no room.
        BudgetExceeded: No arm that may answer fits the budget.
        LedgerDown: The store is down and the tenant has a budget, whatever else may be served without the store.
        StoreDown: The store is down or full and the configuration does not let requests be served without it.
    """
    started = perf_counter()
    try:
        with told_of_outages(budgeted=bool(exchange.caller.windows)):
            await open_within_limits(gateway, exchange)
    finally:
        now = perf_counter()
        gateway.metrics.store_begin.observe(now - started)
    exchange.overhead_s = now - exchange.started
    gateway.metrics.decided(exchange)
    gateway.pacing.decided(exchange)


@contextmanager
def told_of_outages(*, budgeted: bool) -> Iterator[None]:
    """What the client is told where the store did not take a request.

    Raises:
        LedgerDown, StoreDown: In place of StoreUnavailable and StoreFull.
    """
    try:
        yield
    except StoreFull as full:
        raise StoreDown(f"the log is full: {full}", code="log_full", retry_after_s=5) from full
    except StoreUnavailable as down:
        if isinstance(down, SliceSpent):
            raise LedgerDown(
                "the store is down, and too little is left of what the tenant's budget set aside for that (outage_usd) "
                "to pay for this request; ask for less (max_tokens), or try again",
                retry_after_s=1,
            ) from down
        if budgeted:
            raise LedgerDown(
                "the store is down, so this request could not be paid from its tenant's budget; try again",
                retry_after_s=1,
            ) from down
        raise StoreDown(
            "the store is down, so this request could not be recorded; try again", retry_after_s=1
        ) from down
