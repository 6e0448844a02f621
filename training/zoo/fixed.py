"""Contenders that look at no query: always the most accurate arm, always the cheapest, and any arm alike."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from policies.policy import Policy
from policies.zoo.static import StaticPolicy
from policies.zoo.uniform import UniformPolicy
from training.contender import Contender, Forecast, Sample
from training.inputs import Reals


@dataclass(slots=True)
class FittedMix:
    """Probabilities of the arms that are the same for every query and every λ; satisfies ``Fitted``.

    Attributes:
        quality / usd: Training means of each arm, shape (m,).
        dist: Shape (m,).
    """

    policy: Policy | None
    quality: Reals
    usd: Reals
    dist: Reals
    facts: dict[str, Any] = field(default_factory=dict)
    held_out: Forecast | None = None

    def forecast(self, queries: Sample) -> Forecast:
        """The training means, and the same probabilities for all."""
        n = len(queries)
        quality, usd, dist = (np.tile(values, (n, 1)) for values in (self.quality, self.usd, self.dist))
        return Forecast(quality=quality, usd=usd, far=np.zeros(n, dtype=np.bool_), dist=dist)


@dataclass(slots=True)
class SingleArm:
    """Always one arm, chosen by its training means.

    Attributes:
        pick: Index of the arm from mean scores and mean USD, each (m,).
    """

    name: str
    pick: Callable[[Reals, Reals], int]
    needs_labels: bool = False

    def fit(self, train: Sample, *, seed: int) -> FittedMix:
        """Pick the arm on ``train``."""
        quality, usd = train.table.scores.mean(axis=0), train.table.usd.mean(axis=0)
        arm = self.pick(quality, usd)
        name = train.table.arm_names[arm]
        return FittedMix(StaticPolicy(name), quality, usd, np.eye(len(usd))[arm], facts={"arm": name})


class RandomMix:
    """Every arm alike."""

    name, needs_labels = "random", False

    def fit(self, train: Sample, *, seed: int) -> FittedMix:
        """Needs the number of arms only; the means are for the report."""
        quality, usd = train.table.scores.mean(axis=0), train.table.usd.mean(axis=0)
        return FittedMix(UniformPolicy(), quality, usd, np.full(len(usd), 1.0 / len(usd)))


def most_accurate(quality: Reals, usd: Reals) -> int:
    """The arm of highest mean score; of equal ones the cheaper."""
    return int(np.lexsort((usd, -quality))[0])


def least_usd(quality: Reals, usd: Reals) -> int:
    """The arm of least mean USD; of equal ones the more accurate."""
    return int(np.lexsort((-quality, usd))[0])


def fixed_contenders() -> tuple[Contender, ...]:
    """``fixed``, ``cheapest`` and ``random``."""
    return SingleArm("fixed", most_accurate), SingleArm("cheapest", least_usd), RandomMix()
