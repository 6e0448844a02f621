"""Which arms are kin: modes of one model and efforts of one mode lend each other strength through a shared prior."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from policies.arms import EFFORTS, Arm

Reals = NDArray[np.float64]

MODEL_SD, MODE_SD, EFFORT_SD = 1.0, 0.5, 0.25  # of abilities, in logits: kin differ less than strangers
STRENGTH_SD = 3.0  # times the above for the general strength: a mean must hardly be shrunk


@dataclass(frozen=True, slots=True)
class Kinship:
    """Arms as sums of effects: θ = ``members`` @ effects, each effect drawn around 0.

    Attributes:
        members: 1 where an effect is part of an arm, shape (m, g).
        sd: Prior standard deviation of each effect, shape (g,).
        ordered: Pairs of arms (lower, higher): the same model and mode at two efforts, one next to the other.
    """

    members: Reals
    sd: Reals
    ordered: tuple[tuple[int, int], ...]


def kinship(arms: Sequence[Arm]) -> Kinship:
    """An effect of each model, of each mode where a model has several, and of each arm where a mode has several."""
    models = list(dict.fromkeys(arm.model for arm in arms))
    modes = list(dict.fromkeys((arm.model, arm.mode) for arm in arms))
    columns = [(np.array([arm.model == model for arm in arms]), MODEL_SD) for model in models]
    for model, mode in modes:
        if sum(other == model for other, _ in modes) > 1:
            columns.append((np.array([(arm.model, arm.mode) == (model, mode) for arm in arms]), MODE_SD))
    for index, arm in enumerate(arms):
        if sum((other.model, other.mode) == (arm.model, arm.mode) for other in arms) > 1:
            columns.append((np.arange(len(arms)) == index, EFFORT_SD))
    return Kinship(
        members=np.stack([member.astype(np.float64) for member, _ in columns], axis=1),
        sd=np.array([sd for _, sd in columns]),
        ordered=_ordered(arms),
    )


def strangers(n_arms: int) -> Kinship:
    """Every arm by itself."""
    return Kinship(np.eye(n_arms), np.full(n_arms, MODEL_SD), ())


def effort_rank(effort: str) -> float | None:
    """Larger for more effort, comparable within one model: a place among the named ones, or tokens of a budget."""
    if effort.isdecimal():
        return float(effort)
    return float(EFFORTS.index(effort)) if effort in EFFORTS else None


def _ordered(arms: Sequence[Arm]) -> tuple[tuple[int, int], ...]:
    families: dict[tuple[object, ...], list[tuple[float, int]]] = {}
    for index, arm in enumerate(arms):
        rank = effort_rank(arm.effort)
        if rank is not None:
            key = (arm.model, arm.mode, arm.options, arm.effort.isdecimal())
            families.setdefault(key, []).append((rank, index))
    pairs = []
    for family in families.values():
        family.sort()
        pairs += [(low, high) for (_, low), (_, high) in pairwise(family)]
    return tuple(pairs)
