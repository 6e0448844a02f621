"""New arms on trial: descriptor, then anchors, then traffic, and that only until their money is spent."""

from collections.abc import Mapping


class Trials:
    """What each new arm may still cost beyond the requests for which it is the best."""

    def __init__(self, usd: Mapping[str, float]) -> None:
        """``usd`` of each arm on trial, by name.

        Raises:
            ValueError: An amount is negative.
        """
        below = [arm for arm, amount in usd.items() if amount < 0]
        if below:
            raise ValueError(f"the trial of {below[0]!r} must not cost less than nothing")
        self._left_usd = dict(usd)

    def charge(self, arm: str, usd: float) -> None:
        """An answer of ``arm`` that was explored has cost so much; an arm that is on no trial pays nothing here."""
        if arm in self._left_usd:
            self._left_usd[arm] -= usd

    @property
    def barred(self) -> frozenset[str]:
        """Arms whose money is spent: for ``Exploring.barred``."""
        return frozenset(arm for arm, left in self._left_usd.items() if left <= 0.0)
