"""Embeddings by a configured model: opened, paid and settled like an answer, only that nothing is decided."""

import asyncio
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

import orjson
from ulid import ULID

from policies.features import count_tokens
from policies.policy import ArmFacts
from policies.prices import NANO, UnknownPrice, Usage, cost_nano_usd
from policies.records import AttemptRecord, DecisionRow, OutcomeRow
from router.bill import GENERATED
from router.bound import dearest_nano_usd, gpu_us
from router.closing import record
from router.config.arms import most_seconds
from router.config.schema import Deployment
from router.end_user import end_user_of
from router.errors import BadRequest, StoreDown
from router.gateway import Gateway
from router.http.embedding_usage import read_embedding_usage
from router.http.embeddings import EmbeddingsRequest
from router.http.normal_forms import grown_bytes
from router.http.rate_headers import rate_headers
from router.limiting import limited
from router.opening import told_of_outages
from router.reserving import exceeded
from router.setup import Setup
from router.store.base import End, Start
from router.store.ledger import BudgetRefused, Hold
from router.store.limits import Allowance, Claim, LimitRefused
from router.store.recovery import make_stub, row_json
from router.tenants import Caller
from router.upstreams.base import Call, UpstreamError
from router.upstreams.dispatch import Attempt, fetch, to_api_error

FRAME_TOKENS = 16  # what an endpoint may put around a text; JSON's own marks already outweigh two tokens for each input


@dataclass(slots=True)
class EmbeddingCall:
    """One request to a model that embeds, from its begin to its outcome."""

    setup: Setup
    caller: Caller
    asked: EmbeddingsRequest
    request_id: str
    started: float
    end_user: str | None = None
    attempts: list[AttemptRecord] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    usage_source: str = "none"
    usage_flags: tuple[str, ...] = ()
    upstream_model: str = ""
    overhead_s: float = 0.0
    allowances: tuple[Allowance, ...] = ()

    @property
    def facts(self) -> ArmFacts:
        """The arm that stands for the model: its price and its name in the log."""
        return self.setup.arms[self.setup.standing_for[self.asked.model]]

    @property
    def most_tokens(self) -> int:
        """No tokenizer makes more than one token of a byte of a normal form; a token id is two bytes at least."""
        grown = sum(map(grown_bytes, self.asked.texts)) if self.asked.texts is not None else 0
        return len(self.asked.raw) + grown + FRAME_TOKENS

    @property
    def estimate(self) -> int:
        """Our own count of the input's tokens."""
        if self.asked.texts is not None:
            return sum(map(count_tokens, self.asked.texts))
        return sum(map(len, self.asked.tokens or ()))

    @property
    def hold(self) -> Hold | None:
        """What it can cost at most; None for a tenant without a budget."""
        price = self.facts.price
        if not self.caller.windows or price is None:
            return None
        return Hold(dearest_nano_usd(price, self.most_tokens, 0, seconds=self._most_s), self.caller.windows)

    @property
    def claim(self) -> Claim | None:
        """What it takes of its limits. It chooses no mode, so it counts in no share."""
        return Claim(self.caller.limits, tokens=self.most_tokens) if self.caller.limits else None

    @property
    def lost(self) -> list[Usage]:
        """Of attempts that nobody got an answer from."""
        unanswered = self.attempts[:-1] if self.usage_source != "none" else self.attempts
        ended = (each for each in unanswered if each.kind in GENERATED and each.status < 400)
        return [Usage(input=self.estimate, gpu_us=self._gpu_us(each)) for each in ended]

    @property
    def billed(self) -> Usage:
        """The answer's usage with the time of its attempt."""
        answered = self.usage_source != "none" and self.attempts
        return replace(self.usage, gpu_us=self._gpu_us(self.attempts[-1])) if answered else self.usage

    @property
    def nano_usd(self) -> int | None:
        """Cost so far, None if the model has no price."""
        try:
            return sum(cost_nano_usd(usage, self.facts.price) for usage in (self.billed, *self.lost))
        except UnknownPrice:
            return None

    @property
    def _most_s(self) -> float:
        return most_seconds(self.setup.config.models[self.asked.model])

    def _gpu_us(self, attempt: AttemptRecord) -> int:
        return gpu_us(min(attempt.seconds, self._most_s), self.facts.price)

    def call_for(self, deployment: Deployment) -> Call:
        """Raises UpstreamError: earlier attempts may have cost so much that this one is not paid for."""
        if self.lost and self.hold is not None and self.hold.bound > 0:
            last = self.attempts[-1]
            raise UpstreamError(last.deployment, last.kind, status=last.status)
        body = {**self.asked.body, "model": deployment.model or self.asked.model}
        return Call(body=body, raw=orjson.dumps(body), stream=False, request_id=self.request_id, path="/embeddings")

    def told(self, attempt: Attempt, raw: bytes) -> bytes:
        """The body itself, if it is a list of embeddings. Raises UpstreamError otherwise."""
        try:
            body = orjson.loads(raw)
        except orjson.JSONDecodeError:
            body = None
        if not isinstance(body, dict) or not isinstance(body.get("data"), list):
            raise UpstreamError(attempt.deployment, "garbage", status=200)
        self.upstream_model = attempt.upstream_model
        self.usage, self.usage_source, self.usage_flags = read_embedding_usage(
            body.get("usage"), estimate=self.estimate, bound=self.most_tokens
        )
        return raw

    def headers(self) -> dict[str, str]:
        """What the client learns beside the vectors."""
        nano = self.nano_usd
        cost = {} if nano is None else {"x-gearshift-cost-usd": f"{nano / NANO:.9f}"}
        limits = {name.decode(): value.decode() for name, value in rate_headers(self.allowances)}
        return {"x-request-id": self.request_id, **cost, **limits}

    def start(self) -> Start:
        """A decision without a choice, as a request that names its arm makes one."""
        facts, caller = self.facts, self.caller
        wanted = self.setup.trade_offs[caller.config.trade_off]
        trade_off: list[float | None] = [
            wanted.quality_per_usd, wanted.quality_per_s, wanted.quality_floor, wanted.max_usd,
        ]  # fmt: skip
        row = DecisionRow(
            request_id=self.request_id, decision_id=f"dec-{self.request_id.removeprefix('embd-')}",
            client_request_id=None, organisation=caller.organisation, tenant=caller.tenant, key_id=caller.key_id,
            session="", turn=0, kind="forced", requested_model=self.asked.model, arm=facts.name, arms=[facts.name],
            propensities=[1.0], quality=[None], quality_sd=[None], usd=[None], seconds=[None],
            revisions=[facts.revision], removed={}, trade_off=trade_off,
            explore=0.0, policy=self.setup.policy_label,
            config=self.setup.config_hash, encoder_id="", far=False, state="live", stream=False,
            prompt_tokens=self.estimate, features=[], embedding_dim=0,
            tags=dict(self.asked.hints.tags), end_user=self.end_user,
        )  # fmt: skip
        return Start(self.request_id, caller.organisation, make_stub(row), row_json(row), b"", self.hold, self.claim)

    def end(self, *, status: str, http_status: int, error: str | None = None) -> End:
        """Its outcome."""
        usage, caller = self.billed, self.caller
        row = OutcomeRow(
            request_id=self.request_id, decision_id=f"dec-{self.request_id.removeprefix('embd-')}",
            client_request_id=None, organisation=caller.organisation, tenant=caller.tenant, status=status,
            http_status=http_status, served_arm=self.facts.name, upstream_model=self.upstream_model,
            input_tokens=usage.input, output_tokens=0, cached_input_tokens=0, cache_write_tokens=0,
            reasoning_tokens=0, usage_source=self.usage_source, usage_flags=list(self.usage_flags),
            nano_usd=self.nano_usd, seconds=perf_counter() - self.started, ttft_s=None, overhead_s=self.overhead_s,
            finish_reasons=[], tool_calls=0, attempts=self.attempts, error=error,
            cache_write_1h_tokens=0, audio_input_tokens=0, audio_output_tokens=0, gpu_us=usage.gpu_us,
            prices=self.setup.prices,
        )  # fmt: skip
        return End(
            self.request_id, caller.organisation, row_json(row), row.decision_id, caller.tenant,
            reserved=self.hold is not None, nano_usd=row.nano_usd,
            limited=any(limit.tokens or limit.concurrency for limit in caller.limits), tokens=usage.input,
        )  # fmt: skip


