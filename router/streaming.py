"""Streams: nothing is handed on before content begins, so a broken start is tried again unseen; then only the truth."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from time import perf_counter

from router.client import ClientWatch, Send
from router.closing import settle
from router.config.schema import Deployment
from router.errors import StoreDown
from router.exchange import Exchange
from router.gateway import Gateway
from router.http.asgi import end_stream, send_chunk, start_stream
from router.http.relay import StreamRelay, error_event
from router.upstreams.base import Call, UpstreamError
from router.upstreams.dispatch import Sent, dispatch, retry_allowed, to_api_error

MAX_KEPT_BYTES = 65_536  # of chunks that say nothing


@dataclass(frozen=True, slots=True)
class OpenStream:
    """A stream that has begun to say something, with all of it so far as ``first``."""

    sent: Sent
    relay: StreamRelay
    first: bytes
    rest: AsyncIterator[bytes]


async def open_stream(exchange: Exchange, call_for: Callable[[Deployment], Call]) -> OpenStream:
    """Call the serving arm until a stream has begun to say something.

    Raises:
        UpstreamError: None began; nothing was handed on.
    """
    deployments, arm = exchange.setup.deployments, exchange.served
    while True:
        sent = await dispatch(
            deployments, arm.arm.model, call_for, arm=arm.name, revision=arm.revision, attempts=exchange.attempts
        )
        exchange.upstream_model = sent.attempt.upstream_model
        try:
            return await _begun(exchange, sent)
        except UpstreamError as error:
            sent.attempt.failed(error)
            await sent.reply.aclose()
            if not retry_allowed(deployments, error, arm=arm.name, attempts=exchange.attempts):
                raise
        except BaseException:
            sent.attempt.abandoned()
            await sent.reply.aclose()
            raise


async def _begun(exchange: Exchange, sent: Sent) -> OpenStream:
    relay = StreamRelay(
        exchange.request_id, include_usage=exchange.chat.include_usage, upstream=sent.attempt.deployment
    )
    chunks = aiter(sent.reply.chunks())
    # A role alone is no answer: kept back, an attempt that breaks right after it can still be made again unseen.
    first = b""
    async for data in chunks:
        first += relay.feed(data)
        if relay.said or relay.done or len(first) > MAX_KEPT_BYTES:
            break
    if not relay.said and len(first) <= MAX_KEPT_BYTES:
        relay.end()  # raises unless the whole answer is here: one without a word
    exchange.ttft_s = perf_counter() - exchange.started
    return OpenStream(sent, relay, first, chunks)


async def pump(gateway: Gateway, exchange: Exchange, stream: OpenStream, *, watch: ClientWatch, send: Send) -> None:
    """Hand the stream on. The finish chunk, the usage and [DONE] wait until the outcome is settled.

    A stream that breaks ends in an error event: never in a finish_reason that the upstream did not send.
    """
    relay = stream.relay
    await start_stream(send, exchange.headers())
    try:
        if stream.first:
            await send_chunk(send, stream.first)
        async for data in rest_of(stream):
            out = relay.feed(data)
            if out:
                await send_chunk(send, out)
        relay.end()
    except UpstreamError as error:
        stream.sent.attempt.failed(error)
        exchange.counted(relay.generated, relay.usage)
        await settle(gateway, exchange, status="upstream_cut", http_status=200, error=error.kind)
        await end_stream(send, error_event(to_api_error(error)))
        return
    stream.sent.attempt.ended()
    exchange.told(relay.usage, relay.generated, finish_reasons=relay.finish_reasons)
    last = tail(exchange, relay)  # before it is settled, see `answering`
    watch.stop()
    if await settle(gateway, exchange, status="ok", http_status=200):
        await end_stream(send, last)
    else:
        await end_stream(send, error_event(StoreDown("the outcome could not be recorded; the stream ends here")))


async def rest_of(stream: OpenStream) -> AsyncIterator[bytes]:
    """The bytes still to come, until the relay wants no more: some upstreams keep a finished stream open."""
    while not stream.relay.done:
        try:
            yield await anext(stream.rest)
        except StopAsyncIteration:
            return


def tail(exchange: Exchange, relay: StreamRelay) -> bytes:
    """Finish chunk, usage chunk if asked for, [DONE]."""
    shown = exchange.shown() if exchange.chat.hints.include_gearshift else None
    return relay.tail(usage=exchange.usage, cost_usd=exchange.usd, gearshift=shown)
