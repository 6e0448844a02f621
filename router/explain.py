"""What the router would do with a request, and why: the answer of `/v1/decide` and of `gearshift explain`."""

import math
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np
import orjson

from policies.encoders.load import load_encoder
from policies.tradeoff import utility
from router.ask import Ask, Headers, understand
from router.config.load import config_hash
from router.config.schema import Config
from router.encoding import EmbeddingService
from router.errors import NotFound
from router.gateway import Gateway
from router.http.parse import ChatRequest, parse_decide
from router.metrics import Metrics
from router.perceive import Sight, perceive
from router.ruling import Ruling, rule
from router.sessions import Sessions
from router.tenants import Caller, caller_of
from router.upstreams.openai import OpenAIUpstream, open_session
from router.wiring import make_setup

Z80 = 1.2816  # two-sided 80 % normal interval


async def explained(gateway: Gateway, chat: ChatRequest, caller: Caller, headers: Headers) -> dict[str, Any]:
    """Decide without calling an upstream and without logging: nothing here can be evaluated or billed.

    Raises:
        ApiError: As the request itself would.
    """
    started = perf_counter()
    pace = gateway.pacing.multiplier(caller, gateway.rng)
    ask = await understand(
        gateway.setup, chat, caller, headers, sessions=gateway.sessions, secret=gateway.secret, multiplier=pace
    )
    sight = await perceive(ask, encoder=gateway.encoder, metrics=gateway.metrics)
    ruling = rule(ask, sight, rng=gateway.rng, full_modes=gateway.shares.full(caller))
    return explanation(ask, sight, ruling) | {"elapsed_ms": round((perf_counter() - started) * 1e3, 3)}


def explanation(ask: Ask, sight: Sight, ruling: Ruling) -> dict[str, Any]:
    """The decision in words and numbers; quality intervals are 80 %."""
    decision, trade_off = ruling.decision, ask.trade_off
    predictions = decision.scores.predictions
    utilities = utility(predictions, trade_off)
    margin = Z80 * predictions.quality_sd
    low, high = np.maximum(predictions.quality - margin, 0.0), np.minimum(predictions.quality + margin, 1.0)
    arms = [
        {
            "arm": arm.name,
            "quality": _number(predictions.quality[i]),
            "quality_low": _number(low[i]),
            "quality_high": _number(high[i]),
            "usd": _number(predictions.usd[i]),
            "seconds": _number(predictions.seconds[i]),
            "utility": _number(utilities[i]),
            "propensity": float(decision.propensities[i]),
        }
        for i, arm in enumerate(decision.arms)
    ]
    return {
        "decision_id": None,
        "kind": ruling.kind,
        "arm": decision.arm.name,
        "mode": decision.arm.mode,
        "policy": ask.setup.policy_label,
        "encoder_id": ask.setup.encoder_id,
        "far": predictions.far,
        "late": ruling.kind == "late",
        "reason": decision.scores.reason,
        "trade_off": {
            "quality_per_usd": trade_off.quality_per_usd,
            "quality_per_s": trade_off.quality_per_s,
            "quality_floor": trade_off.quality_floor,
            "max_usd": _number(trade_off.max_usd),
            "max_s": _number(trade_off.max_s),
        },
        "pace": ask.multiplier,
        "explore": ask.explore,
        "prompt_tokens": sight.context.prompt_tokens,
        "turn": sight.context.turn,
        "arms": arms,
        "removed": ruling.removed,
    }


def _number(value: float) -> float | None:
    """A finite number or null: NaN means that nothing is known."""
    number = float(value)
    return number if math.isfinite(number) else None


class _NoStore:
    """For explaining without a gateway: no conversation is known."""

    async def session(self, organisation: str, session: str) -> bytes | None:
        return None

    async def tool_call_owner(self, organisation: str, tool_call_ids: Sequence[str]) -> bytes | None:
        return None


async def explain_offline(config: Config, body: Mapping[str, Any], *, tenant: str | None = None) -> dict[str, Any]:
    """`explained` without a gateway: encoder and policy are loaded here, and no endpoint is called.

    Args:
        config: A validated configuration.
        body: A chat request.
        tenant: Who asks; the first tenant if None.

    Raises:
        ApiError: As the request itself would; NotFound: no such tenant.
        EncoderError, PolicyError: Encoder or policy cannot be loaded.
    """
    name = tenant if tenant is not None else next(iter(config.tenants))
    if name not in config.tenants:
        raise NotFound(f"no tenant is called {name!r}; configured: {', '.join(config.tenants)}", param="tenant")
    raw = orjson.dumps(body)
    encoder = load_encoder(config.encoder.name, source=config.encoder.source)
    service = EmbeddingService(encoder)
    started = perf_counter()
    async with open_session() as session:
        setup = make_setup(
            config,
            config_hash=config_hash(config),
            encoder=encoder,
            session=session,
            secret=b"explain",
            local=OpenAIUpstream,
        )
        try:
            caller = caller_of(config, name, config.tenants[name], key_id="")
            chat = parse_decide(raw, config.server.limits)
            ask = await understand(setup, chat, caller, {}, sessions=Sessions(_NoStore()), secret=b"explain")
            # Nobody waits here for a deadline: the embedding is made however long it takes.
            sight = await perceive(ask, encoder=service, metrics=Metrics(), late_s=60.0)
            ruling = rule(ask, sight, rng=np.random.default_rng())
        finally:
            service.close()
            await setup.deployments.aclose()
    return explanation(ask, sight, ruling) | {"elapsed_ms": round((perf_counter() - started) * 1e3, 3)}
