"""The same question in other words, to learn from: what a prompt means for routing must not hang on how it is dressed.

A learner is shown rewordings of its training prompts with what is known of the originals. Slips of the pen and the
rules of rewording are those of ``training.perturb``, drawn anew; greetings, roles and endings are others than the ones
robustness is measured with, so that what is measured is not what was learned by heart.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from policies.features import estimate_tokens, lexical_features
from training.inputs import Floats, Inputs, Reals
from training.perturb import paraphrase_prose, typos

Embed = Callable[[Sequence[str]], Floats]

MOST_REWORDED = 5_000  # of one table: embedding them must not take longer than all the rest

_KINDS = ("typos", "paraphrase", "opening", "ending", "both")
_OPENINGS = (
    "Answer this: ",
    "Could you help? ",
    "Hey. ",
    "Good morning!\n\n",
    "Question:\n",
    "I need some help with the task below.\n\n",
    "You are an expert. Think before you answer.\n\n",
    "Task: ",
    "Quick one for you: ",
    "Dear assistant,\n",
    "System: be concise and correct.\nUser: ",
    "Here is something I have been working on.\n",
    "Can you do this for me please?\n\n",
    "What do you make of this? ",
    "My teacher asked me how to do the following, and I have no idea where to start.\n",
    "Read carefully and write down only what is asked.\n\n",
    "# Instructions\nWork step by step.\n\n# Input\n",
    "Explain if you must, but give a result.\n",
)
_ENDINGS = (
    "\n\nThank you!",
    "\nPlease be careful.",
    "\n\nBest regards,\nAlex",
    "\n\nI appreciate it.",
    "\nAnswer:",
    " Please answer.",
    "\n\nCheers",
    "\nTell me the result.",
    "\n\nI need this soon.",
    "\nDo you know how to do that?",
    "\n\nWrite the solution below.",
    "\nWhat would you say, and why?",
    "\n\nThink about it step by step.",
    "\nWhich is it?",
    " Can you find it?",
)


def reworded(prompt: str, *, seed: int) -> str:
    """One rewording, the same for the same prompt and seed."""
    digest = hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).digest()
    rng = np.random.default_rng([seed, int.from_bytes(digest[:4])])
    kind = _KINDS[int(rng.integers(len(_KINDS)))]
    if kind == "typos":
        return typos(prompt, rng)
    if kind == "paraphrase":
        return paraphrase_prose(prompt, rng)
    opening = "" if kind == "ending" else _OPENINGS[int(rng.integers(len(_OPENINGS)))]
    ending = "" if kind == "opening" else _ENDINGS[int(rng.integers(len(_ENDINGS)))]
    return opening + (prompt.rstrip("\n") + ending if ending else prompt)


@dataclass(frozen=True, slots=True)
class Reworded:
    """k rewordings of queries of a table, as learners see them.

    Attributes:
        rows: Which query each one rewords, shape (k,), rising.
        embeddings / lexical / prompt_tokens: Shapes (k, dim), (k, n_features), (k,).
    """

    rows: NDArray[np.intp]
    embeddings: Floats
    lexical: Floats
    prompt_tokens: Reals

    def __len__(self) -> int:
        return len(self.rows)

    def among(self, mask: NDArray[np.bool_]) -> "Reworded":
        """Those of the queries where ``mask``, shape (n,), is true, numbered as these are."""
        kept = mask[self.rows]
        places = np.cumsum(mask) - 1
        return Reworded(places[self.rows[kept]], self.embeddings[kept], self.lexical[kept], self.prompt_tokens[kept])

    def inputs(self, originals: Inputs) -> Inputs:
        """As queries without outcomes: those are NaN."""
        unknown = np.full((len(self), originals.scores.shape[1]), np.nan)
        return replace(
            originals,
            embeddings=self.embeddings,
            lexical=self.lexical,
            prompt_tokens=self.prompt_tokens,
            scores=unknown,
            log_tokens=unknown,
            usd=unknown,
        )


def reworded_texts(prompts: Sequence[str], *, seed: int) -> tuple[NDArray[np.intp], list[str]]:
    """A rewording each of at most 5,000 prompts, drawn at random: their rows, rising, and the texts."""
    rows = np.sort(np.random.default_rng(seed).permutation(len(prompts))[:MOST_REWORDED])
    return rows, [reworded(prompts[row], seed=seed) for row in rows]


def make_reworded(rows: NDArray[np.intp], texts: Sequence[str], *, embed: Embed) -> Reworded:
    """Embed and describe what ``reworded_texts`` gave."""
    return Reworded(
        rows,
        embed(texts),
        np.stack([lexical_features(text) for text in texts]),
        np.array([estimate_tokens(text) for text in texts], dtype=np.float64),
    )
