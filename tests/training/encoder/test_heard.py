"""An encoder that hears its prompts in other words too."""

from dataclasses import replace
from difflib import SequenceMatcher

import numpy as np
import pytest

pytest.importorskip("torch", reason="fitting encoders needs torch: pip install 'gearshift[encoder]'")

from training.encoder.bags import make_bags
from training.encoder.fit_static import StaticSettings, fit_static, mean_cosine
from training.encoder.heard import heard_bags, unheard, with_rewordings
from training.encoder.train_encoder import held_out_cosines
from training.encoder.weights import EncoderFitError, StaticWeights
from training.phrases import JUDGED, LEARNED
from training.rewordings import reworded

SEEN, UNSEEN = slice(0, 400), slice(400, 500)
SETTINGS = StaticSettings(epochs=3, batch=32, learning_rate=2e-2, rewordings=2)
DEAF = replace(SETTINGS, rewordings=0)


def fitted(language, settings: StaticSettings) -> StaticWeights:
    bags, targets = heard_bags(language.prompts[SEEN], language.teacher[SEEN], language.start, settings)
    return fit_static(bags, targets, language.start, settings).weights


def judged(language, settings: StaticSettings, teacher: np.ndarray) -> dict[str, float]:
    return held_out_cosines(language.prompts, teacher, language.start, settings, progress=lambda *step: None)


def test_without_rewordings_the_fit_is_that_of_the_prompts_alone(language) -> None:
    plain = fit_static(language.bags(SEEN), language.teacher[SEEN], language.start, DEAF).weights
    deaf = fitted(language, DEAF)
    assert plain.vectors.tobytes() == deaf.vectors.tobytes()
    assert plain.map_to_dim.tobytes() == deaf.map_to_dim.tobytes()


def test_every_rewording_has_its_originals_target() -> None:
    prompts = ("Name the longest river of Africa.", "How many primes lie below 90?", "Bake bread without any yeast")
    texts, targets = with_rewordings(prompts, np.eye(3, dtype=np.float32), n=2, seed=5)
    assert texts[:3] == list(prompts)
    for text, target in zip(texts, targets, strict=True):
        nearest = max(prompts, key=lambda prompt: SequenceMatcher(None, prompt, text).ratio())
        assert prompts[int(target.argmax())] == nearest
    assert len(texts) == 9


def test_what_it_hears_is_neither_what_a_policy_hears_nor_what_it_is_judged_by() -> None:
    prompts = [f"Please explain how sailors crossed the ocean in {1500 + n}, with examples." for n in range(60)]
    texts, _ = with_rewordings(prompts, np.zeros((60, 1), np.float32), n=2, seed=0)
    heard = (texts[60:120], texts[120:], unheard(prompts, seed=0), [reworded(text, seed=0) for text in prompts])
    for row, one in enumerate(heard):
        for other in heard[row + 1 :]:
            assert sum(a == b for a, b in zip(one, other, strict=True)) < 20  # 60 if the seeds were the same


def test_it_is_judged_by_phrases_that_it_never_heard() -> None:
    prompts = [f"{n} bakers" for n in range(300)]  # short, so that a phrase is told from its prompt
    heard, _ = with_rewordings(prompts, np.zeros((300, 1), np.float32), n=2, seed=0)
    asked = "\n".join(unheard(prompts, seed=0))
    assert [text for text in (*LEARNED.openings, *LEARNED.endings) if text.strip() in asked] == []
    assert sum(text.strip() in asked for text in (*JUDGED.openings, *JUDGED.endings)) == 11
    assert not any(text.strip() in "\n".join(heard) for text in (*JUDGED.openings, *JUDGED.endings))


def test_an_encoder_that_heard_rewordings_places_new_ones_closer_to_their_originals(language) -> None:
    others = unheard(language.prompts[UNSEEN], seed=SETTINGS.seed)
    bags = make_bags(others, language.start.tokenizer_json, language.start.bounds)
    hears, deaf = (
        mean_cosine(fitted(language, each).embed(bags), language.teacher[UNSEEN]) for each in (SETTINGS, DEAF)
    )
    assert hears > deaf + 0.05


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(language) -> None:
    one, again, other = (fitted(language, replace(SETTINGS, epochs=1, seed=seed)) for seed in (0, 0, 1))
    assert one.vectors.tobytes() == again.vectors.tobytes()
    assert one.vectors.tobytes() != other.vectors.tobytes()


def test_the_tenth_that_judges_is_heard_in_no_words(language) -> None:
    aside = np.random.default_rng(SETTINGS.seed).permutation(500) < 50
    turned = np.where(aside[:, None], -language.teacher, language.teacher)
    told, opposite = (judged(language, SETTINGS, teacher) for teacher in (language.teacher, turned))
    for name in ("cosine", "cosine_distilled", "cosine_reworded", "cosine_reworded_distilled"):
        assert opposite[name] == pytest.approx(-told[name], abs=1e-6)  # the same fit, judged by the opposite


def test_the_cosines_tell_what_hearing_rewordings_is_worth(language) -> None:
    hears, deaf = (judged(language, each, language.teacher) for each in (SETTINGS, DEAF))
    assert hears["cosine_reworded"] > deaf["cosine_reworded"] + 0.05
    assert hears["cosine_reworded_distilled"] == deaf["cosine_reworded_distilled"]
    assert hears["cosine"] > hears["cosine_distilled"]


def test_a_negative_number_of_rewordings_is_refused() -> None:
    with pytest.raises(EncoderFitError, match="-1 rewordings of each prompt; give 0 or more"):
        StaticSettings(rewordings=-1)


def test_a_target_for_each_prompt_is_needed() -> None:
    with pytest.raises(EncoderFitError, match="2 teacher embeddings for 3 prompts"):
        with_rewordings(["a", "b", "c"], np.zeros((2, 4), np.float32), n=1, seed=0)
