"""What a policy may look at: an embedding in time or none, and the cheap features."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
from rig import Given, TinyEncoder, World, body, tree

from router.ask import Ask, understand
from router.encoding import EmbeddingService
from router.http.parse import parse_chat
from router.metrics import Metrics
from router.perceive import TOKENS_PER_IMAGE, looked_at, perceive, timely
from router.tenants import Caller

pytestmark = pytest.mark.asyncio
LOOKING = "tiny-0123456789ab"
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}


@pytest_asyncio.fixture
async def world(valkey_url: str, tmp_path: Path) -> AsyncIterator[World]:
    tenants = {"plain": {}, "private": {"training": False}, "watched": {"observe": True}}
    async with World(valkey_url, tmp_path, tree(tenants=tenants), policy=Given()) as world:
        yield world


async def ask(world: World, sent: dict[str, Any], *, tenant: str = "plain", looking: bool = False) -> Ask:
    gateway, chat = world.gateway, parse_chat(orjson.dumps(sent), world.config.server.limits)
    caller = Caller(tenant, "default", "", world.config.tenants[tenant])
    setup = world.setup_of(world.config, Given(encoder_id=LOOKING if looking else ""))
    return await understand(setup, chat, caller, {}, sessions=gateway.sessions, secret=gateway.secret)


@pytest.mark.parametrize(
    ("model", "tenant", "looking", "made"),
    [
        ("auto", "plain", False, True),  # for the log
        ("auto", "private", False, False),
        ("auto", "private", True, True),  # for the policy
        ("small", "plain", True, False),
        ("small", "watched", False, True),
    ],
)
async def test_an_embedding_is_made_for_who_looks_at_it(
    world: World, model: str, tenant: str, looking: bool, made: bool
) -> None:
    assert looked_at(await ask(world, body(model=model), tenant=tenant, looking=looking)) == made


async def test_a_late_embedding_is_given_up_and_the_text_still_cached_for_the_next(world: World) -> None:
    encoder = TinyEncoder()
    service, metrics = EmbeddingService(encoder), Metrics()
    encoder.gate.clear()
    try:
        assert await timely(service, "text", within_s=0.01, metrics=metrics) is None
        encoder.gate.set()
        assert await timely(service, "text", within_s=5, metrics=metrics) is not None
    finally:
        encoder.gate.set()
        service.close()
    assert await timely(service, "other", within_s=5, metrics=metrics) is None  # closed


async def test_the_context_tells_needs_sizes_and_turns(world: World) -> None:
    sent = {
        "model": "auto",
        "max_tokens": 7,
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "response_format": {"type": "json_object"},
        "messages": [
            {"role": "user", "content": "first"},
            {"role": "assistant", "content": "yes"},
            {"role": "user", "content": [{"type": "text", "text": "second"}, IMAGE, IMAGE]},
        ],
    }
    sight = await perceive(await ask(world, sent), encoder=world.gateway.encoder, metrics=world.gateway.metrics)
    context = sight.context
    assert (context.needs_tools, context.needs_schema, context.needs_images) == (True, True, True)
    assert (context.turn, context.max_tokens) == (2, 7)
    assert 2 * TOKENS_PER_IMAGE < context.prompt_tokens < 2 * TOKENS_PER_IMAGE + 100
    assert (context.embedding == world.encoder.encode(["second"])[0]).all()


async def test_equal_texts_asked_together_are_encoded_once(world: World) -> None:
    asked = await ask(world, body("same"))
    both = [perceive(asked, encoder=world.gateway.encoder, metrics=world.gateway.metrics) for _ in range(2)]
    first, second = await asyncio.gather(*both)
    assert (first.context.embedding == second.context.embedding).all()
    assert world.encoder.texts.count("same") == 1
