"""Slips are undone where a frequent word lies beside them; words that stand are left alone."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.encoders.spelling import LONGEST, Speller

# By frequency, as a WordPiece vocabulary is.
WORDS = (
    "the",
    "which",
    "them",
    "form",
    "from",
    "what",
    "question",
    "following",
    "claim",
    "temperature",
    "##tion",
    "x1y2",
)


@pytest.fixture
def speller() -> Speller:
    return Speller({word: rank for rank, word in enumerate(WORDS)})


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("whcih", "which"),  # swapped
        ("quetsion", "question"),
        ("questtion", "question"),  # doubled
        ("qestion", "question"),  # dropped
        ("folowing", "following"),
        ("wich", "which"),  # four letters, beside a frequent word
        ("teh", "the"),
        ("theem", "them"),  # not "thee" with an ending: "them" is far more frequent
        ("temparature", "temperature"),  # another letter, in a long word
    ],
)
def test_a_slip_is_undone(speller: Speller, written: str, meant: str) -> None:
    assert speller.word(written) == meant


@pytest.mark.parametrize(
    "word",
    [
        "which",  # known
        "th",  # too short
        "json",  # a term
        "claimed",  # a known word with an ending
        "zirconium",  # beside nothing
        "fallowing"[:8],  # two slips away
        "clxim",  # another letter, in a short word
        "x1y3",
        "naïve",
        "q" * (LONGEST + 1),
        "",
    ],
)
def test_what_stands_is_left_alone(speller: Speller, word: str) -> None:
    assert speller.word(word) == word


def test_a_likely_slip_goes_before_an_unlikely_one() -> None:
    assert Speller({"call": 5, "calls": 90}).word("calsl") == "calls"


def test_another_letter_stands_for_none_that_is_rare() -> None:
    common = {f"{a}{b}{c}{d}": i for i, (a, b, c, d) in enumerate(product("abcdefghi", repeat=4))}
    assert len(common) > 6_000
    assert Speller(common | {"chloride": 9_000}).word("chlorine") == "chlorine"
    assert Speller({"chloride": 9_000}).word("chlorine") == "chloride"


def test_a_short_word_is_taken_for_none_that_is_rare() -> None:
    common = {f"{a}{b}{c}q": i for i, (a, b, c) in enumerate(product("abcdefghij", repeat=3))}
    assert Speller(common | {"zinc": 5_000}).word("znc") == "znc"
    assert Speller({"zinc": 5_000}).word("znc") == "zinc"  # ranks count, not ids


def test_of_several_the_most_frequent_is_meant(speller: Speller) -> None:
    assert Speller({"from": 5, "form": 9}).word("forom") == "from"
    assert Speller({"from": 9, "form": 5}).word("forom") == "form"


def test_a_text_keeps_everything_but_its_slips(speller: Speller) -> None:
    text = "Whcih of the FOLOWING, x_1 = claim_qestion? naïve\n"
    assert speller.text(text) == "which of the following, x_1 = claim_question? naïve\n"


def test_a_text_of_another_language_is_left_alone(speller: Speller) -> None:
    foreign = "wich form vom qestion dafür nicht aber weil"
    assert speller.text(foreign) == foreign
    assert speller.text("wich form, the qestion") == "which form, the question"


def test_what_was_asked_before_changes_nothing() -> None:
    speller = Speller({word: rank for rank, word in enumerate(WORDS)})
    assert [speller.word("qestion") for _ in range(2)] == ["question"] * 2


def test_a_vocabulary_without_words_corrects_nothing() -> None:
    assert Speller({}).word("qestion") == "qestion"


@given(word=st.text("abcdefghiklmnoqrstuwx", min_size=0, max_size=12))
def test_what_a_word_becomes_is_known_or_itself(word: str) -> None:
    speller = Speller({known: rank for rank, known in enumerate(WORDS)})
    meant = speller.word(word)
    assert meant == word or (meant in WORDS and meant != word)
    assert speller.word(meant) == meant
