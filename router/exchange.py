"""The facts of one client request as they come in, and the rows they become."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
import orjson

from policies.policy import ArmFacts
from policies.prices import NANO, UnknownPrice, Usage, cost_nano_usd
from policies.records import AttemptRecord, DecisionRow, OutcomeRow
from router.ask import Ask
from router.baseline import same_tokens_usd
from router.bill import lost_nano_usd, reported, unfinished
from router.bound import claim_of
from router.http.generated import Generated
from router.http.parse import ChatRequest
from router.http.rate_headers import rate_headers
from router.perceive import Sight
from router.ruling import Ruling
from router.sessions import Standing, tool_call_keys
from router.setup import Setup
from router.store.base import End, Start
from router.store.ledger import Hold
from router.store.limits import Allowance
from router.store.recovery import make_stub
from router.tenants import Caller


@dataclass(slots=True)
class Exchange:
    """One client request from its decision to its outcome. The first block is fixed when it opens."""

    ask: Ask
    request_id: str
    decision_id: str
    client_request_id: str | None
    sight: Sight
    ruling: Ruling
    observed: dict[str, object] | None
    started: float

    served: ArmFacts = field(init=False)
    upstream_model: str = ""
    sent_max_tokens: int | None = None  # of one choice, as it was sent: with the mode's bound and its thinking
    attempts: list[AttemptRecord] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    usage_source: str = "none"
    usage_flags: tuple[str, ...] = ()
    finish_reasons: tuple[str, ...] = ()
    tool_calls: tuple[str, ...] = ()
    overhead_s: float = 0.0
    ttft_s: float | None = None
    fallback_reason: str | None = None
    settled: bool = False
    hold: Hold | None = None  # what is reserved; None: the tenant has no budget
    redraws: list[dict[str, object]] = field(default_factory=list)
    allowances: tuple[Allowance, ...] = ()  # of its limits, as it was opened

    def __post_init__(self) -> None:
        self.served = self.ruling.decision.arm

    @property
    def setup(self) -> Setup:
        return self.ask.setup

    @property
    def caller(self) -> Caller:
        return self.ask.caller

    @property
    def chat(self) -> ChatRequest:
        return self.ask.chat

    def redraw(self, ruling: Ruling) -> None:
        """Take another decision in place of one whose reservation was refused, and remember that one."""
        refused = self.ruling.decision
        self.redraws.append(
            {
                "arm": refused.arm.name,
                "propensities": refused.propensities.tolist(),
                "arms": [arm.name for arm in refused.arms],
            }
        )
        self.ruling, self.served = ruling, ruling.decision.arm
        # A decision bears the ULID of the request it was made for; only a kept one is another's.
        if ruling.kind != "sticky":
            self.decision_id = f"dec-{self.request_id.removeprefix('chatcmpl-')}"

    def told(self, raw_usage: Any, generated: Generated, *, finish_reasons: Mapping[int, str]) -> None:
        """Take in what the upstream reported of a finished answer, as far as it makes sense."""
        self.usage, self.usage_source, self.usage_flags = reported(self, raw_usage, generated)
        self.finish_reasons = tuple(reason for _, reason in sorted(finish_reasons.items()))
        self.tool_calls = tuple(generated.tool_call_ids)

    def counted(self, generated: Generated | None, raw_usage: Any = None) -> None:
        """Bill an unfinished answer by our own count, the prompt and what was generated, or by what was reported."""
        if self.usage_source == "none":
            self.usage, self.usage_flags = unfinished(self, raw_usage, generated)
            self.usage_source = "counted"

    @property
    def nano_usd(self) -> int | None:
        """Cost so far, None if the served arm has no price."""
        try:
            return cost_nano_usd(self.usage, self.served.price) + self.lost_nano_usd
        except UnknownPrice:
            return None

    @property
    def lost_nano_usd(self) -> int:
        """Cost of attempts that nobody got an answer from. Raises UnknownPrice; see `router.bill`."""
        return lost_nano_usd(self)

    @property
    def usd(self) -> float | None:
        nano = self.nano_usd
        return None if nano is None else nano / NANO

    def start(self) -> Start:
        """Lease, stub and decision row for ``Store.begin``."""
        embedding = self.sight.context.embedding if self.caller.config.training else np.zeros(0, np.float32)
        row = self._decision_row(embedding_dim=int(embedding.size))
        return Start(
            request_id=self.request_id,
            organisation=self.caller.organisation,
            stub=make_stub(row),
            row=orjson.dumps(row),
            embedding=embedding.astype(np.float16).tobytes(),
            hold=self.hold,
            claim=claim_of(self.ask, self.served, prompt_tokens=self.sight.context.prompt_tokens),
        )

    def _decision_row(self, *, embedding_dim: int) -> DecisionRow:
        decision, context, trade_off = self.ruling.decision, self.sight.context, self.ask.trade_off
        scores, keep = decision.scores.predictions, self.caller.config
        return DecisionRow(
            request_id=self.request_id,
            decision_id=self.decision_id,
            client_request_id=self.client_request_id,
            organisation=self.caller.organisation,
            tenant=self.caller.tenant,
            key_id=self.caller.key_id,
            session=self.ask.session,
            turn=self.chat.turn,
            kind=self.ruling.kind,
            requested_model=self.chat.model,
            arm=decision.arm.name,
            arms=[arm.name for arm in decision.arms],
            propensities=decision.propensities.tolist(),
            quality=scores.quality.tolist(),
            quality_sd=scores.quality_sd.tolist(),
            usd=scores.usd.tolist(),
            seconds=scores.seconds.tolist(),
            revisions=[arm.revision for arm in decision.arms],
            removed=self.ruling.removed,
            trade_off=[trade_off.quality_per_usd, trade_off.quality_per_s, trade_off.quality_floor, trade_off.max_usd],
            explore=self.ask.explore,
            policy=self.setup.policy_label,
            config=self.setup.config_hash,
            encoder_id=self.setup.encoder_id if embedding_dim else "",
            far=bool(scores.far),
            state="live",
            stream=self.chat.stream,
            prompt_tokens=context.prompt_tokens,
            features=context.features.tolist() if keep.training else [],
            embedding_dim=embedding_dim,
            tags=dict(self.chat.hints.tags),
            redraws=self.redraws,
            observed=self.observed,
            prompt=self.chat.route_text if keep.store_prompts else None,
            max_tokens=context.max_tokens,
            end_user=self.ask.end_user,
        )

    def end(self, *, status: str, http_status: int, error: str | None = None) -> End:
        """Outcome row, session and tool-call owners for ``Store.settle``."""
        row = OutcomeRow(
            request_id=self.request_id,
            decision_id=self.decision_id,
            client_request_id=self.client_request_id,
            organisation=self.caller.organisation,
            tenant=self.caller.tenant,
            status=status,
            http_status=http_status,
            served_arm=self.served.name,
            upstream_model=self.upstream_model,
            input_tokens=self.usage.input,
            output_tokens=self.usage.output,
            cached_input_tokens=self.usage.cached_input,
            cache_write_tokens=self.usage.cache_write,
            reasoning_tokens=self.usage.reasoning,
            usage_source=self.usage_source,
            usage_flags=list(self.usage_flags),
            nano_usd=self.nano_usd,
            seconds=perf_counter() - self.started,
            ttft_s=self.ttft_s,
            overhead_s=self.overhead_s,
            finish_reasons=list(self.finish_reasons),
            tool_calls=len(self.tool_calls),
            attempts=self.attempts,
            fallback_reason=self.fallback_reason,
            error=error,
            cache_write_1h_tokens=self.usage.cache_write_1h,
            audio_input_tokens=self.usage.audio_input,
            audio_output_tokens=self.usage.audio_output,
            gpu_us=self.usage.gpu_us,
            prices=self.setup.prices,
        )
        return End(
            request_id=self.request_id,
            organisation=self.caller.organisation,
            row=orjson.dumps(row),
            decision_id=self.decision_id,
            tenant=self.caller.tenant,
            session=self.ask.session if status == "ok" else "",
            session_value=Standing(self.served.name, self.decision_id, self.chat.turn).dump(),
            tool_calls=tool_call_keys(self.caller, self.ask.session, self.tool_calls),
            reserved=self.hold is not None,
            nano_usd=row.nano_usd,
            limited=any(limit.tokens or limit.concurrency for limit in self.caller.limits),
            tokens=self.usage.input + self.usage.output,
        )

    def headers(self) -> list[tuple[bytes, bytes]]:
        """What the client learns of the decision; its cost only once the answer is complete (streams: `usage.cost`)."""
        decision = self.ruling.decision
        pairs: list[tuple[str, str]] = [
            ("x-request-id", self.request_id),
            ("x-gearshift-decision-id", self.decision_id),
            ("x-gearshift-arm", self.served.name),
            ("x-gearshift-mode", self.served.mode),
            ("x-gearshift-policy", self.setup.policy_label),
            ("x-gearshift-propensity", f"{decision.propensity:.6g}"),
            ("x-gearshift-overhead-ms", f"{self.overhead_s * 1e3:.2f}"),
            # A stream's headers leave while its attempt is under way, and an attempt is recorded when it ends.
            ("x-gearshift-attempts", str(len(self.attempts) + (not self.settled))),
        ]
        if self.fallback_reason is not None:
            pairs.append(("x-gearshift-fallback-reason", self.fallback_reason))
        if self.ruling.kind == "late":
            pairs.append(("x-gearshift-late", "true"))
        if self.settled and self.usage_source != "none" and self.usd is not None:
            pairs.append(("x-gearshift-cost-usd", f"{self.usd:.9f}"))
            if (baseline := same_tokens_usd(self)) is not None:
                pairs.append(("x-gearshift-baseline-cost-usd", f"{baseline:.9f}"))
        encoded = [(name.encode(), value.encode("latin-1", "replace")) for name, value in pairs]
        return encoded + rate_headers(self.allowances)

    def shown(self) -> dict[str, object]:
        """The `gearshift` object of the answer, for clients that asked for it."""
        return {
            "decision_id": self.decision_id,
            "arm": self.served.name,
            "policy": self.setup.policy_label,
            "kind": self.ruling.kind,
            "propensity": self.ruling.decision.propensity,
            "cost_usd": self.usd,
            "attempts": [
                {"deployment": a.deployment, "kind": a.kind, "seconds": round(a.seconds, 4)} for a in self.attempts
            ],
            "fallback_reason": self.fallback_reason,
        }
