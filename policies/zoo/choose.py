"""From numbers per arm to a distribution, deterministically: the cheapest, the one of highest utility, ties split."""

import math
from collections.abc import Sequence

import numpy as np

from policies.policy import ArmFacts
from policies.predictions import Predictions, Reals
from policies.tradeoff import TradeOff, utility


def certain(n_arms: int, action: int) -> Reals:
    """Probability 1 on one arm, shape (n_arms,)."""
    dist = np.zeros(n_arms)
    dist[action] = 1.0
    return dist


def cheapest(arms: Sequence[ArmFacts], usd: Reals, among: Sequence[int] | None = None) -> int:
    """Index of the arm of least expected cost; an unknown price counts as the dearest, equal ones go by name."""
    pessimistic = np.where(np.isnan(usd), np.inf, usd)
    indices = range(len(arms)) if among is None else among
    return min(indices, key=lambda index: (pessimistic[index], arms[index].name))


def most_useful(predictions: Predictions, trade_off: TradeOff) -> Reals:
    """Probability shared by the arms of highest utility, shape (n_arms,).

    Arms expected to cost more than ``max_usd`` are passed over unless all do. An unknown cost counts as that of the
    dearest known arm, so that a missing price never makes an arm attractive; unknown times likewise.
    """
    values = utility(predictions, trade_off)
    highest = values.max()
    if trade_off.max_usd < math.inf or math.isnan(highest):  # a cap, or something unknown: look at each arm
        values = careful_utility(predictions, trade_off)
        highest = values.max()
    best = values == highest
    dist: Reals = best / np.count_nonzero(best)
    return dist


def careful_utility(predictions: Predictions, trade_off: TradeOff) -> Reals:
    """Utility of each arm as ``most_useful`` compares them, shape (n_arms,): −∞ for one above ``max_usd``."""
    usd, seconds = pessimistic(predictions.usd), pessimistic(predictions.seconds)
    values = utility(Predictions(predictions.quality, predictions.quality_sd, usd, seconds), trade_off)
    affordable = usd <= trade_off.max_usd
    return np.where(affordable, values, -np.inf) if affordable.any() else values


def is_most_useful(predictions: Predictions, trade_off: TradeOff, *, action: int) -> bool:
    """Whether no other arm has a higher utility than ``action``; False where a number of either is unknown."""
    values = careful_utility(predictions, trade_off)
    return bool(values[action] >= values.max())


def pessimistic(values: Reals) -> Reals:
    """USD or seconds with what is unknown as large as the largest known, or 0 where all are unknown."""
    unknown = np.isnan(values)
    if not unknown.any():
        return values
    return np.where(unknown, 0.0 if unknown.all() else np.nanmax(values), values)
