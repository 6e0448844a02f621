"""What one request would have cost on the tenant's reference arm: two guesses, for people and graphs, never a bill.

`gearshift savings` estimates the same of a whole log, with intervals and without guessing.
"""

from collections.abc import Iterator
from math import isfinite
from typing import TYPE_CHECKING

from policies.policy import ArmFacts
from policies.prices import NANO, cost_nano_usd

if TYPE_CHECKING:
    from router.exchange import Exchange

TOKENS, PREDICTION = "tokens", "prediction"


def same_tokens_usd(exchange: "Exchange") -> float | None:
    """The tokens of this answer at the reference arm's price: wrong by as much as that arm says more or less.

    None where the tenant names no reference arm, or it has no price.
    """
    reference = _reference(exchange)
    if reference is None or reference.price is None:
        return None
    return cost_nano_usd(exchange.usage, reference.price) / NANO


def predicted_usd(exchange: "Exchange") -> float | None:
    """What the decision's row predicts of the reference arm, other tokens included; None where it predicts nothing."""
    reference, decision = _reference(exchange), exchange.ruling.decision
    if reference is None or exchange.ruling.kind != "drawn":
        return None
    for arm, usd in zip(decision.arms, decision.scores.predictions.usd.tolist(), strict=True):
        if arm.name == reference.name and isfinite(usd):
            return float(usd)
    return None


def baselines(exchange: "Exchange") -> Iterator[tuple[str, float]]:
    """Each guess there is of an answered request, by its name."""
    if exchange.usage_source == "none":
        return
    for name, usd in ((TOKENS, same_tokens_usd(exchange)), (PREDICTION, predicted_usd(exchange))):
        if usd is not None:
            yield name, usd


def _reference(exchange: "Exchange") -> ArmFacts | None:
    return exchange.setup.arms.get(exchange.caller.config.reference or "")
