"""Modes whose share of a tenant's requests is full, as this worker last heard: what need not be drawn to be refused.

The store alone holds shares, for all gateways: it says in its reply to each opened request which modes are full. What
is remembered here only spares a draw that it would refuse, and is forgotten soon.
"""

from collections.abc import Callable, Mapping, Sequence
from time import monotonic

from router.store.limits import MILLIONTHS, Allowance, Limit
from router.tenants import Caller

TRUST_S = 2.0  # others' requests may have made room meanwhile


class Shares:
    """Full modes by account. `clock`: seconds, monotonic."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._heard: dict[tuple[str, str], tuple[float, tuple[str, ...]]] = {}

    def heard(self, organisation: str, allowances: Sequence[Allowance]) -> None:
        """Remember what a reply said."""
        for each in allowances:
            if each.limit.shares:
                self._heard[organisation, each.limit.account] = self._clock(), each.full_modes

    def full(self, caller: Caller) -> dict[str, str]:
        """Mode -> why it may not answer now."""
        found: dict[str, str] = {}
        for limit in caller.limits:
            if limit.shares:
                at, modes = self._heard.get((caller.organisation, limit.account), (0.0, ()))
                if modes and self._clock() - at < TRUST_S:
                    found |= reasons(limit, modes)
        return found


def full_in(allowances: Sequence[Allowance]) -> dict[str, str]:
    """Mode -> why it may not answer, by a reply of the store."""
    found: dict[str, str] = {}
    for each in allowances:
        found |= reasons(each.limit, each.full_modes)
    return found


def reasons(limit: Limit, modes: Sequence[str]) -> Mapping[str, str]:
    """In words, for the log and for people."""
    shares = dict(limit.shares)
    return {
        mode: f"{mode} has its share, {100 * shares[mode] / MILLIONTHS:g} % of the requests of {limit.owner}"
        for mode in modes
    }
