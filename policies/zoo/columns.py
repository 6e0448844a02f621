"""Matches the eligible arms of a request to the columns of what was trained, once per set of arms."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.policy import ArmFacts
from policies.predictions import Reals
from policies.zoo.known import declared

_MOST_CHOICES = 64  # sets of eligible arms remembered; a gateway sees a handful


@dataclass(frozen=True, slots=True)
class Choice:
    """A set of eligible arms against the trained ones.

    Attributes:
        arms: Kept, so that their identities stay theirs while this is remembered.
        columns: Column of each arm among the trained ones, 0 for a stranger, shape (n_arms,).
        whole: The arms are the trained ones in their order, so that nothing need be picked.
        strangers: Which arms were not trained, shape (n_arms,); None if all were.
        declared_tokens: Of an answer about which nothing was learned, shape (n_arms,).
        usd_per_prompt_token: Of an estimated one, by the arm's price, shape (n_arms,); NaN where it has none.
        usd_per_output_token: Likewise.
        unpriced: Which arms have no price, shape (n_arms,); None if all have one.
        first_token_s / s_per_token: As learned, as declared where nothing was, shape (n_arms,).
    """

    arms: tuple[ArmFacts, ...]
    columns: NDArray[np.intp]
    whole: bool
    strangers: NDArray[np.bool_] | None
    declared_tokens: Reals
    usd_per_prompt_token: Reals
    usd_per_output_token: Reals
    unpriced: NDArray[np.bool_] | None
    first_token_s: Reals
    s_per_token: Reals

    def of_one(self, values: Reals) -> Reals:
        """The arms' columns of ``values`` (1, m), shape (n_arms,); a view of them where the arms are ``whole``."""
        picked: Reals = values[0] if self.whole else values[0, self.columns]
        return picked


class Columns:
    """Columns by arm name; remembers recent sets of arms, which saves time and changes no answer."""

    def __init__(self, names: Sequence[str], *, input_ratio: Reals, latency: Reals) -> None:
        """Columns ``names`` and what was learned of them: ``input_ratio`` (m,), ``latency`` (m, 2), NaN for unknown."""
        self.names = tuple(names)
        self._input_ratio, self._latency = input_ratio, latency
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
        choice = self._choices[key] = self._choice(tuple(arms))
        return choice

    def _choice(self, arms: tuple[ArmFacts, ...]) -> Choice:
        found = np.array([self._column.get(arm.name, -1) for arm in arms], dtype=np.intp)
        facts, strange = declared(arms), found < 0
        columns = np.where(strange, 0, found)
        latency, unpriced = self._latency[columns], np.isnan(facts.usd_per_input_token)
        untimed = strange | np.isnan(latency).any(axis=1)
        return Choice(
            arms=arms,
            columns=columns,
            whole=bool(np.array_equal(found, np.arange(len(self.names)))),
            strangers=strange if strange.any() else None,
            declared_tokens=facts.output_tokens,
            usd_per_prompt_token=np.where(strange, 1.0, self._input_ratio[columns]) * facts.usd_per_input_token,
            usd_per_output_token=facts.usd_per_output_token,
            unpriced=unpriced if unpriced.any() else None,
            first_token_s=np.where(untimed, facts.first_token_s, latency[:, 0]),
            s_per_token=np.where(untimed, facts.s_per_token, latency[:, 1]),
        )
