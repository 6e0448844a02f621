"""The only place that draws: mixes the exploration floor in, draws, and keeps every propensity."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from policies.context import Context
from policies.policy import ArmFacts, Policy, Scores
from policies.predictions import Reals
from policies.tradeoff import TradeOff


@dataclass(frozen=True, slots=True)
class Decision:
    """One draw, with all eligible arms and all their probabilities.

    Attributes:
        action: Index of the drawn arm in ``arms``.
        propensities: Probability of each eligible arm after the exploration floor, shape (n_arms,), sums to 1.
    """

    arms: tuple[ArmFacts, ...]
    action: int
    propensities: Reals
    scores: Scores

    @property
    def arm(self) -> ArmFacts:
        return self.arms[self.action]

    @property
    def propensity(self) -> float:
        return float(self.propensities[self.action])


def explored(dist: Reals, explore: float) -> Reals:
    """Mix the floor in: every arm keeps p ≥ explore / n.

    Raises:
        ValueError: ``dist`` is no distribution or ``explore`` is outside [0, 1].
    """
    total = float(dist.sum())
    if not (dist.size and np.isfinite(total) and total > 0 and float(dist.min()) >= 0):
        raise ValueError("a policy must return a finite, non-negative, non-zero probability for the eligible arms")
    if not 0.0 <= explore <= 1.0:
        raise ValueError(f"explore must lie in [0, 1], got {explore:g}")
    mixed: Reals = dist * ((1.0 - explore) / total) + explore / dist.size
    return mixed


def explored_many(dists: Reals, explore: float) -> Reals:
    """``explored`` of every row of ``dists`` (n, n_arms).

    Raises:
        ValueError: A row is no distribution or ``explore`` is outside [0, 1].
    """
    total = dists.sum(axis=1, keepdims=True)
    if not (np.isfinite(total).all() and (total > 0).all() and (dists >= 0).all() and 0.0 <= explore <= 1.0):
        for each in dists:
            explored(each, explore)  # says what is wrong
    mixed: Reals = dists * ((1.0 - explore) / total) + explore / dists.shape[1]
    return mixed


def decide(
    policy: Policy,
    context: Context,
    arms: Sequence[ArmFacts],
    *,
    trade_off: TradeOff,
    rng: np.random.Generator,
    explore: float = 0.0,
) -> Decision:
    """Draw one arm from the policy's distribution over the eligible arms.

    Raises:
        ValueError: No arm is eligible, or the policy returned something that is no distribution.
    """
    if not arms:
        raise ValueError("decide needs at least one eligible arm")
    scores = policy.score(context, arms, trade_off)
    if scores.dist.shape != (len(arms),):
        raise ValueError(f"policy {policy.name!r} returned shape {scores.dist.shape} for {len(arms)} arms")
    propensities = explored(scores.dist, explore)
    edges = propensities.cumsum()
    # Scaled by the last edge: a sum of rounded terms may end beside 1, and an arm of probability 0 must never be drawn.
    action = int(edges.searchsorted(rng.random() * edges[-1], side="right"))
    return Decision(arms=tuple(arms), action=action, propensities=propensities, scores=scores)
