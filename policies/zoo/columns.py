"""Matches the eligible arms of a request to the columns of what was trained, once per set of arms."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.policy import ArmFacts
from policies.zoo.known import Declared, declared

_MOST_CHOICES = 64  # sets of eligible arms remembered; a gateway sees a handful


@dataclass(frozen=True, slots=True)
class Choice:
    """A set of eligible arms against the trained ones.

    Attributes:
        arms: Kept, so that their identities stay theirs while this is remembered.
        columns: Column of each arm among the trained ones, 0 for a stranger, shape (n_arms,).
        strangers: Which arms were not trained, shape (n_arms,); None if all were.
    """

    arms: tuple[ArmFacts, ...]
    facts: Declared
    columns: NDArray[np.intp]
    strangers: NDArray[np.bool_] | None


class Columns:
    """Columns by arm name; remembers recent sets of arms, which saves time and changes no answer."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._column = {name: column for column, name in enumerate(self.names)}
        self._choices: dict[tuple[int, ...], Choice] = {}

    def __len__(self) -> int:
        return len(self.names)

    def knows_any(self, arms: Sequence[ArmFacts]) -> bool:
        return any(arm.name in self._column for arm in arms)

    def of(self, arms: Sequence[ArmFacts]) -> Choice:
        """The columns of ``arms``."""
        # By identity: hashing the facts themselves would cost more than all of the arithmetic.
        key = tuple(map(id, arms))
        known = self._choices.get(key)
        if known is not None:
            return known
        if len(self._choices) >= _MOST_CHOICES:
            self._choices.clear()
        columns = np.array([self._column.get(arm.name, -1) for arm in arms], dtype=np.intp)
        strangers = columns < 0
        choice = self._choices[key] = Choice(
            arms=tuple(arms),
            facts=declared(arms),
            columns=np.where(strangers, 0, columns),
            strangers=strangers if strangers.any() else None,
        )
        return choice
