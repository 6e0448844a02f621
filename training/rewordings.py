"""The same question in other words, to learn from: what a prompt means for routing must not hang on how it is dressed.

A learner is shown rewordings of its training prompts with what is known of the originals. Slips of the pen and the
rules of paraphrase are the very generators of ``training.perturb``, drawn anew: under these robustness tells how well
the same kind of change was learned. Greetings, roles and endings are others than the ones robustness is measured with
(``training.phrases``): nothing under its ``prefix`` and ``suffix`` was learned by heart, so those tell it honestly.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from policies.features import lexical_features
from training.inputs import Floats, Inputs
from training.perturb import paraphrase_prose, typos
from training.phrases import LEARNED, Phrases

Embed = Callable[[Sequence[str]], Floats]

POLICY, ENCODER_JUDGE, ENCODER = 0, 1, 2  # streams; from the last one on, one for each time an encoder hears a prompt

MOST_REWORDED = 5_000  # of one table: embedding them must not take longer than all the rest

_KINDS = ("typos", "paraphrase", "opening", "ending", "both")


def reworded(prompt: str, *, seed: int, stream: int = POLICY, phrases: Phrases = LEARNED) -> str:
    """One rewording, the same for the same prompt, seed, stream and phrases.

    Args:
        seed: 0 or more.
        stream: Who is to hear it; streams of one seed share no draw, nor with those of any other seed.
        phrases: What a greeting, a role or an ending is taken from.
    """
    digest = hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).digest()
    rng = np.random.default_rng([seed, stream, int.from_bytes(digest[:4])])
    kind = _KINDS[int(rng.integers(len(_KINDS)))]
    if kind == "typos":
        return typos(prompt, rng)
    if kind == "paraphrase":
        changed = paraphrase_prose(prompt, rng, openings=())
        if changed != prompt:
            return changed
        kind = "both"  # no rule fits
    opening = "" if kind == "ending" else phrases.openings[int(rng.integers(len(phrases.openings)))]
    ending = "" if kind == "opening" else phrases.endings[int(rng.integers(len(phrases.endings)))]
    return opening + (prompt.rstrip("\n") + ending if ending else prompt)


@dataclass(frozen=True, slots=True)
class Reworded:
    """k rewordings of queries of a table, as learners see them.

    Attributes:
        rows: Which query each one rewords, shape (k,), rising.
        embeddings / lexical: Shapes (k, dim), (k, n_features).
    """

    rows: NDArray[np.intp]
    embeddings: Floats
    lexical: Floats

    def __len__(self) -> int:
        return len(self.rows)

    def among(self, mask: NDArray[np.bool_]) -> "Reworded":
        """Those of the queries where ``mask``, shape (n,), is true, numbered as these are."""
        kept = mask[self.rows]
        places = np.cumsum(mask) - 1
        return Reworded(places[self.rows[kept]], self.embeddings[kept], self.lexical[kept])

    def inputs(self, originals: Inputs) -> Inputs:
        """As queries without outcomes, which are NaN, and as many tokens as their originals."""
        unknown = np.full((len(self), originals.scores.shape[1]), np.nan)
        return replace(
            originals,
            embeddings=self.embeddings,
            lexical=self.lexical,
            prompt_tokens=originals.prompt_tokens[self.rows],
            scores=unknown,
            log_tokens=unknown,
            usd=unknown,
        )


def reworded_texts(prompts: Sequence[str], *, seed: int) -> tuple[NDArray[np.intp], list[str]]:
    """A rewording each of at most 5,000 prompts: their rows, rising, and the texts.

    Those of the least hashes: prompts that two tables share are then reworded and embedded once.
    """
    rows = np.sort(by_content(prompts, seed=seed)[:MOST_REWORDED])
    return rows, [reworded(prompts[row], seed=seed) for row in rows]


def by_content(prompts: Sequence[str], *, seed: int) -> NDArray[np.intp]:
    """Rows of prompts in an order as good as drawn at random that hangs on seed and texts alone, shape (n,)."""
    digests = [hashlib.sha256(f"{seed}\0{prompt}".encode("utf-8", "surrogatepass")).digest() for prompt in prompts]
    return np.array(sorted(range(len(prompts)), key=digests.__getitem__), dtype=np.intp)


def make_reworded(rows: NDArray[np.intp], texts: Sequence[str], *, embed: Embed) -> Reworded:
    """Embed and describe what ``reworded_texts`` gave."""
    return Reworded(rows, embed(texts), np.stack([lexical_features(text) for text in texts]))
