"""The API beside the chat route: models, embeddings, decide, feedback, health and metrics."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from ulid import ULID

from policies.features import estimate_tokens
from policies.records import FeedbackRow
from router.config.caps import is_within
from router.eligible import Needs, forbidden
from router.embedding_call import embed_upstream
from router.encoding import EncoderBusy, Vector
from router.errors import BadRequest, NotFound, StoreDown, Unavailable
from router.explain import explained
from router.gateway import Gateway
from router.http.asgi import read_body
from router.http.embeddings import EmbeddingsRequest, embeddings_body, parse_embeddings
from router.http.feedback import parse_feedback
from router.http.parse import parse_decide
from router.metrics import render
from router.setup import Setup
from router.store.base import StoreUnavailable
from router.tenants import Caller

JSON = "application/json"


class Routes:
    """Handlers over one gateway."""

    def __init__(self, gateway: Gateway, *, metrics_dir: Path) -> None:
        self._gateway, self._metrics_dir = gateway, metrics_dir

    def install(self, app: FastAPI) -> None:
        """Register every route under its path."""
        routes: list[tuple[str, str, Callable[..., Any], str]] = [
            ("GET", "/v1/models", self.models, "Virtual models, models and arms"),
            ("GET", "/v1/models/{name:path}", self.model, "One of them"),
            ("POST", "/v1/embeddings", self.embeddings, "Embed with the gateway's encoder or a configured model"),
            ("POST", "/v1/decide", self.decide, "The decision for a chat request, without the call"),
            ("POST", "/v1/feedback", self.feedback, "How good an answer was"),
            ("GET", "/healthz", self.healthz, "The process is up"),
            ("GET", "/readyz", self.readyz, "Requests can be answered and recorded"),
            ("GET", "/metrics", self.metrics, "Prometheus series of all workers"),
        ]
        for method, path, handler, summary in routes:
            app.add_api_route(path, handler, methods=[method], summary=summary, response_class=Response)

    async def models(self, request: Request) -> Response:
        """OpenAI's list object of what the caller may ask for; `gearshift` says what kind of name each is."""
        return _json({"object": "list", "data": self._cards(self._caller(request))})

    async def model(self, request: Request, name: str) -> Response:
        for card in self._cards(self._caller(request)):
            if card["id"] == name:
                return _json(card)
        raise NotFound(f"no model, arm or virtual model is called {name[:80]!r}", param="model", code="model_not_found")

    def _cards(self, caller: Caller) -> list[dict[str, Any]]:
        kinds = [*allowed_names(self._gateway.setup, caller), ("encoder", [self._gateway.encoder.encoder_id])]
        return [
            {"id": name, "object": "model", "created": 0, "owned_by": "gearshift", "gearshift": {"kind": kind}}
            for kind, names in kinds
            for name in names
        ]

    async def embeddings(self, request: Request) -> Response:
        caller = self._caller(request)
        with self._place(caller):
            return await self._embeddings(caller, await self._body(request))

    async def _embeddings(self, caller: Caller, raw: bytes) -> Response:
        asked = parse_embeddings(raw, self._gateway.setup.config.server.limits)
        if asked.model in self._gateway.setup.standing_for:
            return await self._embeddings_upstream(asked, caller)
        if asked.model not in ("auto", self._gateway.encoder.encoder_id, self._gateway.setup.config.encoder.name):
            raise NotFound(
                f"no model is called {asked.model[:80]!r}; use auto for the gateway's own encoder",
                param="model",
                code="model_not_found",
            )
        if asked.texts is None:
            raise BadRequest("input: token ids can only be read by the model they belong to; send text", param="input")
        dim = self._gateway.encoder.dim
        if asked.dimensions not in (None, dim):
            raise BadRequest(f"dimensions: this encoder has {dim}; leave it out", param="dimensions")
        vectors = [await self._embedding(text) for text in asked.texts]
        tokens = sum(map(estimate_tokens, asked.texts))
        body = embeddings_body(
            vectors, model=self._gateway.encoder.encoder_id, form=asked.encoding_format, prompt_tokens=tokens
        )
        return _json(body)

    async def _embedding(self, text: str) -> Vector:
        try:
            return await self._gateway.encoder.embed(text)
        except EncoderBusy as busy:
            raise Unavailable(str(busy), code="encoder_busy", retry_after_s=1) from busy

    async def _embeddings_upstream(self, asked: EmbeddingsRequest, caller: Caller) -> Response:
        model, allowed, hints = self._gateway.setup.config.models[asked.model], caller.allowed, asked.hints
        if (allowed.models is not None and asked.model not in allowed.models) or not is_within(model, allowed.regions):
            raise NotFound(
                f"model {asked.model!r} is not allowed for this tenant", param="model", code="model_not_found"
            )
        near = hints.regions if hints.regions or hints.residency else None
        if asked.model not in (hints.models or (asked.model,)) or not is_within(model, near):
            raise BadRequest(
                f"model {asked.model!r} is not among gearshift.models, or not within gearshift.regions and residency; "
                "drop the demand or name another model",
                param="model",
                code="no_eligible_model",
            )
        raw, headers = await embed_upstream(self._gateway, asked, caller)
        return Response(raw, media_type=JSON, headers=headers)

    async def decide(self, request: Request) -> Response:
        caller = self._caller(request)
        with self._place(caller):
            chat = parse_decide(await self._body(request), self._gateway.setup.config.server.limits)
            return _json(await explained(self._gateway, chat, caller, dict(request.scope["headers"])))

    async def feedback(self, request: Request) -> Response:
        caller, setup = self._caller(request), self._gateway.setup
        asked = parse_feedback(await self._body(request), setup.config.server.limits, metrics=setup.config.feedback)
        # A decision bears the ULID of the request it was made for.
        request_id = asked.request_id
        if request_id.startswith("dec-"):
            request_id = f"chatcmpl-{request_id.removeprefix('dec-')}"
        try:
            owner = await self._gateway.store.request_owner(caller.organisation, request_id)
            if owner is None or owner[1] != caller.tenant:
                raise NotFound(
                    "no answer with this id was given to this tenant in the last 30 days",
                    param="response_id",
                    code="unknown_response",
                )
            row = FeedbackRow(
                feedback_id=f"fb-{ULID()}",
                request_id=request_id,
                decision_id=owner[0],
                organisation=caller.organisation,
                tenant=caller.tenant,
                metric=asked.metric,
                value=asked.value,
                source=asked.source,
                comment=asked.comment if caller.config.store_prompts else None,
                tags=asked.tags,
            )
            feedback_id = await self._gateway.store.feedback(
                caller.organisation, row=orjson.dumps(row), idempotency_key=_idempotency_key(caller, request)
            )
        except StoreUnavailable as down:
            raise StoreDown(
                "the store is down, so the feedback was not taken; send it again", retry_after_s=1
            ) from down
        self._gateway.metrics.feedback.labels(asked.metric).inc()
        return _json({"feedback_id": feedback_id, "decision_id": owner[0], "request_id": request_id})

    async def healthz(self) -> Response:
        if self._gateway.admission.draining:
            raise Unavailable("shutting down", code="draining")
        return _json({"status": "ok"})

    async def readyz(self) -> Response:
        """Ready when outcomes can be recorded; models that still load are named, and say so to who asks for them."""
        if self._gateway.admission.draining:
            raise Unavailable("shutting down", code="draining")
        setup = self._gateway.setup
        if setup.config.store.when_down == "reject":
            try:
                await self._gateway.store.ping()
            except StoreUnavailable as down:
                raise StoreDown("the store does not answer") from down
        waiting = {model: why for model in setup.standing_for if (why := setup.deployments.healthy(model))}
        return _json({"status": "ready", "policy": setup.policy_label, "config": setup.config_hash, "waiting": waiting})

    async def metrics(self) -> Response:
        return Response(render(self._metrics_dir), media_type="text/plain; version=0.0.4; charset=utf-8")

    def _caller(self, request: Request) -> Caller:
        return self._gateway.setup.tenants.authenticate(dict(request.scope["headers"]))

    def _place(self, caller: Caller) -> AbstractContextManager[None]:
        """A place among the requests in flight: embedding and deciding cost what a chat request's do."""
        return self._gateway.admission.enter(caller, limit=self._gateway.setup.config.server.limits.inflight)

    async def _body(self, request: Request) -> bytes:
        return await read_body(
            request.receive, dict(request.scope["headers"]), self._gateway.setup.config.server.limits
        )


def allowed_names(setup: Setup, caller: Caller) -> list[tuple[str, list[str]]]:
    """By kind, the names under which the tenant's allow-lists let it ask for an answer."""
    allowed = caller.allowed
    needs = Needs(models=allowed.models, modes=allowed.modes, regions=allowed.regions)
    arms = {each.facts.name: each.facts for each in setup.candidates if forbidden(each, needs) is None}
    lost = {facts.mode for facts in setup.arms.values()} - {facts.mode for facts in arms.values()}
    return [
        ("virtual", [name for name in setup.virtual if arms and name.removeprefix("auto:") not in lost]),
        ("model", [model for model, standing in setup.standing_for.items() if standing in arms]),
        ("arm", list(arms)),
    ]


def _idempotency_key(caller: Caller, request: Request) -> str:
    """The client's key within its tenant: tenants of one organisation choose theirs without knowing of each other."""
    key = request.headers.get("idempotency-key", "")
    return f"{len(caller.tenant)}:{caller.tenant}:{key}" if key else ""


def _json(body: Any) -> Response:
    return Response(orjson.dumps(body), media_type=JSON)
