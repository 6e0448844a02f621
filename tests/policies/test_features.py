"""Lexical features: named, finite, bounded in time, and each one sees what its name says."""

from __future__ import annotations

import re
from collections.abc import Callable
from time import perf_counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from policies.encoders.source import find_source
from policies.features import FEATURE_NAMES, FEATURES_ID, estimate_tokens, lexical_features

PROSE = "The committee adjourned without reaching agreement; its members will meet again next Tuesday morning. " * 9
MULTIPLE_CHOICE = "Which gas is noble?\nA) Nitrogen\nB) Argon\nC) Oxygen\nD) Chlorine"


def value(name: str, text: str, **flags: bool | int) -> float:
    return float(lexical_features(text, **flags)[FEATURE_NAMES.index(name)])  # type: ignore[arg-type]


def test_names_are_distinct_and_versioned() -> None:
    assert len(set(FEATURE_NAMES)) == len(FEATURE_NAMES)
    assert FEATURES_ID.startswith("lexical-")


@settings(max_examples=200)
@given(st.text())
def test_any_text_has_finite_repeatable_features(text: str) -> None:
    features = lexical_features(text)
    assert features.dtype == np.float32
    assert features.shape == (len(FEATURE_NAMES),)
    assert np.isfinite(features).all()
    assert features.tobytes() == lexical_features(text).tobytes()


@pytest.mark.parametrize(
    ("name", "with_it", "without"),
    [
        ("digit_share", "12 times 34", "twelve times thirty"),
        ("operator_share", "3*x + 4 = y", "three x and four is y"),
        ("latex_mark_share", r"$\frac{1}{2}$", "one half"),
        ("log_latex", r"\frac{1}{2} \sqrt{2}", "C:\\windows\\system"),
        ("log_code", "Why?\n```\nx = 1\n```", "Why is x one?"),
        ("log_options", MULTIPLE_CHOICE, "Which gas is noble?"),
        ("log_items", "Do:\n- this\n- that\n1. more", "Do this, that and more"),
        ("log_negations", "Which is NOT true, except one?", "Which is true?"),
        ("asks_why", "Why is the sky blue?", "The sky is blue."),
        ("asks_how", "Tell me how it works", "Tell me the time"),
        ("asks_math", "Prove it.", "Say it."),
        ("asks_code", "Implement quicksort", "Describe quicksort"),
        ("asks_which", MULTIPLE_CHOICE, "Name a noble gas"),
        ("ends_with_question", "Is it? ", "It is."),
        ("cjk_share", "为什么天空是蓝色的", "why is the sky blue"),
        ("cyrillic_share", "Почему небо голубое", "why is the sky blue"),
        ("arabic_share", "لماذا السماء زرقاء", "why is the sky blue"),
        ("latin_extended_share", "Résumé à l'été", "Resume a l'ete"),
        ("non_ascii_share", "naïve", "naive"),
        ("english_share", "the cat is on the mat", "chat tapis rouge"),
        ("log_lines", "a\nb\nc", "a b c"),
        ("log_words", "one two three four", "one"),
    ],
)
def test_a_feature_sees_what_its_name_says(name: str, with_it: str, without: str) -> None:
    assert value(name, with_it) > value(name, without)


@pytest.mark.parametrize("flag", ["has_tools", "wants_schema", "has_image"])
def test_request_flags_are_passed_on(flag: str) -> None:
    assert (value(flag, "x"), value(flag, "x", **{flag: True})) == (0.0, 1.0)


def test_turn_and_tokens_are_on_a_log_scale() -> None:
    assert value("log_turn", "x", turn=3) == pytest.approx(np.log(4))
    assert value("log_prompt_tokens", "x", prompt_tokens=999) == pytest.approx(np.log(1000))


def test_a_long_text_keeps_its_length_but_not_its_middle() -> None:
    one, other = (f"Why?{'z' * 3000}{middle * 5000}{'z' * 3000}" for middle in ("1+", "x+"))
    features = [lexical_features(text, prompt_tokens=9).tobytes() for text in (one, other)]
    assert features[0] == features[1]
    assert value("log_chars", one) == pytest.approx(np.log1p(len(one)))


ASKED = """Which of the following holds for the Integral of f?
a) It is 12
B) It isn't

Steps:
- Factor it
1. use \\alpha
```
import math
```
SELECT the best, e.g. "naïve", Привет привет! Is it?"""
TOKENS = FEATURE_NAMES.index("log_prompt_tokens")


@pytest.mark.parametrize("change", [str.lower, str.upper, str.title, str.swapcase])
def test_no_feature_sees_capitals(change: Callable[[str], str]) -> None:
    assert change(ASKED) != ASKED
    assert lexical_features(change(ASKED)).tobytes() == lexical_features(ASKED).tobytes()


