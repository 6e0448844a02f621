"""The packed commands of the store's functions, as values: built once, sent now or replayed from the spool."""

from collections.abc import Sequence

import hiredis

from router.store.accounts import Asking, unlimited
from router.store.base import End, Start
from router.store.keys import EPOCH_KEY, OWNERS_KEY, Functions, log_key, scope_of
from router.store.ledger import charged
from router.store.limits import given_back


def pack(*parts: str | bytes | int) -> bytes:
    """One command in the server's wire form."""
    packed: bytes = hiredis.pack_command(parts)  # type: ignore[arg-type] # its stub says one-tuple
    return packed


class Commands:
    """Packs calls of one function library."""

    def __init__(self, functions: Functions) -> None:
        self._begin, self._settle, self._withdraw = (functions.name(name) for name in ("begin", "settle", "withdraw"))
        self._feedback, self._stale = functions.name("feedback"), functions.name("stale")
        self._draw, self._forfeit = functions.name("draw"), functions.name("forfeit")
        self._beat, self._dead, self._forget = (functions.name(name) for name in ("beat", "dead", "forget"))
        self._enrol = functions.name("enrol")
        self._asking = Asking()

    def begin(self, start: Start, *, owner: str, lease_s: int, high_water: int, at: float | None = None) -> bytes:
        """`at`: POSIX seconds in place of the store's clock, for tests; only where budgets or limits bind."""
        scope = scope_of(start.organisation)
        return pack(
            "FCALL", self._begin, 1, scope.log, start.request_id, scope.scope, owner, lease_s, high_water,
            start.stub, start.row, start.embedding, *self._asking.arguments(start.hold, start.claim, at=at),
        )  # fmt: skip

    def draw(
        self,
        start: Start,
        *,
        owner: str,
        lease_s: int,
        slice_id: str,
        accounts: bytes,
        bound: int,
        at: float | None = None,
    ) -> bytes:
        """`accounts`: of what it takes, as `router.store.accounts.asked_of` has them."""
        scope = scope_of(start.organisation)
        return pack(
            "FCALL", self._draw, 1, scope.log, start.request_id, scope.scope, owner, lease_s, 0, start.stub, start.row,
            start.embedding, *unlimited(accounts, bound, at=at), slice_id,
        )  # fmt: skip

    def settle(self, end: End) -> bytes:
        return self._ended(self._settle, end)

    def withdraw(self, end: End) -> bytes:
        """`end` closes the request if its begin was carried out, and keeps it from being so later if it was not."""
        return self._ended(self._withdraw, end)

    def forfeit(self, end: End) -> bytes:
        """`end` charges a slice all that it held when `stale` found it."""
        return self._ended(self._forfeit, end)

    def _ended(self, function: str, end: End) -> bytes:
        scope = scope_of(end.organisation)
        return pack(
            "FCALL", function, 1, scope.log, end.request_id, scope.scope, end.row, end.decision_id, end.tenant,
            end.session, end.session_value, charged(end.nano_usd) if end.reserved else "-",
            given_back(end.limited, end.tokens), *end.tool_calls,
        )  # fmt: skip

    def feedback(self, organisation: str, *, key: str, feedback_id: str, row: bytes, high_water: int) -> bytes:
        scope = scope_of(organisation)
        return pack("FCALL", self._feedback, 1, scope.log, scope.scope, key, feedback_id, row, high_water)

    def stale(self, shard: int, *, before_epoch: int, dead: Sequence[str], at: int | None = None) -> bytes:
        now = "" if at is None else at
        return pack("FCALL", self._stale, 1, log_key(shard), before_epoch, now, *dead)

    def beat(self, name: str, *, epoch: int, ttl_s: int) -> bytes:
        return pack("FCALL", self._beat, 2, OWNERS_KEY, EPOCH_KEY, name, epoch, ttl_s)

    def enrol(self, names: Sequence[str], *, ttl_s: int) -> bytes:
        """Those of `names` that are not registered are dead when they are not heard of for so long."""
        return pack("FCALL", self._enrol, 1, OWNERS_KEY, ttl_s, *names)

    def dead(self) -> bytes:
        return pack("FCALL", self._dead, 1, OWNERS_KEY)

    def forget(self, tags: Sequence[str]) -> bytes:
        return pack("FCALL", self._forget, 1, OWNERS_KEY, *tags)
