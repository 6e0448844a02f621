"""What becomes of a request whose gateway died: exactly one terminal row, built from the stub its lease carries."""

from dataclasses import asdict

import orjson

from policies.records import DecisionRow, OutcomeRow
from router.store.base import End
from router.store.keys import organisation_in
from router.store.limits import without_claim

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


def terminal_row(request_id: str, *, organisation: str, stub: bytes) -> OutcomeRow:
    """The outcome `unknown_after_crash`: nothing is known of tokens, cost or time, so none is claimed.

    Args:
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
        nano_usd=None,
        seconds=0.0,
        ttft_s=None,
        overhead_s=0.0,
        finish_reasons=[],
        tool_calls=0,
        attempts=[],
        error=REASON,
    )


def last_end(request_id: bytes, scope: bytes, stub: bytes) -> End:
    """Closes a lease that `stale` found; whatever it reserved is charged, for nobody knows what became of it."""
    organisation = organisation_in(scope.decode())
    row = terminal_row(request_id.decode(), organisation=organisation, stub=without_claim(stub))
    return End(
        request_id=row.request_id, organisation=organisation, row=row_json(row), decision_id=row.decision_id,
        tenant=row.tenant, reserved=True, limited=True,
    )  # fmt: skip


def row_json(row: DecisionRow | OutcomeRow) -> bytes:
    """The JSON a log entry carries."""
    return orjson.dumps(asdict(row))
