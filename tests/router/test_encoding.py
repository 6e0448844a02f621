"""The encoder's thread: equal texts encoded once, callers independent of each other, cache and queue bounded."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest
import pytest_asyncio

from policies.encoders.base import Vectors
from router.encoding import EmbeddingService, EncoderBusy


class Gated:
    """A small real encoder: character counts, normalised; it waits while the gate is shut."""

    encoder_id, name, dim = "gated-000000000000", "gated", 27

    def __init__(self) -> None:
        self.gate, self.started, self.seen, self.closed = threading.Event(), threading.Event(), list[str](), False
        self.gate.set()

    def encode(self, texts: Sequence[str]) -> Vectors:
        self.started.set()
        self.gate.wait(10)
        self.seen += texts
        if "poison" in texts:
            raise ValueError("cannot encode")
        rows = [[text.count(chr(97 + i)) for i in range(26)] + [1] for text in texts]
        vectors = np.array(rows, np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def close(self) -> None:
        self.closed = True


@pytest_asyncio.fixture
async def encoder() -> Gated:
    return Gated()


@pytest_asyncio.fixture
async def service(encoder: Gated) -> AsyncIterator[EmbeddingService]:
    service = EmbeddingService(encoder, cache_entries=3, max_queued=4)
    yield service
    encoder.gate.set()
    service.close()


async def shut(encoder: Gated, service: EmbeddingService) -> asyncio.Task[object]:
    """Occupy the thread with a first text until the gate opens."""
    encoder.gate.clear()
    encoder.started.clear()
    task: asyncio.Task[object] = asyncio.create_task(service.embed("first"))
    await asyncio.to_thread(encoder.started.wait, 10)
    return task


async def turns_of_the_loop(n: int = 3) -> None:
    for _ in range(n):
        await asyncio.sleep(0)


@pytest.mark.asyncio
async def test_a_vector_equals_the_encoders_own(encoder: Gated, service: EmbeddingService) -> None:
    vector = await service.embed("hello")
    assert vector.tobytes() == encoder.encode(["hello"])[0].tobytes()
    assert (service.dim, service.encoder_id) == (27, "gated-000000000000")
    with pytest.raises(ValueError, match="read-only"):
        vector[0] = 1.0


@pytest.mark.asyncio
async def test_a_text_is_encoded_once_and_then_cached(encoder: Gated, service: EmbeddingService) -> None:
    assert await service.embed("a") is await service.embed("a")
    assert encoder.seen == ["a"]
    assert (service.hits, service.misses) == (1, 1)


@pytest.mark.asyncio
async def test_the_least_recently_used_vector_is_dropped(encoder: Gated, service: EmbeddingService) -> None:
    for text in ("a", "b", "c", "a", "d", "a", "b"):
        await service.embed(text)
    assert encoder.seen == ["a", "b", "c", "d", "b"]


@pytest.mark.asyncio
async def test_equal_texts_asked_together_are_encoded_once(encoder: Gated, service: EmbeddingService) -> None:
    first = await shut(encoder, service)
    tasks = [asyncio.create_task(service.embed("same")) for _ in range(50)]
    await turns_of_the_loop()
    assert service.queued == 2
    encoder.gate.set()
    await asyncio.gather(first, *tasks)
    assert encoder.seen == ["first", "same"]


@pytest.mark.asyncio
async def test_a_cancelled_caller_leaves_the_others_alone(encoder: Gated, service: EmbeddingService) -> None:
    first = await shut(encoder, service)
    leaves, stays = (asyncio.create_task(service.embed("same")) for _ in range(2))
    await turns_of_the_loop()
    leaves.cancel()
    encoder.gate.set()
    assert (await stays).shape == (27,)
    assert leaves.cancelled()
    await first


@pytest.mark.asyncio
async def test_a_timed_out_text_under_way_still_reaches_the_cache(encoder: Gated, service: EmbeddingService) -> None:
    first = await shut(encoder, service)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await service.embed("first")
    encoder.gate.set()
    await first
    await service.embed("first")
    assert encoder.seen == ["first"]


@pytest.mark.asyncio
async def test_a_queued_text_that_nobody_waits_for_is_dropped(encoder: Gated, service: EmbeddingService) -> None:
    first = await shut(encoder, service)
    given_up = asyncio.create_task(service.embed("given up"))
    await turns_of_the_loop()
    given_up.cancel()
    await turns_of_the_loop()
    encoder.gate.set()
    await first
    await service.embed("last")
    assert encoder.seen == ["first", "last"]
    assert service.queued == 0


@pytest.mark.asyncio
async def test_a_text_wanted_again_after_it_was_given_up_is_encoded(encoder: Gated, service: EmbeddingService) -> None:
    first = await shut(encoder, service)
    given_up = asyncio.create_task(service.embed("again"))
    await turns_of_the_loop()
    given_up.cancel()
    await turns_of_the_loop()
    wanted = asyncio.create_task(service.embed("again"))
    encoder.gate.set()
    assert (await wanted).shape == (27,)
    await first


@pytest.mark.asyncio
async def test_a_full_queue_refuses(encoder: Gated, service: EmbeddingService) -> None:
    first = await shut(encoder, service)
    queued = [asyncio.create_task(service.embed(f"text {i}")) for i in range(3)]
    await turns_of_the_loop()
    with pytest.raises(EncoderBusy, match="4 texts wait"):
        await service.embed("one too many")
    encoder.gate.set()
    await asyncio.gather(first, *queued)
    assert (await service.embed("one too many")).shape == (27,)


@pytest.mark.asyncio
async def test_a_failure_reaches_only_those_who_asked_for_that_text(encoder: Gated, service: EmbeddingService) -> None:
    first = await shut(encoder, service)
    bad, good = (asyncio.create_task(service.embed(text)) for text in ("poison", "fine"))
    await turns_of_the_loop()
    encoder.gate.set()
    with pytest.raises(ValueError, match="cannot encode"):
        await bad
    assert (await good).shape == (27,)
    await first
    with pytest.raises(ValueError, match="cannot encode"):  # a failure is not cached
        await service.embed("poison")


@pytest.mark.asyncio
async def test_closing_fails_the_waiting_and_closes_the_encoder(encoder: Gated, service: EmbeddingService) -> None:
    first = await shut(encoder, service)
    queued = asyncio.create_task(service.embed("queued"))
    await turns_of_the_loop()
    threading.Timer(0.05, encoder.gate.set).start()
    service.close()
    service.close()
    for task in (first, queued):
        with pytest.raises(EncoderBusy, match="closed"):
            await task
    with pytest.raises(EncoderBusy, match="closed"):
        await service.embed("late")
    assert encoder.closed
    assert encoder.seen == ["first"]


@pytest.mark.asyncio
async def test_a_lone_surrogate_can_be_asked_for(service: EmbeddingService) -> None:
    assert (await service.embed("\ud800")).shape == (27,)


@pytest.mark.asyncio
async def test_the_loop_runs_on_while_the_encoder_works(encoder: Gated, service: EmbeddingService) -> None:
    first = await shut(encoder, service)
    await turns_of_the_loop(100)
    assert not first.done()
    encoder.gate.set()
    await first


class Quick(Gated):
    """The same encoder, said to be quick."""

    is_quick = True


@pytest.mark.asyncio
async def test_a_quick_encoder_answers_at_once_and_fills_the_cache() -> None:
    service = EmbeddingService(Quick(), cache_entries=2)
    first, again = service.at_once("hello"), service.at_once("hello")
    assert first is not None
    assert again is first
    assert (service.misses, service.hits) == (1, 1)
    service.close()


@pytest.mark.asyncio
async def test_a_slow_encoder_has_nothing_at_once_but_what_is_cached(service: EmbeddingService) -> None:
    assert service.at_once("hello") is None
    vector = await service.embed("hello")
    assert service.at_once("hello") is vector


@pytest.mark.asyncio
async def test_a_quick_encoder_that_is_closed_or_fails_says_so() -> None:
    service = EmbeddingService(Quick())
    with pytest.raises(ValueError, match="cannot encode"):
        service.at_once("poison")
    service.close()
    with pytest.raises(EncoderBusy):
        service.at_once("hello")
