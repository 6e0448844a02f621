"""New arms on trial: descriptor, then anchors, then traffic, and that only until their money is spent."""

from collections.abc import Mapping

from policies.prices import NANO


class Trials:
    """What each new arm may still cost beyond the requests for which it is the best; in integers, so sums are exact."""

    def __init__(self, usd: Mapping[str, float], *, spent_nano_usd: Mapping[str, int] | None = None) -> None:
        """``usd`` of each arm on trial, by name.

        Args:
            spent_nano_usd: What arms have cost before, also such as are on no trial now: they may be again.

        Raises:
            ValueError: An amount is negative.
        """
        below = [arm for arm, amount in usd.items() if amount < 0]
        if below:
            raise ValueError(f"the trial of {below[0]!r} must not cost less than nothing")
        self._most_nano_usd = {arm: round(amount * NANO) for arm, amount in usd.items()}
        self._spent_nano_usd = dict(spent_nano_usd or {})

    def __contains__(self, arm: object) -> bool:
        return arm in self._most_nano_usd

    def charge(self, arm: str, nano_usd: int) -> None:
        """An answer of ``arm`` that was explored has cost so much; an arm that is on no trial pays nothing here."""
        if arm in self:
            self._spent_nano_usd[arm] = self._spent_nano_usd.get(arm, 0) + nano_usd

    @property
    def spent_nano_usd(self) -> Mapping[str, int]:
        """By arm, for those that have cost anything."""
        return self._spent_nano_usd

    @property
    def barred(self) -> frozenset[str]:
        """Arms whose money is spent: for ``Exploring.barred``."""
        spent = self._spent_nano_usd
        return frozenset(arm for arm, most in self._most_nano_usd.items() if spent.get(arm, 0) >= most)
