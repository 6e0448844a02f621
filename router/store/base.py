"""What the pipeline asks of the store. Each call is one server-side function: it happens whole or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from router.store.ledger import Hold
from router.store.limits import Allowance, Claim

LEASE_S = 3600  # the least for which a request may be open before it is taken for lost


class StoreUnavailable(Exception):
    """The store did not answer in time or refused the call (full, wrong version); assume nothing to be written."""


class Unanswered(StoreUnavailable):
    """The call was sent, and nobody knows whether it was carried out: its reply was lost."""


class SliceSpent(StoreUnavailable):
    """Likewise, and too little is left of what was reserved for such a time."""


class StoreFull(StoreUnavailable):
    """The log stands above its high-water mark: archive it or raise ``store.high_water_rows``."""


@dataclass(frozen=True, slots=True)
class Start:
    """Opens a request: lease and decision row in one step, before any upstream is called.

    Attributes:
        stub: JSON with what the terminal row needs if this process dies (ids, tenant, arm).
        row: JSON of a ``policies.records.DecisionRow``; empty for a slice, which is no request.
        embedding: Raw float16 bytes, empty for none.
        hold: What the request reserves of its tenant's budgets; None for a tenant without.
        claim: What it takes of its limits; None without any.
    """

    request_id: str
    organisation: str
    stub: bytes
    row: bytes
    embedding: bytes
    hold: Hold | None = None
    claim: Claim | None = None


@dataclass(frozen=True, slots=True)
class End:
    """Closes a request: outcome row, session state and tool-call owners in one step. Idempotent by ``request_id``.

    Attributes:
        row: JSON of a ``policies.records.OutcomeRow``; empty for a slice that is returned.
        session: Session key (empty: none), with ``session_value`` kept for a day of idleness.
        tool_calls: Ids of the tool calls in the answer; each finds ``session_value`` again.
        reserved: The request may hold a reservation, which ends here.
        nano_usd: What is charged in its place; None: unknown, so all that was reserved is charged.
        limited: A limit may count how the request ends: its tokens, or that it is open no more.
        tokens: What it used, input and output; None: unknown, so what it took at its begin stays taken.
    """

    request_id: str
    organisation: str
    row: bytes
    decision_id: str
    tenant: str
    session: str = ""
    session_value: bytes = b""
    tool_calls: Sequence[str] = ()
    reserved: bool = False
    nano_usd: int | None = None
    limited: bool = False
    tokens: int | None = None


class Store(Protocol):
    async def begin(self, start: Start) -> tuple[Allowance, ...]:
        """Open a request; how its limits stand then, in their order, or nothing where that is not known.

        Raises:
            LimitRefused, ShareRefused: A limit has no room; nothing is written.
            BudgetRefused: A window has no room for the bound; nothing is written.
            StoreFull, StoreUnavailable: Nothing is written, or what may have been is withdrawn when the store is back.
        """
        ...

    async def settle(self, end: End) -> bool:
        """True if this call closed the request, False if it was closed before (nothing changed then).

        When the store cannot be reached the row goes to the local spool and True is returned;
        raises StoreUnavailable only if the spool failed as well.
        """
        ...

    async def session(self, organisation: str, session: str) -> bytes | None:
        """The session's value, or None."""
        ...

    async def tool_call_owner(self, organisation: str, tool_call_ids: Sequence[str]) -> bytes | None:
        """The ``session_value`` of the request that issued any of these tool calls, or None."""
        ...

    async def request_owner(self, organisation: str, request_id: str) -> tuple[str, str] | None:
        """(decision_id, tenant) of a known request, or None. Known for 30 days."""
        ...

    async def feedback(self, organisation: str, *, row: bytes, idempotency_key: str) -> str:
        """Append a feedback row; a repeated key appends nothing and returns the first ``feedback_id``."""
        ...

    async def ping(self) -> None:
        """Raises StoreUnavailable."""
        ...

    async def aclose(self) -> None: ...