async def embed_upstream(gateway: Gateway, asked: EmbeddingsRequest, caller: Caller) -> tuple[bytes, dict[str, str]]:
    """The endpoint's vectors, and headers to go with them.

    Raises:
        ApiError: The budget has no room, the store is down, or no endpoint answered; the outcome is settled.
    """
    end_user = end_user_of(caller, asked.end_user, gateway.secret)
    call = EmbeddingCall(gateway.setup, caller, asked, f"embd-{ULID()}", perf_counter(), end_user)
    if caller.windows and call.facts.price is None:
        raise BadRequest(
            f"the price of model {asked.model!r} is unknown, so it cannot be paid from a budget; use another model",
            param="model",
        )
    await _begin(gateway, call)
    call.overhead_s = perf_counter() - call.started
    try:
        raw = await fetch(
            call.setup.deployments, asked.model, call.call_for, arm=call.facts.name, revision=call.facts.revision,
            attempts=call.attempts, read=call.told,
        )  # fmt: skip
    except UpstreamError as failure:
        error = to_api_error(failure)
        await _settle(gateway, call, status="error", http_status=error.status, error=error.code)
        raise error from failure
    except asyncio.CancelledError:
        await _settle(gateway, call, status="cancelled", http_status=499)
        raise
    except Exception:
        await _settle(gateway, call, status="error", http_status=500, error="internal_error")
        raise
    if not await _settle(gateway, call, status="ok", http_status=200):
        raise StoreDown("the outcome could not be recorded, so the answer is withheld; try again")
    return raw, call.headers()


async def _begin(gateway: Gateway, call: EmbeddingCall) -> None:
    start = call.start()
    with told_of_outages(budgeted=start.hold is not None):
        try:
            call.allowances = await gateway.store.begin(start)
        except LimitRefused as refused:
            gateway.metrics.limit_refused(call.caller.tenant, refused.kind)
            raise limited(refused) from None
        except BudgetRefused as refused:
            gateway.metrics.budget_refused(call.caller.tenant, "rejected")
            assert start.hold is not None
            raise exceeded(refused, start.hold.bound) from None
        except asyncio.CancelledError:
            await _settle(gateway, call, status="cancelled", http_status=499)  # it may have come through
            raise


async def _settle(gateway: Gateway, call: EmbeddingCall, **how: Any) -> bool:
    end = call.end(**how)
    gateway.metrics.embedded(call, how["status"])
    return await record(gateway.store, end)
