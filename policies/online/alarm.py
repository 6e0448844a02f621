"""Bets against a policy's predictions: who gets rich has seen an arm change.

One gambler per arm and direction stakes on scores being lower (or higher) than predicted. If predictions are right on
average, a fortune is a non-negative martingale that starts at 1, so by Ville's inequality it ever reaches 10,000 with a
probability of at most 1/10,000; a gambler who has lost starts again, which makes that the rate of false alarms per
outcome (Shin, Ramdas and Rinaldo, "E-detectors", 2022). No distribution of scores is assumed but the range 0..1.
Left out: a look at many arms at once; each is watched by itself.
"""

from dataclasses import dataclass
from enum import Enum

import numpy as np

from policies.predictions import Reals


class Verdict(Enum):
    """What an outcome did to a gambler."""

    STARTS_AGAIN = "starts again"
    GOES_ON = "goes on"
    RICH = "rich"


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """When a change is worth an alarm.

    Attributes:
        false_alarms: Rate per outcome of an arm and direction where the change is just tolerable.
        tolerance: Mean shift of a score below which nobody gets rich in the long run: offsets follow it.
        shifts: Shifts that are bet on, each with its share of the stake.
    """

    false_alarms: float = 1e-4
    tolerance: float = 0.05
    shifts: tuple[float, ...] = (0.1, 0.2, 0.35)


@dataclass(frozen=True, slots=True)
class Alarm:
    """An arm whose scores are no longer what is predicted.

    Attributes:
        arm: Its name.
        at: Time of the outcome that raised it, POSIX seconds.
        since: Time of the first outcome of the bets that were won: about when the change began.
        statistic: The fortune, in units of the first stake.
        fell: Whether scores are lower than predicted.
        n_outcomes / shift: Outcomes since then, and their mean score − prediction.
    """

    arm: str
    at: float
    since: float
    statistic: float
    fell: bool
    n_outcomes: int
    shift: float


class Gambler:
    """Stakes on one arm's scores in one direction.

    Attributes:
        fortunes: By shift that is bet on, in units of the first stake.
    """

    def __init__(self, settings: WatchSettings, *, direction: float) -> None:
        """``direction`` −1 bets on lower scores than predicted, +1 on higher ones."""
        self._settings, self._direction = settings, direction
        self._shifts = np.array(settings.shifts)
        self.fortunes = np.ones(len(self._shifts))

    @property
    def fortune(self) -> float:
        return float(self.fortunes.mean())

    def bet(self, expected: float, score: float, *, weight: float = 1.0) -> Verdict:
        """Play on a ``score`` of which ``expected`` was predicted before it was known, both 0..1.

        Args:
            weight: How much the score's source is trusted, 0..1: the stake is lowered by it.
        """
        told, chance = self._direction, min(max(expected, 0.02), 0.98)
        gain = told * (score - chance) - self._settings.tolerance
        worst = (chance if told > 0 else 1.0 - chance) + self._settings.tolerance
        # What grows fastest if the shift is there (Kelly), and never all of the fortune.
        stakes: Reals = weight * np.minimum(self._shifts / (chance * (1.0 - chance)), 0.9 / worst)
        self.fortunes *= 1.0 + stakes * gain
        if self.fortune < 1.0:
            self.start_again()
            return Verdict.STARTS_AGAIN
        return Verdict.RICH if self.fortune >= 1.0 / self._settings.false_alarms else Verdict.GOES_ON

    def start_again(self) -> None:
        """Give up the fortune and start with 1."""
        self.fortunes[:] = 1.0
