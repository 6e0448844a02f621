"""Prompts in other words for an encoder to hear: each is to get the vector that the teacher gives the original."""

from collections.abc import Sequence

import numpy as np

from training.encoder.bags import Bags, Floats, make_bags
from training.encoder.fit_static import StaticSettings
from training.encoder.weights import EncoderFitError, StaticWeights
from training.phrases import JUDGED
from training.rewordings import ENCODER, ENCODER_JUDGE, reworded


def with_rewordings(prompts: Sequence[str], teacher: Floats, *, n: int, seed: int) -> tuple[list[str], Floats]:
    """The prompts, then each of them in other words, then again, ``n`` times, each with its original's target.

    Args:
        teacher: Embeddings of the prompts, shape (len(prompts), dim).

    Returns:
        Texts and targets, (1 + n) · len(prompts) of each.

    Raises:
        EncoderFitError: Not one embedding for each prompt.
    """
    if len(prompts) != len(teacher):
        raise EncoderFitError(f"{len(teacher)} teacher embeddings for {len(prompts)} prompts; give one for each")
    texts = list(prompts)  # of streams of its own: what a policy hears must be as new to the encoder as a query is
    for k in range(n):
        texts += [reworded(prompt, seed=seed, stream=ENCODER + k) for prompt in prompts]
    return texts, np.tile(teacher, (1 + n, 1))


def heard_bags(
    prompts: Sequence[str], teacher: Floats, start: StaticWeights, settings: StaticSettings
) -> tuple[Bags, Floats]:
    """What the fit hears: the prompts, then their rewordings, as bags, and a target for each."""
    texts, targets = with_rewordings(prompts, teacher, n=settings.rewordings, seed=settings.seed)
    return make_bags(texts, start.tokenizer_json, start.bounds), targets


def unheard(prompts: Sequence[str], *, seed: int) -> list[str]:
    """A rewording of each prompt with phrases that nobody learns; the same for any ``n`` of ``with_rewordings``.

    Slips of the pen and paraphrases are those of the same generators, drawn anew.
    """
    return [reworded(prompt, seed=seed, stream=ENCODER_JUDGE, phrases=JUDGED) for prompt in prompts]
