"""What a request asks of the router, with the tenant's rules and the conversation's past applied to it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from policies.pacing import paced
from policies.tradeoff import TradeOff
from router.eligible import Needs
from router.end_user import end_user_of
from router.errors import BadRequest
from router.http.normal_forms import grown_bytes
from router.http.parse import ChatRequest
from router.sessions import Sessions, Standing, session_key
from router.setup import Setup
from router.store.base import StoreUnavailable
from router.targets import Target, resolve
from router.tenants import Caller

Headers = Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, understood.

    Attributes:
        before: Where the conversation stands; for tool results where the answer stands that issued the calls.
        trade_off: In force for this request: the hint's, else the virtual model's, else the tenant's, with the tightest
            cap and floor of tenant, choice and request, and its λ raised by the pace.
        explore: Exploration floor in force.
        end_user: As it may be logged, None for nobody named.
        multiplier: By which the pace of the tenant's budgets raised λ; 1 where none is paced.
        grown_bytes: What a tokenizer's normalisation can add to the text; found only where something is to be reserved.
    """

    setup: Setup
    caller: Caller
    chat: ChatRequest
    target: Target
    session: str
    before: Standing | None
    trade_off: TradeOff
    explore: float
    end_user: str | None = None
    multiplier: float = 1.0
    grown_bytes: int = 0

    @property
    def continues(self) -> bool:
        """The request brings results of tool calls that one of our arms issued: it stays on that arm."""
        return self.chat.is_tool_result and self.before is not None


async def understand(
    setup: Setup,
    chat: ChatRequest,
    caller: Caller,
    headers: Headers,
    *,
    sessions: Sessions,
    secret: bytes,
    multiplier: float = 1.0,
) -> Ask:
    """Resolve model name, hints, session and trade-off.

    Args:
        multiplier: Of the λ that tenant and request come to: the pace of the tenant's budgets.

    Raises:
        NotFound: The model name means nothing here.
        BadRequest: A hint names a trade-off that is not configured.
    """
    target = resolve(chat.model, arms=setup.arms, models=setup.standing_for, trade_offs=setup.trade_offs)
    session = session_key(caller, chat, headers, secret)
    return Ask(
        setup=setup,
        caller=caller,
        chat=chat,
        target=target,
        session=session,
        before=await _before(sessions, caller, chat, headers, session=session),
        trade_off=paced(_trade_off(setup, chat, caller, target), multiplier),
        explore=min(caller.config.explore, 1.0 if chat.hints.explore is None else chat.hints.explore),
        end_user=end_user_of(caller, chat.end_user, secret),
        multiplier=multiplier,
        grown_bytes=grown_bytes(chat.all_text) if caller.windows or caller.limits else 0,
    )


async def _before(
    sessions: Sessions, caller: Caller, chat: ChatRequest, headers: Headers, *, session: str
) -> Standing | None:
    """A store that is down costs the memory here; whether to answer without it is decided when the request opens."""
    named = b"x-gearshift-session-id" in headers or bool(chat.hints.session or chat.prompt_cache_key)
    try:
        if chat.is_tool_result:
            return await sessions.issuer(caller, session, chat)
        return await sessions.standing(caller, session, chat, named=named)
    except StoreUnavailable:
        return None


def _trade_off(setup: Setup, chat: ChatRequest, caller: Caller, target: Target) -> TradeOff:
    hints = chat.hints
    name = hints.trade_off or target.trade_off or caller.config.trade_off
    if name not in setup.trade_offs:
        known = ", ".join(setup.trade_offs)
        raise BadRequest(
            f"gearshift.trade_off: expected one of {known}", param="gearshift.trade_off", code="invalid_hint"
        )
    base, own = setup.trade_offs[name], setup.trade_offs[caller.config.trade_off]
    # Another trade-off changes what quality is worth; the tenant's own caps and floor bind whatever it says.
    return replace(
        base,
        max_usd=min(base.max_usd, own.max_usd, float("inf") if hints.max_usd is None else hints.max_usd),
        max_s=min(base.max_s, own.max_s),
        quality_floor=max(base.quality_floor, own.quality_floor, hints.quality_floor or 0.0),
    )


def needs_of(ask: Ask, prompt_tokens: int) -> Needs:
    """What the request, the tenant and the virtual model demand of an arm; every one of them binds."""
    chat, hints, allowed = ask.chat, ask.chat.hints, ask.caller.allowed
    near = [*hints.regions] if hints.regions or hints.residency else None
    wanted = (
        ("tools", chat.needs_tools),
        ("schema", chat.needs_schema),
        ("images", chat.needs_images),
        ("logprobs", chat.wants_logprobs),
        ("n", chat.n > 1),
    )
    return Needs(
        capabilities=tuple(name for name, needed in wanted if needed),
        prompt_tokens=prompt_tokens,
        max_tokens=chat.max_tokens,
        n=chat.n,
        models=_intersection(allowed.models, hints.models or None),
        modes=_intersection(allowed.modes, hints.modes or None, [ask.target.mode] if ask.target.mode else None),
        regions=_intersection(allowed.regions, near),
        max_usd=ask.trade_off.max_usd,
        priced=bool(ask.caller.windows),
    )


def _intersection(*allowed: Collection[str] | None) -> tuple[str, ...] | None:
    """What all lists allow; None allows everything, and is returned if all do. Lists that do not meet allow nothing."""
    lists = [set(names) for names in allowed if names is not None]
    return tuple(set.intersection(*lists)) if lists else None
