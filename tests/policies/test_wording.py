"""Courtesies go, questions stay, and contractions are written out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.wording import unframed, written_out

QUESTION = "Which of these metals melts first?\nA) lead\nB) tin"


@pytest.mark.parametrize(
    "opening",
    [
        "Hello! I have a question for you.\n\n",
        "Please help me with this: ",
        "You are a helpful assistant. Answer the user's question.\n\n",
        "### User request\n",
        "Good afternoon,\nI hope you are well. Sorry to bother you again: ",
        "Here's my question: ",
        "HELLO! PLEASE HELP ME WITH THIS: ",
        "---\n",
        "<the_task>\n",
        "[USER] ",
        "Q: ",
        "Hi! Hello! Hey! ",
    ],
)
def test_an_opening_goes(opening: str) -> None:
    assert unframed(opening + QUESTION).strip() == QUESTION


@pytest.mark.parametrize(
    "ending",
    [
        "\n\nThanks in advance!",
        "? Many  thanks!",
        "\n\nBest regards,\nMargaret Smith",
        "\n\n--\nSent from my phone",
        "\nI would be grateful for an answer.",
        "\n\nAnswer:",
        "\n</the_task>",
        "\n\nA:",
        "! Thank you so much!",
    ],
)
def test_an_ending_goes(ending: str) -> None:
    assert unframed(QUESTION + ending).strip().rstrip("?!") == QUESTION


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "hello",
        "Hello. Thanks!",  # nothing else is there: that is what was said
        "Can you help me with my question?",
        "Please prove that 2 is prime.",
        "Thank the chemist who found radium: who was it?",
        "______ is the powerhouse of the cell.",
        "<html>",
        "I have 3 questions. Which comes first?",
        "Hello Newton, what is gravity?",
        "Answer with yes or no: is 7 prime?",
        "def f(x):\n    return x\n# thanks to g",
        "Write a thank you email to my colleague. Keep it under 100 words.",
        "Write a message to my friend to say sorry. Use three paragraphs.",
        "Reply to this email:\nYour order 123 is late.",
        "I run a bakery in Lyon. Can you write a thank you message to my customer?",
        "The answer is 5. What is the question?",
        "Translate to German: thank you very much",
        "Translate to Spanish: please",
        "Translate to French: Please help me.",
        "How do you say thank you",
        "What is the French word for cheers",
        "Complete the story:\nCheers erupted in Rome\nQuickly",
        "Is this grammatical?\nYours was better than me\nTrue",
        "Rewrite in passive voice:\nThanks gravity, it fell\nParis",
        "A: 5\nB: 6\nWhich is larger?",
        "[MASK] is the capital of France",
        "The capital of France is [MASK]",
        "<div>\n<ul>\n<li>\n<b>\nx</b>",
        "--- a/foo.py\n+++ b/foo.py",
        "谢谢!为什么天空是蓝色的?",
    ],
)
def test_what_has_content_stays_whole(text: str) -> None:
    assert unframed(text) == text


@pytest.mark.parametrize("text", ["Hello! Q: What is it?", "Why?\n\nBest regards,\nTom", "[INST] Why so? [/INST]"])
def test_capitals_change_nothing(text: str) -> None:
    assert unframed(text.lower()) == unframed(text).lower()
    assert unframed(text.upper()) == unframed(text).upper()


def test_long_texts_are_looked_at_by_their_ends_alone() -> None:
    body = "The metal melts. " * 50_000
    assert unframed("Hello there! " + body + "Which one is it?\nThanks!") == body + "Which one is it?"


def test_a_long_courtesy_is_taken_for_content() -> None:
    text = "please " * 60 + ". " + QUESTION
    assert unframed(text) == text


@given(text=st.text(max_size=200))
def test_something_of_every_text_is_left_and_it_is_a_part_of_it(text: str) -> None:
    left = unframed(text)
    assert left in text
    assert bool(left.strip()) == bool(text.strip())


@pytest.mark.parametrize(
    ("contracted", "full"),
    [
        ("It doesn't and can't.", "It does not and can not."),
        ("I won’t; they're sure we've shan't", "I will not; they are sure we have shall not"),
        ("I'll say I'm CANNOT", "I will say I am CAN not"),
        ("the cat's tail, o'clock, 'tis", "the cat's tail, o'clock, 'tis"),
    ],
)
def test_contractions_are_written_out(contracted: str, full: str) -> None:
    assert written_out(contracted) == full
