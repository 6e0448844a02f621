"""Choosing under a promised quality floor: the very policy that was tested, or else the reference arm.

A promise is about one function of the query, so nothing that would change the choice is let in: no other arms, no other
prices, no price on time, no λ that was not tested. What cannot be kept so is answered by the reference arm.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.floors import SERVED_CONFIDENCE, Floors, same_cost
from policies.policy import ArmFacts, Scores
from policies.predictions import Predictions, Reals
from policies.tradeoff import TradeOff
from policies.zoo.choose import certain, most_useful

_MOST_SETS = 64  # sets of eligible arms remembered; a gateway sees a handful


def frugal_choice(quality: Reals, usd: Reals, *, quality_per_usd: float) -> NDArray[np.intp]:
    """Arm of highest ``quality − λ·usd`` by predictions of shape (…, m), shape (…,)."""
    return np.asarray((quality - quality_per_usd * usd).argmax(axis=-1), dtype=np.intp)


@dataclass(frozen=True, slots=True)
class Standing:
    """A set of eligible arms against those of the calibration.

    Attributes:
        arms: Kept, so that their identities stay theirs while this is remembered.
        places: Where each calibrated arm stands among ``arms``, in the calibration's order, shape (m,).
        reference: Where the reference arm stands; None: it may not answer.
        broken: Why the promise does not hold for this set; empty if it does.
    """

    arms: tuple[ArmFacts, ...]
    places: NDArray[np.intp]
    reference: int | None
    broken: str


class FloorKeeper:
    """Keeps the promises of an artifact; remembers recent sets of arms, which saves time and changes no answer."""

    def __init__(self, floors: Floors) -> None:
        self.floors, self._limits = floors, floors.limits()
        self._standings: dict[tuple[int, ...], Standing] = {}

    def score(self, predictions: Predictions, arms: Sequence[ArmFacts], trade_off: TradeOff) -> Scores:
        """One-hot on the arm that the tested policy takes, on the reference arm where nothing is promised.

        A cap in USD goes before the floor: where the arm is expected to cost more, the choice is that of no floor.
        """
        standing = self._standing(arms)
        limit = self._limits.at(trade_off.quality_floor, trade_off.quality_per_usd)
        if standing.reference is None:
            why = f"the reference arm {self.floors.reference} may not answer, so no floor is promised"
            return _unpromised(predictions, arms, TradeOff(0.0, max_usd=trade_off.max_usd), why)
        if limit.quality_per_usd is None:
            action, why = standing.reference, f"no saving is promised at a floor of {limit.floor:g}"
        elif standing.broken:
            action, why = standing.reference, standing.broken
        elif predictions.far:
            action, why = standing.reference, "the query is unlike the training queries"
        else:
            places = standing.places
            quality, usd = predictions.quality[places], predictions.usd[places]
            chosen = frugal_choice(quality, usd, quality_per_usd=limit.quality_per_usd)
            action, why = int(places[chosen]), ""
        if predictions.usd[action] > trade_off.max_usd:
            return _unpromised(predictions, arms, trade_off, "the cap in USD goes before the quality floor")
        if why:
            return Scores(certain(len(arms), action), predictions, f"{arms[action].name} is the reference arm: {why}")
        return Scores(certain(len(arms), action), predictions, self._reason(arms[action].name, limit.floor))

    def _reason(self, arm: str, floor: float) -> str:
        return (
            f"{arm} has the highest utility that keeps {floor:.0%} of {self.floors.reference}'s quality, promised with "
            f"{SERVED_CONFIDENCE:.0%} confidence"
        )

    def _standing(self, arms: Sequence[ArmFacts]) -> Standing:
        # By identity: hashing the facts themselves would cost more than all of the arithmetic.
        key = tuple(map(id, arms))
        known = self._standings.get(key)
        if known is not None:
            return known
        if len(self._standings) >= _MOST_SETS:
            self._standings.clear()
        standing = self._standings[key] = standing_of(self.floors, tuple(arms))
        return standing


def standing_of(floors: Floors, arms: tuple[ArmFacts, ...]) -> Standing:
    """Whether the promises hold where ``arms`` are eligible. Arms that joined later are never chosen."""
    at = {arm.name: place for place, arm in enumerate(arms)}
    absent = [name for name, _ in floors.arms if name not in at]
    dearer = [name for name, price in floors.arms if name in at and not same_cost(arms[at[name]].price, price)]
    broken = ""
    if absent:
        broken = f"the floor was promised with {absent[0]} among the arms"
    elif dearer:
        broken = f"the floor was promised at another price of {dearer[0]}; train again"
    places = np.array([at.get(name, 0) for name, _ in floors.arms], dtype=np.intp)
    return Standing(arms, places, at.get(floors.reference), broken)


def _unpromised(predictions: Predictions, arms: Sequence[ArmFacts], trade_off: TradeOff, why: str) -> Scores:
    dist = most_useful(predictions, trade_off)
    return Scores(dist, predictions, f"{arms[int(dist.argmax())].name} has the highest utility; {why}")
