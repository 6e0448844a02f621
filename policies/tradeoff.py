"""The cost policy as numbers: how much quality a dollar and a second are worth."""

from dataclasses import dataclass

from policies.predictions import Predictions, Reals


@dataclass(frozen=True, slots=True)
class TradeOff:
    """utility = quality − λ·USD − μ·seconds.

    Attributes:
        quality_per_usd: λ, in quality (0..1) per USD; higher is thriftier. People write 1/λ, USD per correct answer.
        quality_per_s: μ, in quality per second.
        quality_floor: Lowest allowed quality relative to the reference arm, 0..1; 0 for none.
        max_usd: Most a request may be predicted to cost; infinite for no cap.
        max_s: Latency target, most seconds an answer may be predicted to take; infinite for none. It takes arms away
            before a policy chooses, so no policy has to look at it.
    """

    quality_per_usd: float
    quality_per_s: float = 0.0
    quality_floor: float = 0.0
    max_usd: float = float("inf")
    max_s: float = float("inf")


def utility(predictions: Predictions, trade_off: TradeOff) -> Reals:
    """Utility of each arm, shape (n_arms,)."""
    price = trade_off.quality_per_usd * predictions.usd
    if trade_off.quality_per_s:  # a time that is unknown matters to nobody who pays nothing for it
        price += trade_off.quality_per_s * predictions.seconds
    value: Reals = predictions.quality - price
    return value
