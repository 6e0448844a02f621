"""What the router would do with a request, and why: the answer of `/v1/decide` and of `gearshift explain`."""

import math
from time import perf_counter
from typing import Any

from policies.tradeoff import utility
from router.ask import Ask, Headers, understand
from router.gateway import Gateway
from router.http.parse import ChatRequest
from router.perceive import Sight, perceive
from router.ruling import Ruling, rule
from router.tenants import Caller

Z80 = 1.2816  # two-sided 80 % normal interval


async def explained(gateway: Gateway, chat: ChatRequest, caller: Caller, headers: Headers) -> dict[str, Any]:
    """Decide without calling an upstream and without logging: nothing here can be evaluated or billed.

    Raises:
        ApiError: As the request itself would.
    """
    started = perf_counter()
    ask = await understand(gateway.setup, chat, caller, headers, sessions=gateway.sessions, secret=gateway.secret)
    sight = await perceive(ask, encoder=gateway.encoder, metrics=gateway.metrics)
    ruling = rule(ask, sight, rng=gateway.rng)
    return explanation(ask, sight, ruling) | {"elapsed_ms": round((perf_counter() - started) * 1e3, 3)}


def explanation(ask: Ask, sight: Sight, ruling: Ruling) -> dict[str, Any]:
    """The decision in words and numbers; quality intervals are 80 %."""
    decision, trade_off = ruling.decision, ask.trade_off
    predictions = decision.scores.predictions
    utilities = utility(predictions, trade_off)
    arms = [
        {
            "arm": arm.name,
            "quality": _number(predictions.quality[i]),
            "quality_low": _number(max(0.0, predictions.quality[i] - Z80 * predictions.quality_sd[i])),
            "quality_high": _number(min(1.0, predictions.quality[i] + Z80 * predictions.quality_sd[i])),
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
        },
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
