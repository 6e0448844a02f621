"""What becomes of a request that its gateway did not end: exactly one terminal row, made of its lease's stub."""

from collections.abc import Collection
from dataclasses import asdict, replace
from typing import Any

import orjson

from policies.records import DecisionRow, OutcomeRow
from router.store.base import End, Start
from router.store.commands import Commands
from router.store.keys import SHARDS, organisation_in
from router.store.link import Link

REASON = "the gateway stopped before the request ended"
SLICE = "slice-"  # the id of what is no request, but money reserved in advance: `router.store.slices`


def make_stub(row: DecisionRow) -> bytes:
    """The `Start.stub` of a decision."""
    return orjson.dumps(
        {
            "decision_id": row.decision_id,
            "client_request_id": row.client_request_id,
            "tenant": row.tenant,
            "arm": row.arm,
        }
    )


def terminal_row(request_id: str, *, organisation: str, stub: bytes, charged_nano_usd: int | None = None) -> OutcomeRow:
    """The outcome `unknown_after_crash`: nothing is known of tokens or time, so none is claimed.

    Args:
        charged_nano_usd: What its tenant's budget pays for it; None: it reserved nothing, and its cost is unknown.
        stub: JSON object; `decision_id`, `tenant`, `client_request_id` and `arm` are read, what is missing is empty.
    """
    known = orjson.loads(stub) if stub else {}
    return OutcomeRow(
        request_id=request_id,
        decision_id=known.get("decision_id") or "",
        client_request_id=known.get("client_request_id"),
        organisation=organisation,
        tenant=known.get("tenant") or "",
        status="unknown_after_crash",
        http_status=0,
        served_arm=known.get("served_arm") or known.get("arm") or "",
        upstream_model="",
        input_tokens=0,
        output_tokens=0,
        cached_input_tokens=0,
        cache_write_tokens=0,
        reasoning_tokens=0,
        usage_source="none",
        usage_flags=["missing"],
        nano_usd=charged_nano_usd,
        seconds=0.0,
        ttft_s=None,
        overhead_s=0.0,
        finish_reasons=[],
        tool_calls=0,
        attempts=[],
        error=REASON,
    )


def last_end(request_id: bytes, scope: bytes, stub: bytes, bound: bytes) -> End:
    """Closes a lease that `stale` found; all that it reserved is charged, for nobody knows what became of it.

    Args:
        bound: Nano-USD that it reserved, empty where it reserved nothing.
    """
    organisation, charged = organisation_in(scope.decode()), int(bound) if bound else None
    row = terminal_row(request_id.decode(), organisation=organisation, stub=stub, charged_nano_usd=charged)
    return End(
        request_id=row.request_id, organisation=organisation, row=row_json(row), decision_id=row.decision_id,
        tenant=row.tenant, reserved=charged is not None, nano_usd=charged, limited=True,
    )  # fmt: skip


def never_sent(start: Start) -> End:
    """Closes a request that was refused because nobody knew whether it was open: nothing was asked, nothing is owed."""
    row = replace(
        terminal_row(start.request_id, organisation=start.organisation, stub=start.stub, charged_nano_usd=0),
        status="error", http_status=503, usage_flags=[], error="store_unavailable",
    )  # fmt: skip
    return End(
        request_id=row.request_id, organisation=row.organisation, row=row_json(row), decision_id=row.decision_id,
        tenant=row.tenant, reserved=start.hold is not None, nano_usd=0, limited=start.claim is not None, tokens=0,
    )  # fmt: skip


def row_json(row: DecisionRow | OutcomeRow) -> bytes:
    """The JSON a log entry carries."""
    return orjson.dumps(asdict(row))


def name_in(tag: str) -> str:
    """The owner's name in what it signs with; a name alone is its own."""
    return tag.rpartition(":")[0] or tag


async def dead_owners(link: Link, commands: Commands) -> set[str]:
    """Of owners that are overdue, the tags; of those that are so and never registered, the names."""
    found: Any = await link.call(commands.dead())
    return {tag.decode() for tag in found}


async def close_leases(link: Link, commands: Commands, *, dead: Collection[str], before_epoch: int, ttl_s: int) -> int:
    """Close what these owners left open, and then forget them; returns how many leases this call closed.

    Args:
        dead: Tags, and names: of all that such a one signed.
        ttl_s: Who signed another lease and is not registered is dead if it is not heard of for so long.
    """
    closed, again, names = 0, True, set[str]()
    while again:
        stale = [commands.stale(shard, before_epoch=before_epoch, dead=sorted(dead)) for shard in range(SHARDS)]
        found: list[Any] = await link.call_many(stale)
        names = {name.decode() for _, signed in found for name in signed}
        ends = [last_end(*lease) for leases, _ in found for lease in leases]
        replies: list[Any] = await link.call_many(
            [commands.forfeit(end) if end.request_id.startswith(SLICE) else commands.settle(end) for end in ends]
        )
        closed += sum(reply > 0 for reply in replies)
        again = any(reply < 0 for reply in replies)  # from a slice something was drawn since we looked
    if dead:
        await link.call(commands.forget(sorted(dead)))
    if names:
        await link.call(commands.enrol(sorted(names), ttl_s=ttl_s))
    return closed
