"""From an open exchange to its end: upstream, fall-backs, bytes to the client, and exactly one settled outcome."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice
from typing import TypeVar

import orjson

from policies.policy import ArmFacts
from policies.records import AttemptRecord
from router.bound import bound_nano_usd
from router.client import ClientWatch, Receive, Send
from router.closing import settle
from router.config.arms import most_seconds
from router.config.schema import Config, Deployment
from router.errors import ApiError, StoreDown, Unavailable
from router.exchange import Exchange
from router.gateway import Gateway
from router.http.answer import Answer, read_answer, render
from router.http.asgi import send_body
from router.outgoing import outgoing, sent_max_tokens
from router.streaming import OpenStream, open_stream, pump
from router.upstreams.base import Call, UpstreamError
from router.upstreams.dispatch import MAX_ATTEMPTS, WAIT_MAX_S, Attempt, fetch, to_api_error, worth_falling_back

MAX_FALLBACKS = 2
Got = TypeVar("Got", Answer, OpenStream)


def most_seconds_of_request(config: Config) -> float:
    """How long a request may take until nothing is tried any more: each attempt at each arm, and the waits between."""
    longest_s = max((most_seconds(model) for model in config.models.values()), default=0.0)
    return MAX_ATTEMPTS * (1 + MAX_FALLBACKS) * (longest_s + WAIT_MAX_S)


async def answer(gateway: Gateway, exchange: Exchange, receive: Receive, send: Send) -> None:
    """Answer the client and settle, whatever happens: an answer, an error, a client that left, a shutdown.

    Raises:
        ApiError: The request failed before the first byte; its outcome is settled.
    """
    with ClientWatch(receive) as watch:
        try:
            if exchange.chat.stream:
                await _stream(gateway, exchange, watch, send)
            else:
                await _plain(gateway, exchange, watch, send)
        except asyncio.CancelledError:
            over = exchange.settled or exchange.ttft_s is not None  # something was sent, or is about to be
            if exchange.attempts and exchange.attempts[-1].kind == "cancelled":
                exchange.counted(None)  # an upstream was at work
            await settle(gateway, exchange, status="cancelled", http_status=499)
            if watch.gone:
                return
            if over:
                raise
            raise _draining(exchange) from None
        except ApiError as error:
            await settle(gateway, exchange, status="error", http_status=error.status, error=error.code)
            error.headers = exchange.headers()  # so that the failure can be found in the log
            raise
        except Exception:
            # A mistake of ours is still an end: the row must not wait for the lease to run out.
            await settle(gateway, exchange, status="error", http_status=500, error="internal_error")
            raise


def _draining(exchange: Exchange) -> ApiError:
    error = Unavailable("this gateway is shutting down; ask another one", code="draining", retry_after_s=1)
    error.headers = exchange.headers()
    return error


async def _plain(gateway: Gateway, exchange: Exchange, watch: ClientWatch, send: Send) -> None:
    got = await _over_arms(exchange, _whole)
    exchange.told(got.usage, got.generated, finish_reasons=got.finish_reasons)
    shown = exchange.shown() if exchange.chat.hints.include_gearshift else None
    # Before it is settled: an answer that cannot be written is not settled as one that was given.
    body = render(got, usage=exchange.usage, cost_usd=exchange.usd, gearshift=shown)
    watch.stop()  # the answer is complete: from here on it is settled as such, whether or not the client still reads
    if not await settle(gateway, exchange, status="ok", http_status=200):
        raise StoreDown("the outcome could not be recorded, so the answer is withheld; try again")
    await send_body(send, 200, body, exchange.headers())


async def _stream(gateway: Gateway, exchange: Exchange, watch: ClientWatch, send: Send) -> None:
    stream = await _over_arms(exchange, _opened)
    try:
        await pump(gateway, exchange, stream, watch=watch, send=send)
    finally:
        stream.sent.attempt.abandoned()
        # What was generated is billed, also when nobody waits for the rest.
        exchange.counted(stream.relay.generated, stream.relay.usage)
        await stream.sent.reply.aclose()


async def _over_arms(exchange: Exchange, obtain: Callable[[Exchange], Awaitable[Got]]) -> Got:
    """Try the drawn arm, then the fall-backs; the first that begins to answer serves.

    Raises:
        ApiError: None did; the drawn arm's own error is what the client learns.
    """
    first: UpstreamError | None = None
    for arm in _order(exchange):
        exchange.served = arm
        try:
            return await obtain(exchange)
        except UpstreamError as error:
            first = first or error
            exchange.fallback_reason = first.kind
            if not worth_falling_back(error):
                break
    exchange.served, exchange.fallback_reason = exchange.ruling.decision.arm, None
    assert first is not None  # the drawn arm is always tried
    raise to_api_error(first) from first


def _order(exchange: Exchange) -> Iterator[ArmFacts]:
    """The drawn arm, the declared fallback, then the likeliest of other models; only the named one when forced."""
    decision, setup = exchange.ruling.decision, exchange.setup
    yield decision.arm
    if exchange.ruling.kind == "forced":
        return
    pairs = zip(decision.arms, decision.propensities, strict=True)
    others = sorted(
        (pair for pair in pairs if pair[0].arm.model != decision.arm.arm.model),
        key=lambda pair: (pair[0].name != setup.fallback, -pair[1]),
    )
    up = (arm for arm, _ in others if setup.deployments.healthy(arm.arm.model) is None)
    yield from islice((arm for arm in up if affords(exchange, arm)), MAX_FALLBACKS)


def call_for(exchange: Exchange, deployment: Deployment) -> Call:
    """The call of the serving arm to one deployment.

    Raises:
        OverReservation: Attempts before it may have cost so much that this one could overspend what is reserved.
    """
    if exchange.attempts and not affords(exchange, exchange.served):
        raise OverReservation(exchange.attempts[-1])
    body = outgoing(
        exchange.ask,
        exchange.served,
        model=deployment.model or exchange.served.arm.model,
        prompt_tokens=exchange.sight.context.prompt_tokens,
    )
    exchange.sent_max_tokens = sent_max_tokens(body)
    return Call(body=body, raw=orjson.dumps(body), stream=exchange.chat.stream, request_id=exchange.request_id)


def affords(exchange: Exchange, arm: ArmFacts) -> bool:
    """Whether an attempt of this arm fits what is reserved, beside what earlier attempts may have cost."""
    if exchange.hold is None:
        return True
    bound = bound_nano_usd(exchange.ask, arm, prompt_tokens=exchange.sight.context.prompt_tokens)
    return bound <= exchange.hold.bound - exchange.lost_nano_usd


class OverReservation(UpstreamError):
    """Another attempt is not paid for; what the client learns is how the last one ended."""

    def __init__(self, last: AttemptRecord) -> None:
        super().__init__(last.deployment, last.kind, status=last.status)


async def _whole(exchange: Exchange) -> Answer:
    """The whole answer of the serving arm."""
    arm = exchange.served

    def read(attempt: Attempt, raw: bytes) -> Answer:
        exchange.upstream_model = attempt.upstream_model
        return read_answer(raw, request_id=exchange.request_id, upstream=attempt.deployment)

    return await fetch(
        exchange.setup.deployments,
        arm.arm.model,
        lambda deployment: call_for(exchange, deployment),
        arm=arm.name,
        revision=arm.revision,
        attempts=exchange.attempts,
        read=read,
    )


async def _opened(exchange: Exchange) -> OpenStream:
    return await open_stream(exchange, lambda deployment: call_for(exchange, deployment))
