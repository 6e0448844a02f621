"""Who can play an order, by name: the default policy, knowing every arm or meeting one, and comparison bandits."""

from dataclasses import dataclass

import numpy as np

from policies.online.settings import LearnerSettings
from policies.predictions import Reals
from policies.zoo.default import DefaultPolicy
from policies.zoo.thompson import Exploring
from training.bandits.base import Bandit
from training.bandits.linear import LinTS, LinUCB, Ucb
from training.contender import Sample
from training.simulate.adopting import AdoptingPlayer, AdoptionPlan
from training.simulate.entries import ByAnchors, ByDescriptor, Entry, NoEntry, Unmet
from training.simulate.features import FeatureMap, fit_principal, fit_whitened
from training.simulate.players import BanditPlayer, DefaultPlayer, Player
from training.simulate.stream import Stream

ADOPTING = ("default_anchors", "default_at_once", "default_stranger")
NAMES = (
    *("default", "prior", "default_thompson", *ADOPTING),
    *("linucb", "thompson", "ucb", "paretobandit", "paretobandit_warm"),
)


@dataclass(frozen=True, slots=True)
class Order:
    """One stream, with what was fitted before it.

    Attributes:
        warm: The fully labelled rows.
        unmet: The arm that joins, and the same fit without it; None where nobody plays who takes arms in.
    """

    stream: Stream
    warm: Sample
    policy: DefaultPolicy
    seed: int
    unmet: Unmet | None = None


def make_player(name: str, order: Order, plan: AdoptionPlan) -> Player:
    """The player of this name, ready for the order's stream.

    Args:
        plan: For those who take a new arm in.

    Raises:
        ValueError: The order has no new arm to take in, or too few warm rows for the anchors.
    """
    if name in ADOPTING:
        return _adopting(name, order, plan)
    if name == "prior":
        return DefaultPlayer(order.policy, order.stream, None, name=name)
    if name.startswith("default"):
        share = 1.0 if name == "default_thompson" else 0.0
        return DefaultPlayer(order.policy, order.stream, LearnerSettings(exploring=Exploring(share=share)), name=name)
    bandit, features = _bandit(name, order)
    return BanditPlayer(bandit, features(order.stream.inputs), order.stream, name=name)


def _adopting(name: str, order: Order, plan: AdoptionPlan) -> AdoptingPlayer:
    unmet = order.unmet
    if unmet is None:
        raise ValueError(f"player {name!r} takes in an arm that joins, and this order has none")
    entry: Entry = NoEntry()
    if name == "default_at_once":
        entry = ByDescriptor(unmet)
    elif name == "default_anchors":
        entry = ByAnchors(unmet, n_anchors=plan.n_anchors, usd=plan.anchors_usd, seed=order.seed)
    return AdoptingPlayer(unmet, order.stream, entry, plan, name=name)


def _bandit(name: str, order: Order) -> tuple[Bandit, FeatureMap]:
    """A comparison bandit with the features that suit it."""
    inputs, m = order.warm.inputs, order.stream.scores.shape[1]
    principal = fit_principal(inputs)
    dim = principal.directions.shape[1] + 1
    if name == "linucb":
        return LinUCB(dim, m), principal
    if name == "thompson":
        return LinTS(dim, m), principal
    if name == "ucb":
        return Ucb(m), principal
    from training.bandits.paretobandit import ParetoBandit

    whitened, is_warm = fit_whitened(inputs), name == "paretobandit_warm"
    bandit = ParetoBandit(whitened.directions.shape[1] + 1, m, seed=order.seed, warm=is_warm)
    if is_warm:
        bandit.learn_offline(_rewards(order), whitened(inputs))
    return bandit, whitened


def _rewards(order: Order) -> Reals:
    table = order.warm.table
    return np.asarray(table.scores - order.stream.quality_per_usd * table.usd)
