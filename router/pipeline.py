"""The way of a chat request, in order: `serve_chat` is the whole of it, one call per step."""

from time import perf_counter

from router.answering import answer
from router.ask import Headers, understand
from router.client import Receive, Send
from router.exchange import Exchange
from router.gateway import Gateway
from router.http.asgi import read_body
from router.http.parse import parse_chat
from router.opening import begin, open_exchange
from router.perceive import perceive
from router.ruling import observe, rule


async def serve_chat(gateway: Gateway, headers: Headers, receive: Receive, send: Send) -> None:
    """Answer one chat completion request.

    Raises:
        ApiError: Nothing was sent to the client yet; the edge turns it into an OpenAI error object.
    """
    started = perf_counter()
    setup = gateway.setup  # requests in flight keep the configuration they began with
    limits = setup.config.server.limits
    caller = setup.tenants.authenticate(headers)
    with gateway.admission.enter(caller, limit=limits.inflight):
        chat = parse_chat(await read_body(receive, headers, limits), limits)
        pace = gateway.pacing.multiplier(caller, gateway.rng)
        ask = await understand(
            setup, chat, caller, headers, sessions=gateway.sessions, secret=gateway.secret, multiplier=pace
        )
        sight = await perceive(ask, encoder=gateway.encoder, metrics=gateway.metrics)
        ruling = rule(ask, sight, rng=gateway.rng, full_modes=gateway.shares.full(caller))
        observed = observe(ask, sight, rng=gateway.rng)
        exchange: Exchange = open_exchange(ask, sight, ruling, observed=observed, headers=headers, started=started)
        await begin(gateway, exchange)  # lease and decision row, before any upstream hears of the request
        await answer(gateway, exchange, receive, send)  # upstream, stream out, settle before the last byte
