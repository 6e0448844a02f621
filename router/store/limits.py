"""Limits in the store: what a request takes of each that binds it, what is then left, and how the store refuses.

The rules are in `limits.lua`, inside the calls that open and close a request; these are its replies.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Any, Literal, NamedTuple

Kind = Literal["requests", "tokens", "concurrency"]
MOST_PER_MINUTE = 10_000_000_000  # in 60000ths it stands well below 2^53, up to where Lua's numbers are exact
SLOTS = 12  # a share's window slides by a twelfth of itself
MILLIONTHS = 1_000_000
UNLIMITED = -1
REFUSED, SHARE_FULL = -3, -4
_TOLD = Struct(">4q")  # of a limit, what is left of requests and tokens, each with the milliseconds until all of it is


def key_account(key_id: str) -> str:
    """Of one key; `router.store.ledger.tenant_account` is that of all of a tenant's."""
    return f"k:{key_id}"


@dataclass(frozen=True, slots=True)
class Limit:
    """What one account may do; None is no limit. `owner` is for people.

    Attributes:
        account: A tenant's, a key's or the organisation's, unique within the organisation.
        requests, tokens: Per minute, from a bucket that holds a minute's worth and fills evenly.
        concurrency: Requests open at once.
        shares: Mode -> the most of the requests of the last `share_window_s` that may be of it, in millionths.
    """

    account: str
    owner: str
    requests: int | None = None
    tokens: int | None = None
    concurrency: int | None = None
    shares: tuple[tuple[str, int], ...] = ()
    share_window_s: int = 3600

    @property
    def slot_ms(self) -> int:
        """Milliseconds of one of the parts by which a share's window slides."""
        return self.share_window_s * 1000 // SLOTS


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request takes of the limits that bind it.

    Attributes:
        tokens: The most that it can use, input and output.
        mode: Counts in the shares; empty for a turn that goes on and so chooses no mode.
    """

    limits: tuple[Limit, ...]
    tokens: int = 0
    mode: str = ""


class Allowance(NamedTuple):
    """One limit after a request was taken or refused; None where it does not limit requests or tokens.

    Attributes:
        requests, tokens: What is left now.
        requests_full_ms, tokens_full_ms: Milliseconds until all of it is there again.
        full_modes: Modes of which one more request would be more than their share.
    """

    limit: Limit
    requests: int | None
    requests_full_ms: int
    tokens: int | None
    tokens_full_ms: int
    full_modes: tuple[str, ...] = ()


class LimitRefused(Exception):
    """A limit has no room; nothing was written.

    Attributes:
        wait_ms: Until the request would fit, if nobody else asks; None: until another request ends.
    """

    def __init__(self, kind: Kind, limit: Limit, *, wait_ms: int | None, allowances: Sequence[Allowance]) -> None:
        super().__init__(f"no room in the {kind} of {limit.owner}")
        self.kind, self.limit, self.wait_ms, self.allowances = kind, limit, wait_ms, tuple(allowances)


class ShareRefused(Exception):
    """The request's mode has its share already; nothing was written. `limit` is the first that says so."""

    def __init__(self, limit: Limit, allowances: Sequence[Allowance]) -> None:
        super().__init__(f"a mode's share of the requests of {limit.owner} is full")
        self.limit, self.allowances = limit, tuple(allowances)


def given_back(limited: bool, tokens: int | None) -> str:
    """The argument of `settle`: the tokens that were used, empty for unknown; ``-`` where no limit counts its end."""
    if not limited:
        return "-"
    return "" if tokens is None else str(min(max(tokens, 0), MOST_PER_MINUTE))


def read_allowances(reply: object, claim: Claim) -> tuple[Allowance, ...]:
    """What a reply of `begin` says of each limit; nothing where the request had been opened before.

    Raises:
        LimitRefused, ShareRefused: As the reply says.
    """
    if not isinstance(reply, list):
        return ()
    if reply[0] == 1:
        return _allowances(claim.limits, reply[1], reply[2:])
    head = 4 if reply[0] == REFUSED else 2
    allowances = _allowances(claim.limits, reply[head], reply[head + 1 :])
    if reply[0] == REFUSED:
        place, kind, wait_ms = reply[1], reply[2].decode(), reply[3]
        wait = None if wait_ms == UNLIMITED else wait_ms
        raise LimitRefused(kind, claim.limits[place], wait_ms=wait, allowances=allowances)
    assert reply[0] == SHARE_FULL
    raise ShareRefused(claim.limits[reply[1]], allowances)


def _allowances(limits: Sequence[Limit], told: bytes, full: Sequence[Any]) -> tuple[Allowance, ...]:
    """`full`: place among the limits and mode of each share that is full, in turn."""
    modes: dict[int, tuple[str, ...]] = {}
    for place, mode in zip(full[::2], full[1::2], strict=True):
        modes[place] = (*modes.get(place, ()), mode.decode())
    found = []
    for place, (requests, requests_ms, tokens, tokens_ms) in enumerate(_TOLD.iter_unpack(told)):
        left = None if requests == UNLIMITED else requests, None if tokens == UNLIMITED else tokens
        found.append(Allowance(limits[place], left[0], requests_ms, left[1], tokens_ms, modes.get(place, ())))
    return tuple(found)
