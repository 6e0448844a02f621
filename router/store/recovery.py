"""What becomes of a request that its gateway did not end: exactly one terminal row, made of its lease's stub."""

from dataclasses import asdict, replace

import orjson

from policies.records import DecisionRow, OutcomeRow
from router.store.base import End, Start
from router.store.keys import organisation_in

REASON = "the gateway stopped before the request ended"


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
