"""Money in the store: what a request reserves of its budgets, and how the store says that there is not enough left.

The rules are in `ledger.lua`, where each step happens whole or not at all; these are its arguments and replies. All
amounts are integer nano-USD.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

Per = Literal["hour", "day", "month"]
PERS: tuple[Per, ...] = ("hour", "day", "month")
MAX_USD = 9_000_000  # of one window: 9e15 nano-USD stand just below 2^53, up to where Lua's numbers are exact
MAX_NANO_USD = MAX_USD * 1_000_000_000
KEPT_S = 40 * 86_400  # of a window after its end, as `ledger.lua` does

LABELS = {"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m"}


def tenant_account(tenant: str) -> str:
    """Whose money it is, as keys say it; the length tells a name that holds a colon from what follows it."""
    return f"t{len(tenant)}:{tenant}"


ORGANISATION_ACCOUNT = "o"  # the organisation itself is in the scope of every key


@dataclass(frozen=True, slots=True)
class Window:
    """One budget: at most `limit` nano-USD in each UTC hour, day or month; `owner` is for people.

    Attributes:
        paced: Its tenants' λ is raised so that it lasts its window.
    """

    account: str
    per: Per
    limit: int
    owner: str
    paced: bool = False


@dataclass(frozen=True, slots=True)
class Hold:
    """What a request reserves before it is sent.

    Attributes:
        bound: The most it can cost.
        soft: The tenant's own windows need have no room for it; its organisation's must, whatever the tenant may.
    """

    bound: int
    windows: Sequence[Window]
    soft: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """A window without room: `left` is neither spent nor reserved (below 0: overdrawn); it ends in `ends_in_s`."""

    window: Window
    left: int
    ends_in_s: int


class BudgetRefused(Exception):
    """The bound does not fit; `refusals` has at least one window."""

    def __init__(self, refusals: Sequence[Refusal]) -> None:
        super().__init__(f"no room in {len(refusals)} budget windows")
        self.refusals = tuple(refusals)

    @property
    def left(self) -> int:
        """What a bound may be at most to fit all these windows."""
        return min(refusal.left for refusal in self.refusals)


def label_of(per: Per, at: float) -> str:
    """The name of the window that holds this moment, as `ledger.lua` writes it."""
    return datetime.fromtimestamp(at, UTC).strftime(LABELS[per])


def sums_of(per: str, label: str) -> tuple[str, str]:
    """The fields of a window's sums where they are not packed: what is spent, and what is reserved."""
    return f"{per}:{label}:spent", f"{per}:{label}:reserved"


def ends_at(per: Per, at: float) -> int:
    """POSIX seconds at which the window that holds this moment ends."""
    now = datetime.fromtimestamp(at, UTC)
    if per == "month":
        first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        next_month = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
        return int(next_month.timestamp())
    step = 3600 if per == "hour" else 86_400
    return (int(at) // step + 1) * step


def begins_at(per: Per, at: float) -> int:
    """POSIX seconds at which the window that holds this moment began."""
    if per == "month":
        now = datetime.fromtimestamp(at, UTC)
        return int(now.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp())
    step = 3600 if per == "hour" else 86_400
    return int(at) // step * step


def charged(nano_usd: int | None) -> str:
    """The cost as an argument of `settle`; empty for unknown. Cut beyond every limit, so that sums fit 64 bits."""
    return "" if nano_usd is None else str(min(nano_usd, MAX_NANO_USD))


@dataclass(frozen=True, slots=True)
class Entry:
    """What the store charged for a request that had reserved: nano-USD, in each of these (account, per, label)."""

    nano_usd: int
    windows: tuple[tuple[str, str, str], ...]


def read_entry(text: str) -> Entry:
    """An entry as `OutcomeRow.ledger` has it, or what a lease says of its reservation.

    Raises:
        ValueError: It is none.
    """
    nano_usd, hour, *places = text.split("\t")
    labels = {per[0]: (per, label_of(per, int(hour) * 3600)) for per in PERS}
    owned = [place.rpartition(" ") for place in places]
    windows = ((account, *labels[letter]) for account, _, letters in owned for letter in letters)
    return Entry(int(nano_usd), tuple(windows))
