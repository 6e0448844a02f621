"""From a request to what a policy may look at: the embedding, in time or not at all, and the cheap features."""

import asyncio
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from policies.context import Context, Floats
from policies.features import estimate_tokens, lexical_features
from router.ask import Ask
from router.encoding import EmbeddingService, EncoderBusy
from router.http.boundary import log_place
from router.metrics import Metrics

NO_EMBEDDING: Floats = np.zeros(0, dtype=np.float32)
TOKENS_PER_IMAGE = 1000  # what common providers bill for one image at most, so the context check errs on the safe side


@dataclass(frozen=True, slots=True)
class Sight:
    """A context, and whether its embedding came in time (or was not asked for)."""

    context: Context
    late: bool


async def timely(encoder: EmbeddingService, text: str, *, within_s: float, metrics: Metrics) -> Floats | None:
    """The embedding of ``text``, or None when it is not there within the deadline or the encoder failed."""
    started = perf_counter()
    try:
        vector = encoder.at_once(text)
        if vector is not None:
            return vector
        async with asyncio.timeout(within_s):
            return await encoder.embed(text)
    except (TimeoutError, EncoderBusy):
        return None
    except Exception as error:
        # An encoder may be a plug-in: one that fails costs the choice, never the answer. Only the stack is logged.
        log_place(error)
        return None
    finally:
        metrics.encoder_seconds.observe(perf_counter() - started)


def looked_at(ask: Ask) -> bool:
    """Whether an embedding is needed: not for a pinned model that is not observed, nor for an arm that is kept,
    nor where the policy looks at none and the tenant lets nobody learn from its traffic."""
    if ask.continues or (ask.target.forced is not None and not ask.caller.config.observe):
        return False
    return ask.caller.config.training or bool(ask.setup.policy.encoder_id)


async def perceive(ask: Ask, *, encoder: EmbeddingService, metrics: Metrics, late_s: float | None = None) -> Sight:
    """Build the context of a request; the embedding only if the policy or the log will look at it."""
    chat, text = ask.chat, ask.chat.route_text
    embedding: Floats | None = NO_EMBEDDING
    if looked_at(ask):
        within_s = ask.setup.config.encoder.late_ms / 1000.0 if late_s is None else late_s
        embedding = await timely(encoder, text, within_s=within_s, metrics=metrics)
    prompt_tokens = estimate_tokens(chat.all_text) + TOKENS_PER_IMAGE * chat.n_images
    features = lexical_features(
        text,
        has_tools=chat.needs_tools,
        wants_schema=chat.needs_schema,
        has_image=chat.needs_images,
        turn=chat.turn,
        prompt_tokens=prompt_tokens,
    )
    context = Context(
        embedding=NO_EMBEDDING if embedding is None else embedding,
        features=features,
        prompt_tokens=prompt_tokens,
        turn=chat.turn,
        needs_tools=chat.needs_tools,
        needs_schema=chat.needs_schema,
        needs_images=chat.needs_images,
        max_tokens=chat.max_tokens,
        last_arm=ask.before.arm if ask.before is not None else "",
    )
    return Sight(context, late=embedding is None)
