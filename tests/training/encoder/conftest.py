"""A tiny language of 48 words on six topics, a start that knows no topics, and a teacher that knows them all."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from training.encoder.bags import Bags, make_bags, unit
from training.encoder.weights import StaticWeights

N_TOPICS, WORDS_PER_TOPIC, WIDTH, DIM = 6, 8, 16, 12
VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *(f"w{i}" for i in range(N_TOPICS * WORDS_PER_TOPIC)),
    "rare",
]


def tokenizer_json() -> bytes:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    ids = {token: i for i, token in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made = tokenizer.to_str()
    assert json.loads(made)["model"]["type"] == "WordPiece"
    return made.encode()


@dataclass(frozen=True, slots=True)
class Language:
    """500 prompts of 4 to 12 words, mostly of one topic.

    Attributes:
        teacher: Sums of one hidden vector per word, unit length, shape (n, DIM).
        topics: Shape (n,).
    """

    prompts: tuple[str, ...]
    teacher: NDArray[np.float32]
    topics: NDArray[np.int64]
    start: StaticWeights

    def bags(self, rows: slice) -> Bags:
        """The prompts of a slice, tokenised."""
        return make_bags(self.prompts[rows], self.start.tokenizer_json, self.start.bounds)


@pytest.fixture(scope="session")
def language() -> Language:
    rng, n_words = np.random.default_rng(0), N_TOPICS * WORDS_PER_TOPIC
    hidden = rng.normal(size=(n_words, DIM)) + 2.0 * np.repeat(
        rng.normal(size=(N_TOPICS, DIM)), WORDS_PER_TOPIC, axis=0
    )
    topics = rng.integers(N_TOPICS, size=500)
    texts, teacher = [], np.zeros((500, DIM), np.float32)
    for row, topic in enumerate(topics):
        own = topic * WORDS_PER_TOPIC + rng.integers(WORDS_PER_TOPIC, size=rng.integers(3, 10))
        words = [*own, *rng.integers(n_words, size=2)]
        texts.append(" ".join(f"w{word}" for word in words))
        teacher[row] = hidden[words].sum(axis=0)
    vectors = rng.normal(size=(len(VOCABULARY), WIDTH)).astype(np.float32)
    start = StaticWeights(vectors, np.eye(WIDTH, dtype=np.float32), tokenizer_json())
    return Language(tuple(texts), unit(teacher), topics, start)