@pytest.mark.parametrize(
    "change",
    [
        lambda text: re.sub(r"(?<=\S) (?=\S)", "  ", text),
        lambda text: re.sub(r"(?<=\S) (?=\S)", "\t", text),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", " \t\n"),
        lambda text: text + "\n\n\n",
        lambda text: "\n " + text,
    ],
    ids=["doubled spaces", "tabs", "CRLF", "spaces at line ends", "blank lines at the end", "blanks before"],
)
def test_white_space_changes_nothing_but_the_token_estimate(change: Callable[[str], str]) -> None:
    before, after = lexical_features(ASKED), lexical_features(change(ASKED))
    assert change(ASKED) != ASKED
    assert [name for name, same in zip(FEATURE_NAMES, before == after, strict=True) if not same] in (
        [],
        [FEATURE_NAMES[TOKENS]],
    )


def test_line_breaks_and_indents_of_code_are_seen() -> None:
    assert value("log_lines", ASKED) > value("log_lines", ASKED.replace("\n", " "))
    assert value("log_code", "Why?\n    x = 1") > value("log_code", "Why?\nx = 1")


@pytest.mark.parametrize(
    "line",
    [
        "def add(a, b):",
        "class Heap:",
        "class Heap(list):",
        "class Heap {",
        "import os",
        "import numpy as np",
        "import React from 'react'",
        "from math import sqrt",
        "#include <stdio.h>",
        "public static void main(String[] args) {",
        "function f(x) {",
        "const n = 3",
        "let mut n = 3;",
        "SELECT name, age FROM people",
        "SELECT * FROM people",
    ],
)
def test_a_line_of_code_is_seen_in_any_case(line: str) -> None:
    asked = f"What does it do?\n{line}\n"
    assert value("log_code", asked) == value("log_code", asked.upper()) == pytest.approx(np.log(2))


@pytest.mark.parametrize(
    "line",
    [
        "Let G be a group.",
        "Let x = 5 and y = 6.",
        "From A to B is 5 km.",
        "Class 2: the heavier boats.",
        "Class size matters.",
        "Import duties were raised from 5 to 6 percent.",
        "Public goods (roads) are not rival.",
        "Function f(x) = 2x is even.",
        "Define it. Def: a set.",
        "Select one from the following:",
    ],
)
def test_prose_that_begins_like_code_is_none(line: str) -> None:
    assert value("log_code", f"A question.\n{line}\nWhich?") == 0


def test_blanks_around_a_long_text_change_nothing_but_the_token_estimate() -> None:
    asked = f"Why? {'one two ' * 700}{'three four ' * 500} Is it?"
    assert len(asked) > 4096
    before, after = (
        lexical_features(asked, prompt_tokens=9),
        lexical_features(f" \n\n{asked}\u00a0 \n", prompt_tokens=9),
    )
    assert before.tobytes() == after.tobytes()


def test_a_lone_surrogate_is_no_error() -> None:
    assert np.isfinite(lexical_features("\ud800?")).all()
    assert estimate_tokens("\ud800") >= 1


def fastest_s(text: str) -> float:
    def once() -> float:
        started = perf_counter()
        lexical_features(text)
        return perf_counter() - started

    return min(once() for _ in range(20))


def test_features_of_a_megabyte_cost_as_much_as_a_page() -> None:
    assert fastest_s("word " * 200_000) < 10 * fastest_s("word " * 820)


@pytest.mark.parametrize("filling", ["\n", "\n ", "\nimport ", "\nselect a,", "\npublic a", "\nfunction ("])
def test_no_text_of_a_page_costs_much_more_than_prose(filling: str) -> None:
    hostile = f"a{filling * 4096}"[:4095] + "b"
    assert fastest_s(hostile) < 20 * fastest_s(PROSE * 4)


@pytest.mark.parametrize(
    "text",
    [
        "Hello, world!",
        "The quick brown fox jumps over the lazy dog.",
        "def f(x):\n    return x",
        MULTIPLE_CHOICE,
        PROSE,
    ],
)
def test_the_token_estimate_is_near_and_seldom_below_a_real_tokenizers_count(text: str) -> None:
    tokenizer = Tokenizer.from_file(str(find_source(None).tokenizer))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    counted = len(tokenizer.encode(text, add_special_tokens=False).ids)
    assert 0.9 * counted <= estimate_tokens(text) <= 2 * counted + 2


def test_an_empty_text_has_no_tokens() -> None:
    assert estimate_tokens("") == 0


def test_a_grid_of_digits_costs_a_token_for_each() -> None:
    assert 500 <= estimate_tokens("0 1\n" * 250) <= 1000


def test_the_token_estimate_grows_with_the_whole_text() -> None:
    assert estimate_tokens("word " * 200_000) == pytest.approx(10 * estimate_tokens("word " * 20_000), rel=0.01)


def test_chinese_costs_more_tokens_per_character() -> None:
    assert estimate_tokens("天" * 100) > 100 > estimate_tokens("a" * 100)
