"""Accounts in the store: what budgets and limits ask of each, and how each stands, as `accounts.lua` packs it."""

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct

from router.store.ledger import MAX_NANO_USD, ORGANISATION_ACCOUNT, PERS, Hold, Per, Refusal, Window, label_of
from router.store.limits import MOST_PER_MINUTE, Claim, Limit

# Of an account: an hour since 1970; spent and reserved of its hour, day and month, below 0 where it is not here; the
# millisecond of a limit's last change, requests and tokens used, in 60000ths, open requests, and the highest of the
# tokens a minute by which those came up.
RECORD = Struct("<12d")
_MOST_KNOWN = 4096


def accounts_of(windows: Sequence[Window], limits: Sequence[Limit]) -> list[str]:
    """Whose they are, in the order in which the store is told."""
    return list(dict.fromkeys([*(limit.account for limit in limits), *(window.account for window in windows)]))


def place_of(window: Window, accounts: Sequence[str]) -> int:
    """How a refusal of `begin` calls a window: 3 × its account's place, + its per's."""
    return 3 * accounts.index(window.account) + PERS.index(window.per)


def read_refusals(reply: Sequence[object], hold: Hold, claim: Claim | None) -> list[Refusal]:
    """The refusals in a reply of `begin`: -2, then place, left and seconds to the end of each window."""
    numbers = [int(part) for part in reply[1:]]  # type: ignore[call-overload] # integers on the wire
    accounts = accounts_of(hold.windows, claim.limits if claim is not None else ())
    by_place = {place_of(each, accounts): each for each in hold.windows}
    return [Refusal(by_place[place], left, ends) for place, left, ends in zip(*[iter(numbers)] * 3, strict=True)]


@dataclass(frozen=True, slots=True)
class _Asked:
    """The text for some windows and limits, which are held so that no others take their place in memory."""

    windows: Sequence[Window]
    limits: Sequence[Limit]
    text: bytes


class Asking:
    """The arguments of `begin` for budgets and limits. Their text is the same for all requests of a key."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, bool], _Asked] = {}

    def arguments(self, hold: Hold | None, claim: Claim | None, *, at: float | None) -> tuple[bytes | str | int, ...]:
        """Nothing where neither binds; `at` is POSIX seconds in place of the store's clock."""
        if hold is None and claim is None:
            return ()
        windows, soft = (hold.windows, hold.soft) if hold is not None else ((), False)
        limits, tokens, mode = (claim.limits, claim.tokens, claim.mode) if claim is not None else ((), 0, "")
        key = id(windows), id(limits), soft
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            known = self._known[key] = _Asked(windows, limits, _text(windows, limits, soft=soft))
        bound = min(hold.bound, MAX_NANO_USD) if hold is not None else ""
        return known.text, bound, min(tokens, MOST_PER_MINUTE), mode, "" if at is None else round(at * 1000)


def asked_of(hold: Hold) -> bytes:
    """The text for the windows of a reservation without limits."""
    return _text(hold.windows, (), soft=hold.soft)


def unlimited(accounts: bytes, bound: int, *, at: float | None) -> tuple[bytes | str | int, ...]:
    """The arguments of `begin` for `asked_of`."""
    return accounts, min(bound, MAX_NANO_USD), 0, "", "" if at is None else round(at * 1000)


def _text(windows: Sequence[Window], limits: Sequence[Limit], *, soft: bool) -> bytes:
    """A line for each account, as `asked` in `accounts.lua` reads it."""
    budgets = {(each.account, each.per): _most(each, soft=soft) for each in windows}
    by_account = {limit.account: limit for limit in limits}
    lines = [
        "\t".join((account, *(budgets.get((account, per), "") for per in PERS), *_rates(by_account.get(account))))
        for account in accounts_of(windows, limits)
    ]
    return "\n".join(lines).encode()


def _most(window: Window, *, soft: bool) -> str:
    """Its limit; ``-`` where it never binds: past an organisation's no tenant may go."""
    return "-" if soft and window.account != ORGANISATION_ACCOUNT else str(window.limit)


def _rates(limit: Limit | None) -> tuple[str, str, str, str, str]:
    if limit is None:
        return "", "", "", "", ""
    numbers = ("" if most is None else str(most) for most in (limit.requests, limit.tokens, limit.concurrency))
    requests, tokens, concurrency = numbers
    return requests, tokens, concurrency, str(limit.slot_ms), ",".join(f"{mode}={most}" for mode, most in limit.shares)


def read_sums(record: bytes | None, apart: Sequence[bytes | None], *, per: Per, label: str) -> tuple[int, int] | None:
    """What is spent and what is reserved in a window, None where nothing was asked of it.

    Args:
        record: The account's, None where it has none.
        apart: The values of `router.store.ledger.sums_of` of the window, None each where they are not there.
    """
    sums = sums_in(record).get((per, label)) if record is not None else None
    if sums is not None:
        return sums
    spent, reserved = apart
    return None if spent is None or reserved is None else (int(spent), int(reserved))


def sums_in(record: bytes) -> dict[tuple[Per, str], tuple[int, int]]:
    """(spent, reserved) of the windows that an account's record holds, by per and label."""
    hour, *numbers = RECORD.unpack(record)
    sums = numbers[: 2 * len(PERS)]
    pairs = zip(PERS, sums[::2], sums[1::2], strict=True)
    return {(per, label_of(per, hour * 3600)): (int(spent), int(back)) for per, spent, back in pairs if spent >= 0}
