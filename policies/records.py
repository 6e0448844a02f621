"""The log's rows: what the gateway writes once per decision, outcome and feedback, and training reads back.

Rows are raw facts. Rewards are computed from them later, never stored instead. Times (`at`) are the store's clock and
are stamped by the store itself, so a row here has none.
"""

from dataclasses import dataclass, field

SCHEMA = 1

# How an arm came to be chosen. Only "drawn" rounds with two or more arms take part in off-policy evaluation. A "slice"
# is no request and has no arm: money set aside for an outage that was lost with its gateway, and is charged whole.
KINDS = ("drawn", "forced", "sticky", "late", "single", "slice")

# How a client request ended. Every one is terminal: a request has exactly one outcome row.
STATUSES = ("ok", "error", "cancelled", "upstream_cut", "unknown_after_crash")


@dataclass(slots=True)  # not frozen: freezing doubles the time to make one, and two are made for every request
class DecisionRow:
    """One decision together with the request it was made (or kept, `kind="sticky"`) for.

    Attributes:
        request_id: ``chatcmpl-<ulid>``, the response's id; ``slice-<ulid>`` of a slice.
        decision_id: ``dec-<ulid>``; several requests of one turn share it.
        arms / propensities / quality / quality_sd / usd / seconds: Aligned lists over the eligible arms.
        arm: Name of the drawn arm: the logged action.
        trade_off: ``[quality_per_usd, quality_per_s, quality_floor, max_usd or null]`` in force.
        removed: Arm name -> reason, for arms that were not eligible.
        redraws: Earlier draws of this decision whose reservation was refused: ``[{"arm", "propensities", "arms"}]``.
        observed: What the policy would have done for a tenant with ``observe: true``; same keys as a draw.
        embedding_dim: 0 when the row carries no embedding (late, not needed, or ``training: false``).
        prompt: Prompt text, only by the tenant's opt-in.
        max_tokens: The client's bound of the answer, which a prediction of cost depends on; None for none, and in rows
            of gateways that did not log it yet.
        end_user: The client's `user`: ``hmac:<32 hex digits>``, or as it came where the tenant stores prompts; None for
            none, and in rows of gateways that did not log it yet.
    """

    request_id: str
    decision_id: str
    client_request_id: str | None
    organisation: str
    tenant: str
    key_id: str
    session: str
    turn: int
    kind: str
    requested_model: str
    arm: str
    arms: list[str]
    propensities: list[float]
    quality: list[float | None]
    quality_sd: list[float | None]
    usd: list[float | None]
    seconds: list[float | None]
    revisions: list[str]
    removed: dict[str, str]
    trade_off: list[float | None]
    explore: float
    policy: str
    config: str
    encoder_id: str
    far: bool
    state: str
    stream: bool
    prompt_tokens: int
    features: list[float]
    embedding_dim: int
    parent_id: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    redraws: list[dict[str, object]] = field(default_factory=list)
    observed: dict[str, object] | None = None
    prompt: str | None = None
    max_tokens: int | None = None
    end_user: str | None = None
    v: int = SCHEMA


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One call to one deployment. ``kind`` is ``ok`` or an ``UpstreamError.kind``; ``status`` the HTTP status or 0."""

    deployment: str
    arm: str
    revision: str
    kind: str
    status: int
    seconds: float


@dataclass(slots=True)
class OutcomeRow:
    """How a client request ended.

    Attributes:
        usage_source: ``upstream`` (reported and sane), ``counted`` (our own count of what was generated), ``none``.
        usage_flags: What was odd about the reported usage; docs/money.md has the list.
        nano_usd: Cost, None when the price is unknown.
        ledger: What the store charged to budgets, and where, between tabs: nano-USD, the hour since 1970 in which it
            was reserved, and ``<account> <letters>`` of each account, h, d and m for its windows that hold that hour.
            The store itself writes it, beside the row; None: the request reserved nothing.
        cache_write_1h_tokens / audio_input_tokens / audio_output_tokens / gpu_us: As in `policies.prices.Usage`;
            None in rows of gateways that did not log them yet.
        prices: Version of the prices that were in force (`policies.prices.prices_version`), None likewise.
        ttft_s: Seconds to the first content byte.
        overhead_s: Seconds spent in the gateway itself before the upstream was called.
    """

    request_id: str
    decision_id: str
    client_request_id: str | None
    organisation: str
    tenant: str
    status: str
    http_status: int
    served_arm: str
    upstream_model: str
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    usage_source: str
    usage_flags: list[str]
    nano_usd: int | None
    seconds: float
    ttft_s: float | None
    overhead_s: float
    finish_reasons: list[str]
    tool_calls: int
    attempts: list[AttemptRecord]
    fallback_reason: str | None = None
    error: str | None = None
    ledger: str | None = None
    cache_write_1h_tokens: int | None = None
    audio_input_tokens: int | None = None
    audio_output_tokens: int | None = None
    gpu_us: int | None = None
    prices: str | None = None
    v: int = SCHEMA


@dataclass(frozen=True, slots=True)
class FeedbackRow:
    """One piece of feedback on a decision; repeats and late ones are all kept, readers let the last win."""

    feedback_id: str
    request_id: str
    decision_id: str
    organisation: str
    tenant: str
    metric: str
    value: float
    source: str = "client"
    comment: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    v: int = SCHEMA
