import re
from collections import Counter

import numpy as np
import pytest

from training.perturb import perturbations, typos

PROMPT = r"""Find the 3rd largest value of $x^2 + 2x$ for x below 17.5 and explain why it is not \frac{a}{b}.
Which of the following functions computes "abcba" correctly when it costs $5, not $12?
A. `total_sum(n)` because the Romans purchase 40 ships
(B) none of these answers

```python
def total_sum(numbers):
    return sum(numbers)  # largest value of these
```
The value of \[ \int_0^1 x\,dx \] is approximately 0.5."""

KEPT = (
    r"$x^2 + 2x$", r"\frac{a}{b}", '"abcba"', "$5", "$12", "`total_sum(n)`", "17.5", "3rd", "40", "0.5", "A. ", "(B)",
    "    return sum(numbers)  # largest value of these", r"\[ \int_0^1 x\,dx \]",
)  # fmt: skip

NAMES = tuple(perturbations())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(5))
def test_code_formulas_numbers_and_option_letters_stay(name: str, seed: int) -> None:
    changed = perturbations()[name](PROMPT, np.random.default_rng(seed)).replace("\r\n", "\n")
    assert [span for span in KEPT if span not in changed] == []
    assert re.findall(r"\d+", changed) == re.findall(r"\d+", PROMPT)


@pytest.mark.parametrize("name", NAMES)
def test_the_text_changes_and_the_same_seed_changes_it_alike(name: str) -> None:
    for seed, text in enumerate((PROMPT, "What is the capital of France?", "Name a prime\nbelow nine")):
        changed = perturbations()[name](text, np.random.default_rng(seed))
        assert changed != text
        assert perturbations()[name](text, np.random.default_rng(seed)) == changed


def test_typos_touch_three_letters_in_a_hundred_and_one_per_word() -> None:
    text = " ".join(["wonderful"] * 100)  # 900 letters: 27 typos
    words = typos(text, np.random.default_rng(0)).split(" ")
    wrong = [word for word in words if word != "wonderful"]
    assert len(words) == 100
    assert len(wrong) == 27
    assert all(abs(len(word) - 9) <= 1 and word[0] == "w" for word in wrong)
    assert {len(word) for word in wrong} == {8, 9, 10}  # dropped, swapped, doubled


def test_a_swap_keeps_the_letters() -> None:
    words = [typos("cartoushe", np.random.default_rng(seed)) for seed in range(40)]
    swapped = [word for word in words if len(word) == 9]
    assert swapped
    assert all(Counter(word) == Counter("cartoushe") and word != "cartoushe" for word in swapped)


def test_white_space_leaves_the_words_and_the_indents_of_code() -> None:
    for seed in range(10):
        changed = perturbations()["white_space"](PROMPT, np.random.default_rng(seed))
        assert changed.split() == PROMPT.split()
        assert "\n    return" in changed.replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("text", "reworded"),
    [
        ("Calculate the area.", "Can you calculate the area?"),
        ("What is the area?", "Please tell me: what is the area?"),
        ("It does not fit.", "It doesn't fit."),
        ("ANSWER:", "RESPONSE:"),
        ("No rule fits here", "Please answer this: No rule fits here"),
    ],
)
def test_paraphrases_come_from_the_rules(text: str, reworded: str) -> None:
    found = {perturbations()["paraphrase"](text, np.random.default_rng(seed)) for seed in range(30)}
    assert reworded in found


@pytest.mark.parametrize("name", NAMES)
def test_text_without_prose_is_no_error(name: str) -> None:
    for text in ("", "\n", "42", "```\nx = 1\n```", "\ue000"):
        assert text.strip() in perturbations()[name](text, np.random.default_rng(0)).replace("\r\n", "\n")


def test_prefix_and_suffix_hold_the_whole_prompt() -> None:
    for seed in range(8):
        assert perturbations()["prefix"](PROMPT, np.random.default_rng(seed)).endswith(PROMPT)
        assert perturbations()["suffix"](PROMPT, np.random.default_rng(seed)).startswith(PROMPT)
