"""A small world in which the best arm is known: embeddings of two kinds of queries, each answered well by one arm."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from policies.arms import Arm
from policies.prices import Price
from policies.tables import OutcomeTable


class HashEncoder:
    """Unit vectors from a text's first word and a little noise from the rest."""

    encoder_id, name, dim = "hash-1", "hash", 12

    def __init__(self) -> None:
        self._encoded: list[str] = []  # several threads add to it

    @property
    def n_encoded(self) -> int:
        return len(self._encoded)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self._encoded.extend(texts)
        return np.stack([self._one(text) for text in texts])

    def _one(self, text: str) -> NDArray[np.float32]:
        parts = [int.from_bytes(hashlib.sha256(part.encode()).digest()[:4]) for part in (text.split(" ")[0], text)]
        kind, noise = (np.random.default_rng(part).normal(size=self.dim) for part in parts)
        vector = kind / np.linalg.norm(kind) + 0.3 * noise / np.linalg.norm(noise)
        return (vector / np.linalg.norm(vector)).astype(np.float32)


@pytest.fixture
def encoder() -> HashEncoder:
    return HashEncoder()


@pytest.fixture(scope="session")
def world() -> OutcomeTable:
    """600 queries; the cheap arm is right on 'easy' ones (90 %) and rarely else (10 %), the dear arm on all (90 %)."""
    rng, n = np.random.default_rng(0), 600
    easy = rng.random(n) < 0.5
    scores = np.column_stack([rng.random(n) < np.where(easy, 0.9, 0.1), rng.random(n) < 0.9]).astype(np.float64)
    tokens = np.tile([100, 200], (n, 1))
    prices = (Price(10**8, 10**8), Price(10**10, 10**10))
    prompts = tuple(f"{'easy' if kind else 'hard'} question {i}" for i, kind in enumerate(easy))
    inputs = np.full((n, 2), 10)
    nano = inputs * [100, 10_000] + tokens * [100, 10_000]
    for shared in (scores, tokens, inputs, nano):
        shared.setflags(write=False)  # of a whole run: a test that writes would change what others see
    return OutcomeTable(
        name="world",
        query_ids=tuple(f"q{i:03}" for i in range(n)),
        prompts=prompts,
        domains=tuple("easy" if kind else "hard" for kind in easy),
        arms=(Arm("cheap", "instant"), Arm("dear", "instant")),
        scores=scores,
        usd=nano / 1e9,
        nano_usd=nano,
        prompt_tokens=inputs[:, 0],
        input_tokens=inputs,
        completion_tokens=tokens,
        seconds=np.full((n, 2), np.nan),
        prices=prices,
    )
