"""The entries of a window beside what the store counted in it: two ways to one sum, and a difference is an alarm."""

from collections.abc import Sequence
from dataclasses import dataclass

from router.statement.sums import Statement, Sums
from router.store.balances import Balance, Owned
from router.store.ledger import ORGANISATION_ACCOUNT, Window, tenant_account

BY_ACCOUNT = ("organisation", "tenant")  # what the entries must be divided by


@dataclass(frozen=True, slots=True)
class Compared:
    """One budget's window, in nano-USD.

    Attributes:
        entries: Of the requests that ended, from the log.
        unknown: How many of these have no known cost: what the counter has of them is not in `entries`.
        before / after: The counter when the reading of the log began and ended: requests settle meanwhile.
    """

    window: Window
    label: str
    entries: int
    unknown: int
    before: int
    after: int

    @property
    def difference(self) -> int:
        """Entries less counter; 0 where they agree, as far as requests that settled meanwhile allow."""
        return self.entries - min(max(self.entries, self.before), self.after)


def compared(
    owned: Sequence[Owned], entries: Statement, *, before: Sequence[Balance], after: Sequence[Balance]
) -> list[Compared]:
    """Every budget of `owned`, in its order.

    Args:
        entries: All of the window's time, divided by ``BY_ACCOUNT``.
        before / after: The window of each budget, read before and after the log was.
    """
    found = []
    for (organisation, window), early, late in zip(owned, before, after, strict=True):
        sums = _entries_of(organisation, window, entries)
        found.append(Compared(window, early.label, sums.nano_usd, sums.unknown, early.spent, late.spent))
    return found


def _entries_of(organisation: str, window: Window, entries: Statement) -> Sums:
    whole = Sums()
    for (owner, tenant), sums in entries.groups.items():
        if owner == organisation and window.account in (ORGANISATION_ACCOUNT, tenant_account(tenant or "")):
            whole.add(sums)
    return whole
