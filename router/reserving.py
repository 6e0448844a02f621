"""Reserving a request's money as it opens: refused arms are drawn again, and a spent budget ends as its tenant says."""

import asyncio
from collections.abc import Sequence

from policies.policy import ArmFacts
from policies.prices import NANO
from router.bound import bound_nano_usd, may_overdraw_locally
from router.closing import settle
from router.errors import BudgetExceeded
from router.exchange import Exchange
from router.gateway import Gateway
from router.ruling import Ruling, certain, rule_among
from router.store.ledger import BudgetRefused, Hold, Refusal


async def reserve(gateway: Gateway, exchange: Exchange) -> None:
    """Open the request with a reservation for its arm; the arm changes where its bound does not fit.

    Raises:
        BudgetExceeded: No arm that may answer fits.
        StoreUnavailable: The store is down or full.
    """
    eligible = exchange.ruling.able
    soft = False
    while True:
        bound = _bound(exchange, exchange.served)
        exchange.hold = Hold(bound, exchange.caller.windows, soft=soft)
        try:
            exchange.allowances = await gateway.store.begin(exchange.start())
        except BudgetRefused as refused:
            ruling = _among_fitting(gateway, exchange, refused)
            outcome = "redrawn"
            if ruling is None:
                # Past its own windows a tenant may go once; what refuses then is its organisation's.
                ruling = None if soft else _when_spent(exchange, gateway, eligible)
                outcome, soft = "overdrawn", True
            if ruling is None:
                gateway.metrics.budget_refused(exchange.caller.tenant, "rejected")
                raise exceeded(refused, min(_bound(exchange, arm) for arm in eligible)) from None
            gateway.metrics.budget_refused(exchange.caller.tenant, outcome)
            exchange.redraw(ruling)
        except asyncio.CancelledError:
            # The call may have gone through: nothing was asked of an upstream, so nothing may stay reserved.
            await settle(gateway, exchange, status="cancelled", http_status=499)
            raise
        else:
            return


def _bound(exchange: Exchange, facts: ArmFacts) -> int:
    return bound_nano_usd(exchange.ask, facts, prompt_tokens=exchange.sight.context.prompt_tokens)


def _among_fitting(gateway: Gateway, exchange: Exchange, refused: BudgetRefused) -> Ruling | None:
    """A new choice among the arms whose bound fits what is left; None without any. A named arm has no others."""
    ruling, left = exchange.ruling, max(refused.left, 0)
    if ruling.kind == "forced":
        return None
    bounds = {arm.name: _bound(exchange, arm) for arm in ruling.able}
    fitting = [arm for arm in ruling.able if bounds[arm.name] <= left]  # never the refused arm: its bound is above
    if not fitting:
        return None
    kept = {arm.name for arm in fitting}
    removed = ruling.removed | {
        name: f"could cost {bound / NANO:.6f} USD, and the budget has {left / NANO:.6f} left"
        for name, bound in bounds.items()
        if name not in kept
    }
    return rule_among(exchange.ask, exchange.sight, fitting, removed=removed, rng=gateway.rng)


def _when_spent(exchange: Exchange, gateway: Gateway, eligible: Sequence[ArmFacts]) -> Ruling | None:
    """What the tenant wants where no arm fits: a choice that may overdraw its windows, or None."""
    ask, does = exchange.ask, exchange.caller.config.when_spent
    if exchange.ruling.kind == "forced" or does == "reject":
        return None
    if does == "local":
        arms = [arm for arm in eligible if may_overdraw_locally(ask, arm)]
    else:
        arms = [min(eligible, key=lambda arm: _bound(exchange, arm))]
    if not arms:
        return None
    kept, why = {arm.name for arm in arms}, f"the budget is spent, and when_spent is {does}"
    removed = {name: reason for name, reason in exchange.ruling.removed.items() if name not in kept}
    removed |= {arm.name: why for arm in eligible if arm.name not in kept}
    if len(arms) == 1:
        return Ruling("single", certain(arms, 0, why), removed, arms)
    return rule_among(ask, exchange.sight, arms, removed=removed, rng=gateway.rng)


def exceeded(refused: BudgetRefused, least: int) -> BudgetExceeded:
    """Names the window that opens last of those that even the least bound does not fit."""
    closed = [each for each in refused.refusals if each.left < least] or list(refused.refusals)
    last = max(closed, key=lambda each: each.ends_in_s)
    error = BudgetExceeded(_told(last, least), retry_after_s=last.ends_in_s)
    # The official clients repeat every 429 twice; a window that is spent stays spent.
    error.headers.append((b"x-should-retry", b"false"))
    return error


def _told(refusal: Refusal, least: int) -> str:
    window = refusal.window
    amounts = (window.limit, abs(refusal.left), least)
    limit, left, need = (f"{nano / NANO:.9f}".rstrip("0").rstrip(".") for nano in amounts)
    standing = f"has {left} USD left" if refusal.left >= 0 else f"is overdrawn by {left} USD"
    state = f"the budget of {window.owner}, {limit} USD per {window.per}, {standing}"
    need_text = f"and this request could cost {need}"
    if least > window.limit:
        return f"{state}, {need_text}: more than a whole {window.per}'s; ask for less (max_tokens), or raise the budget"
    return f"{state}, {need_text}; wait until the {window.per} ends, ask for less (max_tokens), or raise the budget"
