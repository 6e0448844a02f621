"""Right if the option letter an answer settles on is the reference's."""

import re

from policies.checks.base import (
    MOST_CHARS,
    CheckError,
    Example,
    Grade,
    Options,
    Reference,
    Verdict,
    known_options,
    references,
    right_if,
)
from policies.checks.exact import normalised
from policies.checks.final import enclosed, stated

LETTERS = "ABCDEFGHIJ"
_OPEN = r"(?:[\s*_`\"'(\[{$:]|\\(?:text|mathrm|textbf|mathbf|boxed)\{|option\b|choice\b)*"
_EITHER = r"\s*[)\]}*_.]*\s*(?:,|or|and|/|&)\s*(?:either\s+)?[(\[*]*(?P<other>[%s])\b(?![\w'’])"


class Choice:
    """The letter of the result the answer marks, else the last letter that stands alone as an option does.

    No letter is wrong ("no option named"), two ("A or B") are wrong too: a hedge is no choice.
    Options: ``letters`` ("ABCDEFGHIJ") and ``choices`` (the option texts in order: an answer that is one of them,
    word for word, names its letter).
    """

    def prepare(self, reference: Reference, options: Options) -> Grade:
        known_options(options, ("letters", "choices"), check="choice")
        texts = _texts(options.get("choices"))
        letters = _letters(options.get("letters", LETTERS[: len(texts)] if texts else LETTERS))
        wanted = {_reference_letter(text, letters) for text in references(reference, check="choice")}
        reader = _Reader(letters, texts)

        def grade(answer: str) -> Verdict:
            said = reader.letters_in(answer[-MOST_CHARS:])
            if not said:
                return Verdict(0.0, "no option named")
            if len(said) > 1:
                return Verdict(0.0, "several options named")
            return right_if(said[0] in wanted, reason="another option")

        return grade

    def example(self) -> Example:
        return Example(right="Because of this, the answer is (C).", wrong="The answer is (B).", reference="C")


class _Reader:
    """Finds the option an answer names."""

    def __init__(self, letters: str, texts: tuple[str, ...]) -> None:
        one = f"[{letters}]"
        self._letters = letters
        self._texts = {text: letters[at] for at, text in enumerate(texts)}
        self._first = re.compile(rf"^{_OPEN}(?P<one>{one})(?![\w'’])(?:{_EITHER % letters})?", re.IGNORECASE)
        # Alone as an option: bracketed, emphasised, before ")" or ":" or "." at a line's start, or alone on a line.
        self._alone = re.compile(
            rf"\((?P<a>{one})\)|\*\*\(?(?P<b>{one})(?:\)|\*\*|[.:])"
            rf"|^[ \t]*(?P<c>{one})[).:](?=\s|$)|^[ \t]*(?P<d>{one})[ \t]*$"
            rf"|\b(?:[Oo]ption|[Cc]hoice)\s+(?P<e>{one})\b",
            re.MULTILINE,
        )
        self._lone = re.compile(rf"(?<![\w'’])(?P<one>{one})(?![\w'’])")

    def letters_in(self, text: str) -> tuple[str, ...]:
        inside, sentence = enclosed(text), stated(text)
        for said in (inside, sentence):
            found = () if said is None else self._stated(said)
            if found:
                return found
        whole = normalised(inside or sentence or text)
        if whole in self._texts:
            return (self._texts[whole],)
        return self._last_alone(text if inside is None else inside)

    def _stated(self, stated: str) -> tuple[str, ...]:
        match = self._first.match(stated)
        if match is None or _is_word(stated, match):
            return ()
        other = match["other"]
        first = match["one"].upper()
        return (first,) if other is None or other.upper() == first else (first, other.upper())

    def _last_alone(self, text: str) -> tuple[str, ...]:
        bare = normalised(text).strip("()").upper()
        if len(bare) == 1 and bare in self._letters:
            return (bare,)
        places = {match.end(): next(filter(None, match.groups())) for match in self._alone.finditer(text)}
        for match in self._lone.finditer(text):
            if not _is_word(text, match):
                places.setdefault(match.end(), match["one"])
        return (places[max(places)],) if places else ()


def _is_word(text: str, match: re.Match[str]) -> bool:
    """``A`` and ``I`` before a word are English, and so is a small ``a``."""
    letter, after = match["one"], text[match.end("one") : match.end("one") + 3]
    return letter.upper() in "AI" and len(after) > 1 and after[0] in " \t" and (after[1].islower() or letter.islower())


def _texts(choices: object) -> tuple[str, ...]:
    if choices is None:
        return ()
    if not isinstance(choices, list | tuple) or not choices or not all(isinstance(each, str) for each in choices):
        raise CheckError("check choice: option choices: expected a list of texts")
    return tuple(normalised(each) for each in choices)


def _letters(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch("[A-Z]{1,26}", value) or len(set(value)) != len(value):
        raise CheckError("check choice: option letters: expected different capital letters such as ABCD")
    return value


def _reference_letter(text: str, letters: str) -> str:
    letter = text.strip().strip("().").upper()
    if len(letter) != 1 or letter not in letters:
        raise CheckError(f"check choice: reference: expected one of {letters}")
    return letter
