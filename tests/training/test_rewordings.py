"""Queries in other words: the same for the same seed, with all that carries the question, and without outcomes."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from policies.features import FEATURE_NAMES, lexical_features
from policies.tables import OutcomeTable
from training import paraphrase, perturb, rewordings
from training.inputs import make_inputs
from training.phrases import JUDGED, LEARNED, Phrases
from training.rewordings import Reworded, make_reworded, reworded, reworded_texts

SPANS = (r"$x^2 + 2x$", r"\frac{a}{b}", "17.5", "`total_sum(n)`", "```python\nreturn sum(numbers)\n```")
PROMPT = f"Find the largest value of {SPANS[0]}, not {SPANS[1]}, below {SPANS[2]} using {SPANS[3]} there:\n{SPANS[4]}"


def lengths(texts: Sequence[str]) -> NDArray[np.float32]:
    return np.array([[len(text)] for text in texts], np.float32)


def four() -> Reworded:
    """Rewordings of rows 0, 2, 3 and 5 of six."""
    marks = np.arange(4, dtype=np.float32)[:, None]
    return Reworded(np.array([0, 2, 3, 5]), marks, 10.0 * marks)


def test_a_prompt_and_a_seed_give_one_rewording() -> None:
    first = [reworded(PROMPT, seed=seed) for seed in range(20)]
    assert first == [reworded(PROMPT, seed=seed) for seed in range(20)]
    assert len(set(first)) > 15
    assert PROMPT not in first


def test_prompts_of_one_seed_are_reworded_each_in_its_own_way() -> None:
    prompts = [f"Explain the number {number} please" for number in range(40)]
    openings = {reworded(prompt, seed=0).split(prompt)[0] for prompt in prompts if prompt in reworded(prompt, seed=0)}
    assert len(openings) > 5


@pytest.mark.parametrize("kind", rewordings._KINDS)
def test_code_formulas_and_numbers_stay_in_every_kind(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewordings, "_KINDS", (kind,))
    for seed in range(10):
        changed = reworded(PROMPT, seed=seed)
        assert changed != PROMPT
        assert [span for span in SPANS if span not in changed] == []


@pytest.mark.parametrize("text", ["", "\n", "42", "\ud800", "```\nx = 1\n```"])
def test_text_without_prose_is_no_error(text: str) -> None:
    assert all(text.rstrip("\n") in reworded(text, seed=seed) for seed in range(20))


def plain(*lists: Sequence[str]) -> list[str]:
    return [text.strip().casefold() for texts in lists for text in texts]


def test_nothing_that_robustness_is_measured_with_is_learned_by_heart() -> None:
    measured = plain(perturb._PREFIXES, perturb._SUFFIXES, paraphrase.OPENINGS)
    learned = plain(LEARNED.openings, LEARNED.endings)
    judged = plain(JUDGED.openings, JUDGED.endings)
    assert len(set(learned)) == len(learned)
    for others in (measured, judged):
        assert [(one, other) for one in learned for other in others if one in other or other in one] == []
    assert [(one, other) for one in judged for other in measured if one in other or other in one] == []


def test_what_no_rule_paraphrases_is_given_a_phrase_to_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewordings, "_KINDS", ("paraphrase",))
    phrases = Phrases(("Ahem. ",), (" Over.",))
    assert reworded("No rule fits here", seed=0, phrases=phrases) == "Ahem. No rule fits here Over."
    assert "Over" not in reworded("It does not fit; it cannot.", seed=0, phrases=phrases)


def test_paraphrases_that_robustness_is_measured_with_keep_their_openings() -> None:
    changed = perturb.perturbations()["paraphrase"]("No rule fits here", np.random.default_rng(0))
    assert changed.removesuffix("No rule fits here") in paraphrase.OPENINGS


def test_another_stream_of_a_seed_is_another_rewording_and_no_seed_meets_it() -> None:
    prompts = [f"Please explain how sailors crossed the ocean in {1500 + n}, with examples." for n in range(60)]
    first = [reworded(prompt, seed=0, stream=2) for prompt in prompts]
    for seed, stream in ((0, 0), (2, 0), (1_000, 0), (0, 3), (1, 2)):
        others = [reworded(prompt, seed=seed, stream=stream) for prompt in prompts]
        assert sum(one == other for one, other in zip(first, others, strict=True)) < 20  # 60 were they the same draws


def test_those_among_some_rows_are_numbered_as_these_are() -> None:
    kept = four().among(np.array([True, True, False, True, False, True]))  # rows 0, 1, 3, 5 become 0, 1, 2, 3
    assert kept.rows.tolist() == [0, 2, 3]
    assert kept.embeddings[:, 0].tolist() == [0.0, 2.0, 3.0]
    assert kept.lexical[:, 0].tolist() == [0.0, 20.0, 30.0]


def test_among_rows_that_nobody_reworded_there_are_none() -> None:
    assert len(four().among(np.array([False, True, False, False, True, False]))) == 0


def test_they_claim_no_outcomes(world: OutcomeTable) -> None:
    six = world.rows(np.arange(len(world)) < 6)
    originals = make_inputs(six, lengths(six.prompts))
    unknown = four().inputs(originals)
    assert len(unknown) == 4
    assert all(np.isnan(values).all() for values in (unknown.scores, unknown.log_tokens, unknown.usd))
    assert unknown.scores.shape == unknown.usd.shape == (4, 2)
    assert (unknown.lexical == four().lexical).all()
    assert unknown.prompt_tokens.tolist() == originals.prompt_tokens[[0, 2, 3, 5]].tolist()
    assert unknown.input_ratio is originals.input_ratio


def test_every_prompt_of_a_small_table_is_reworded_and_described(world: OutcomeTable) -> None:
    rows, texts = reworded_texts(world.prompts, seed=3)
    made = make_reworded(rows, texts, embed=lengths)
    assert rows.tolist() == list(range(600))
    assert texts == [reworded(prompt, seed=3) for prompt in world.prompts]
    assert made.lexical.shape == (600, len(FEATURE_NAMES))
    assert (made.lexical[7] == lexical_features(texts[7])).all()
    assert made.embeddings[7, 0] == len(texts[7])


def test_tables_that_share_prompts_reword_the_same_ones_in_the_same_words() -> None:
    prompts = [f"prompt {number}" for number in range(5_200)]
    _, texts = reworded_texts(prompts, seed=0)
    _, backwards = reworded_texts(prompts[::-1], seed=0)
    assert texts == backwards[::-1]


def test_of_a_large_table_5000_are_drawn_and_another_seed_draws_others() -> None:
    prompts = [f"prompt {number}" for number in range(5_200)]
    rows, texts = reworded_texts(prompts, seed=0)
    assert len(rows) == len(texts) == 5_000
    assert (np.diff(rows) > 0).all()
    assert texts[17] == reworded(prompts[rows[17]], seed=0)
    assert rows.tolist() != reworded_texts(prompts, seed=1)[0].tolist()
