"""How long one query takes to embed: single calls on one thread, as a gateway makes them."""

from collections.abc import Sequence
from time import perf_counter_ns

import numpy as np

from policies.encoders.base import Encoder

N_WORDS = (30, 400)
_N_TEXTS, _N_ROUNDS, _LEAST_CALLS = 20, 5, 20
_MOST_S = 5.0


def query_us(encoder: Encoder, prompts: Sequence[str]) -> dict[str, float]:
    """Median microseconds for queries of 30 and of 400 words, made of the prompts' own words in their order."""
    words = [word for prompt in prompts[:2_000] for word in prompt.split()] or ["word"]
    return {str(size): _median_us(encoder, _texts(words, size)) for size in N_WORDS}


def _texts(words: list[str], size: int) -> list[str]:
    starts = np.linspace(0, max(len(words) - size, 0), _N_TEXTS).astype(np.int64)
    return [" ".join((words[start : start + size] * size)[:size]) for start in starts]


def _median_us(encoder: Encoder, texts: list[str]) -> float:
    encoder.encode(texts[:1])
    taken: list[int] = []
    for text in texts * _N_ROUNDS:
        start = perf_counter_ns()
        encoder.encode([text])
        taken.append(perf_counter_ns() - start)
        if len(taken) >= _LEAST_CALLS and sum(taken) > _MOST_S * 1e9:
            break
    return float(np.median(taken)) / 1_000.0
