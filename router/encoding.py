"""Embeddings: a cache by the hash of the text, and one thread off the event loop for encoders that are not quick."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import blake2b
from queue import SimpleQueue
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from policies.encoders.base import Encoder

Vector = NDArray[np.float32]
_HAND_OVER_S = 0.001  # finished vectors wait at most this long for others, to share one wake-up of the event loop


def _key(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class EncoderBusy(Exception):
    """The encoder's queue is full or closed; decide without an embedding."""


@dataclass(eq=False, slots=True)
class _Job:
    """One text on its way through the encoder; `waiters` changes on the event loop's thread only."""

    key: bytes
    text: str
    future: asyncio.Future[Vector]
    waiters: int


@dataclass(slots=True)
class _Done:
    """What the encoder thread hands over at once: vectors, failures, and jobs left because nobody waited."""

    vectors: list[tuple[_Job, Vector]] = field(default_factory=list)
    failures: list[tuple[_Job, Exception]] = field(default_factory=list)
    skipped: list[_Job] = field(default_factory=list)


class EmbeddingService:
    """Wraps an encoder for one event loop; owns it, and closes it if it can be closed.

    Equal texts asked for together are encoded once. A caller that is cancelled or times out leaves the others alone;
    a queued text that nobody waits for any more is dropped, so that a burst leaves no backlog.
    """

    def __init__(self, encoder: Encoder, *, cache_entries: int = 8192, max_queued: int = 256) -> None:
        """`cache_entries`: vectors kept, least recently used dropped; `max_queued`: distinct texts under way."""
        self._encoder = encoder
        self._cache_entries, self._max_queued = cache_entries, max_queued
        self._cache: OrderedDict[bytes, Vector] = OrderedDict()
        self._under_way: dict[bytes, _Job] = {}
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._closed = False
        # An encoder may say that a text takes it well under a millisecond: the way to a thread and back costs more CPU.
        self._is_quick = bool(getattr(encoder, "is_quick", False))
        self.hits = self.misses = 0
        self._thread = threading.Thread(target=self._work, name="encoder", daemon=True)
        self._thread.start()

    @property
    def encoder(self) -> Encoder:
        """The wrapped encoder; only the service may encode with it."""
        return self._encoder

    @property
    def encoder_id(self) -> str:
        """The encoder's id."""
        return self._encoder.encoder_id

    @property
    def dim(self) -> int:
        """Length of one embedding."""
        return self._encoder.dim

    @property
    def queued(self) -> int:
        """Distinct texts under way."""
        return len(self._under_way)

    async def embed(self, text: str) -> Vector:
        """The L2-normalised embedding of a text, float32, shape (dim,), read-only.

        Raises:
            EncoderBusy: Too many texts are under way, or the service is closed.
            EncoderError: The encoder failed on this text.
        """
        vector = self.at_once(text)
        if vector is not None:
            return vector
        self.misses += 1
        job = self._join(_key(text), text)
        try:
            return await asyncio.shield(job.future)
        finally:
            job.waiters -= 1

    def at_once(self, text: str) -> Vector | None:
        """The embedding if it takes no waiting: it is cached, or the encoder is a quick one. None otherwise.

        Raises:
            EncoderBusy: The service is closed.
            EncoderError: The encoder failed on this text.
        """
        key = _key(text)
        cached = self._cache.get(key)
        if cached is not None:
            self.hits += 1
            self._cache.move_to_end(key)
            return cached
        if not self._is_quick:
            return None
        if self._closed:
            raise EncoderBusy("the encoder is closed")
        self.misses += 1
        vector = self._vector(text)
        self._remember(key, vector)
        return vector

    def close(self) -> None:
        """Refuse new texts, fail those under way, and end the thread after the text it is at. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        for job in self._under_way.values():
            self._fail(job, EncoderBusy("the encoder is closed"))
        self._under_way.clear()
        self._thread.join()
        close = getattr(self._encoder, "close", None)
        if close is not None:
            close()

    def _join(self, key: bytes, text: str) -> _Job:
        """The job of this text, new or under way, with one waiter more."""
        job = self._under_way.get(key)
        if job is not None:
            job.waiters += 1
            return job
        if self._closed:
            raise EncoderBusy("the encoder is closed")
        if len(self._under_way) >= self._max_queued:
            raise EncoderBusy(f"{self._max_queued} texts wait for the encoder; add workers or choose a faster encoder")
        job = _Job(key, text, asyncio.get_running_loop().create_future(), waiters=1)
        self._under_way[key] = job
        self._queue.put(job)
        return job

    def _work(self) -> None:
        """The thread: encode what is queued, one text at a time, and hand results over in groups."""
        done, since = _Done(), perf_counter()
        while (job := self._queue.get()) is not None:
            if not (done.vectors or done.failures or done.skipped):
                since = perf_counter()
            self._encode(job, done)
            if self._queue.empty() or perf_counter() - since >= _HAND_OVER_S:
                if not self._call_loop(job, done):
                    return
                done = _Done()

    def _encode(self, job: _Job, done: _Done) -> None:
        if self._closed or job.waiters == 0:
            done.skipped.append(job)
            return
        try:
            vector = self._vector(job.text)
        except Exception as error:  # the thread's boundary: whoever waits for this text gets it
            done.failures.append((job, error))
            return
        done.vectors.append((job, vector))

    def _vector(self, text: str) -> Vector:
        vector = np.array(self._encoder.encode([text])[0], np.float32)
        vector.flags.writeable = False
        return vector

    def _call_loop(self, job: _Job, done: _Done) -> bool:
        try:
            job.future.get_loop().call_soon_threadsafe(self._hand_over, done)
        except RuntimeError:  # the loop is closed, so nobody can wait any more
            return False
        return True

    def _hand_over(self, done: _Done) -> None:
        for job, vector in done.vectors:
            self._remember(job.key, vector)
            self._under_way.pop(job.key, None)
            if not job.future.done():
                job.future.set_result(vector)
        for job, error in done.failures:
            self._under_way.pop(job.key, None)
            self._fail(job, error)
        for job in done.skipped:
            self._drop(job)

    def _drop(self, job: _Job) -> None:
        if job.waiters and not self._closed:  # somebody came after the thread had looked
            self._queue.put(job)
            return
        self._under_way.pop(job.key, None)

    def _remember(self, key: bytes, vector: Vector) -> None:
        self._cache[key] = vector
        if len(self._cache) > self._cache_entries:
            self._cache.popitem(last=False)

    def _fail(self, job: _Job, error: Exception) -> None:
        if not job.future.done():
            job.future.set_exception(error)
            job.future.exception()  # marks it as seen: perhaps nobody waits any more
