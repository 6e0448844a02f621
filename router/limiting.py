"""Opening a request inside its tenant's limits: what it takes of them, and what a refusal means to the client."""

import asyncio

from router.closing import settle
from router.errors import ApiError, RateLimited
from router.exchange import Exchange
from router.gateway import Gateway
from router.http.rate_headers import rate_headers
from router.reserving import reserve
from router.ruling import rule_among
from router.shares import full_in
from router.store.limits import SLOTS, LimitRefused, ShareRefused

CONCURRENCY_WAIT_S = 1.0


async def open_within_limits(gateway: Gateway, exchange: Exchange) -> None:
    """Open the request, with a reservation where its tenant has a budget; the arm changes where its mode has its share.

    Raises:
        RateLimited: A limit has no room, or no mode is left that has not its share.
        BudgetExceeded, StoreUnavailable: As `reserve`.
    """
    caller = exchange.caller
    try:
        while True:
            try:
                await _open(gateway, exchange)
            except ShareRefused as refused:
                gateway.shares.heard(caller.organisation, refused.allowances)
                _redraw(gateway, exchange, refused)
            else:
                gateway.shares.heard(caller.organisation, exchange.allowances)
                return
    except LimitRefused as refused:
        gateway.metrics.limit_refused(caller.tenant, refused.kind)
        raise limited(refused) from None
    except asyncio.CancelledError:
        # The call may have gone through: what nobody asked an upstream for must not stay open.
        await settle(gateway, exchange, status="cancelled", http_status=499)
        raise


async def _open(gateway: Gateway, exchange: Exchange) -> None:
    if exchange.caller.windows:
        await reserve(gateway, exchange)
    else:
        exchange.allowances = await gateway.store.begin(exchange.start())


def _redraw(gateway: Gateway, exchange: Exchange, refused: ShareRefused) -> None:
    """Choose among the modes that have not their share. A named arm has no others."""
    ruling, full = exchange.ruling, full_in(refused.allowances)
    kept = [arm for arm in ruling.able if arm.mode not in full]
    if ruling.kind == "forced" or not kept:
        gateway.metrics.limit_refused(exchange.caller.tenant, "share")
        raise _share_full(refused, full[exchange.served.mode])
    gateway.metrics.limit_refused(exchange.caller.tenant, "share_redrawn")
    removed = ruling.removed | {arm.name: full[arm.mode] for arm in ruling.able if arm.mode in full}
    exchange.redraw(rule_among(exchange.ask, exchange.sight, kept, removed=removed, rng=gateway.rng))


def limited(refused: LimitRefused) -> ApiError:
    """What the client is told, with the headers of all its limits."""
    limit, wait_s = refused.limit, CONCURRENCY_WAIT_S
    if refused.kind == "concurrency":
        message = f"{limit.owner} has {limit.concurrency} requests open, its limit; try again when one has ended"
    else:
        assert refused.wait_ms is not None
        most, wait_s = getattr(limit, refused.kind), refused.wait_ms / 1000
        about = "ask for less (max_tokens), or " if refused.kind == "tokens" else ""
        message = f"{limit.owner} has used its {most} {refused.kind} per minute; {about}try again in {wait_s:g} s"
    error = RateLimited(message, retry_after_s=wait_s)
    error.headers = rate_headers(refused.allowances)
    return error


def _share_full(refused: ShareRefused, why: str) -> ApiError:
    wait_s = refused.limit.share_window_s / SLOTS
    error = RateLimited(
        f"{why}, and no other mode may answer this one; ask for another mode, or wait until others were asked",
        code="mode_share_exceeded",
        retry_after_s=wait_s,
    )
    # The official clients repeat every 429 twice, and a share opens slowly.
    error.headers = [*rate_headers(refused.allowances), (b"x-should-retry", b"false")]
    return error
