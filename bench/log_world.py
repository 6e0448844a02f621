"""Rounds of a simulated gateway as arrays: what was asked, who answered, what came of it; drawn a shard at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Reals = NDArray[np.float64]
Integers = NDArray[np.int64]

ARMS = (
    "gpt-5-mini/reasoning:low", "gpt-5-mini/reasoning:high", "gpt-5-nano/instant", "llama3-70b/instant",
    "qwen3-8b/instant", "qwen3-8b/reasoning",
)  # fmt: skip
KINDS = ("drawn", "sticky", "forced", "single", "late")
DIM, TOPICS = 384, 48
_SHARES = (0.90, 0.05, 0.02, 0.02, 0.01)  # of the kinds
_EXPLORE, _PER_S = 0.1, 20.0
_ABILITY = np.array([1.2, 1.8, -0.3, 0.4, 0.0, 0.9])
_USD_PER_TOKEN = np.array([2.0, 2.0, 0.4, 0.9, 0.1, 0.1]) * 1e-6
_TOKENS = np.array([700, 2500, 250, 300, 280, 1800])
_S_PER_TOKEN = np.array([0.008, 0.008, 0.005, 0.012, 0.01, 0.01])


@dataclass(frozen=True, slots=True)
class World:
    """What is true of every query: topics in the space of embeddings, and how well each arm does in each.

    Attributes:
        centres: Shape (TOPICS, DIM).
        gift: What an arm is better at in a topic, log odds, shape (TOPICS, m).
    """

    centres: Floats
    gift: Reals

    @classmethod
    def draw(cls, rng: np.random.Generator) -> World:
        centres = rng.standard_normal((TOPICS, DIM), dtype=np.float32) / np.float32(DIM**0.5)
        return cls(centres, 0.7 * rng.standard_normal((TOPICS, len(ARMS))))

    def embeddings(self, topic: Integers, hardness: Reals, rng: np.random.Generator) -> NDArray[np.float16]:
        """Unit vectors about the topics' centres that also tell a query's hardness, shape (n, DIM)."""
        vectors = rng.standard_normal((len(topic), DIM), dtype=np.float32) / np.float32(DIM**0.5)
        vectors += self.centres[topic]
        vectors[:, 0] += 0.3 * hardness
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors.astype(np.float16)


@dataclass(frozen=True, slots=True)
class Drawn:
    """n rounds of one shard in the order they began.

    Attributes:
        at / ended_at / judged_at: POSIX seconds, each shape (n,); NaN where a request is open or nobody judged it.
        kind: Place in ``KINDS``, shape (n,).
        turn_of: The round whose decision a round keeps: an earlier one where sticky, else itself, shape (n,).
        chances: Propensities, shape (n, m).
        action: Shape (n,).
        failed: Whether the arm gave no answer, shape (n,).
        quality: What the client says of the answer, shape (n,).
    """

    at: Reals
    ended_at: Reals
    judged_at: Reals
    kind: Integers
    turn_of: Integers
    topic: Integers
    hardness: Reals
    chances: Reals
    action: Integers
    failed: NDArray[np.bool_]
    prompt_tokens: Integers
    output_tokens: Integers
    nano_usd: Integers
    seconds: Reals
    quality: Reals

    def __len__(self) -> int:
        return len(self.at)


def draw(world: World, n: int, *, start: float, rng: np.random.Generator) -> Drawn:
    """``n`` rounds from POSIX time ``start`` on: an explored softmax policy that half knows the world."""
    at = start + np.cumsum(rng.exponential(1.0 / _PER_S, size=n))
    kind = rng.choice(len(KINDS), size=n, p=_SHARES)
    kind[:1] = 0
    own = np.where(kind == 1, 0, np.arange(n))
    topic, hardness = rng.integers(0, TOPICS, size=n), rng.standard_normal(n)
    odds = _ABILITY + world.gift[topic] - hardness[:, None]
    guessed = np.exp(1.5 * (odds - 2e5 * _USD_PER_TOKEN * _TOKENS / 500.0))
    chances = (1.0 - _EXPLORE) * guessed / guessed.sum(axis=1, keepdims=True) + _EXPLORE / len(ARMS)
    action = np.minimum((rng.random((n, 1)) >= chances.cumsum(axis=1)).sum(axis=1), len(ARMS) - 1)
    tokens = np.maximum(rng.lognormal(np.log(_TOKENS[action]), 0.5), 1.0).astype(np.int64)
    prompt = rng.lognormal(5.0, 0.8, size=n).astype(np.int64) + 5
    usd = prompt * _USD_PER_TOKEN[action] / 4.0 + tokens * _USD_PER_TOKEN[action]
    seconds = 0.3 + tokens * _S_PER_TOKEN[action]
    right = rng.random(n) < 1.0 / (1.0 + np.exp(-odds[np.arange(n), action]))
    ended = np.where(rng.random(n) < 0.998, at + seconds, np.nan)
    judged = np.where(rng.random(n) < 0.95, ended + rng.lognormal(4.0, 1.0, size=n), np.nan)
    return Drawn(
        at=at, ended_at=ended, judged_at=judged, kind=kind, turn_of=np.maximum.accumulate(own), topic=topic,
        hardness=hardness, chances=chances, action=action, failed=rng.random(n) < 0.01, prompt_tokens=prompt,
        output_tokens=tokens, nano_usd=np.ceil(usd * 1e9).astype(np.int64), seconds=seconds,
        quality=right.astype(np.float64),
    )  # fmt: skip
