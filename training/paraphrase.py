"""Rewording by a short list of rules that keep the meaning: no model, so the same seed gives the same words."""

import re
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

_KEEP = 0.25  # chance that a place where a rule fits is left alone

_REQUESTS = "Find|Calculate|Compute|Determine|Explain|Describe|Write|List|Give|Solve|Prove|Return|Translate|Summarize"
_QUESTIONS = "What|Which|How|Why|Who|Where|When|Is|Are|Does|Do|Can"
_REQUEST = re.compile(rf"(?:(?<=[.!?] )|(?<=\n)|\A)(?P<verb>{_REQUESTS})\b(?P<rest>[^.?!:\n]+)\.")
_QUESTION = re.compile(rf"(?:(?<=[.!?] )|(?<=\n)|\A)(?P<verb>{_QUESTIONS})\b(?P<rest>[^.?!:\n]*\?)")
OPENINGS = ("Please answer this: ", "Could you answer the following? ", "I would like to know: ")

_SYNONYMS = """
    do not = don't; does not = doesn't; did not = didn't; is not = isn't; are not = aren't; will not = won't
    cannot = can't; don't = do not; doesn't = does not; isn't = is not; aren't = are not; can't = cannot
    which of the following = which of these; calculate = compute; compute = calculate; determine = work out
    assume = suppose; suppose = assume; choose = select; select = choose; provide = give; explain = describe
    consider the following = look at the following; solve the following = solve this; show that = prove that
    present your = show your; your task is to = you have to; you need to = you have to
    you are given = you have been given; make sure = be sure; as follows = like this; write down = note down
    answer: = response:; options: = choices:; question: = problem:
    in order to = to; because = since; approximately = roughly; however = but; therefore = so
    for example = for instance; such as = like; consisting of = made up of; begins = starts; begin = start
    obtain = get; largest = biggest; entire = whole; purchase = buy
"""


def paraphrase(text: str, rng: np.random.Generator, *, openings: Sequence[str] = OPENINGS) -> str:
    """Reword about three in four of the places that a rule fits; where none does, put one of the openings before.

    Without openings such a text comes back as it is.
    """

    def reword(match: re.Match[str], new: str) -> str:
        return match.group() if rng.random() < _KEEP else new

    def ask(match: re.Match[str]) -> str:
        return reword(match, f"Can you {match['verb'].lower()}{match['rest']}?")

    def request(match: re.Match[str]) -> str:
        return reword(match, f"Please tell me: {match['verb'].lower()}{match['rest']}")

    synonyms = _synonyms()

    def swap(match: re.Match[str]) -> str:
        return reword(match, _in_case_of(match.group(), synonyms[match.group().lower()]))

    changed = _REQUEST.sub(ask, _QUESTION.sub(request, text, count=1), count=1)
    changed = _any_of(synonyms).sub(swap, changed)
    if changed != text or not openings:
        return changed
    return openings[int(rng.integers(len(openings)))] + text


@cache
def _synonyms() -> dict[str, str]:
    pairs = (pair.split(" = ") for line in _SYNONYMS.splitlines() for pair in line.split(";") if pair.strip())
    return {old.strip(): new.strip() for old, new in pairs}


def _any_of(synonyms: Mapping[str, str]) -> re.Pattern[str]:
    longest_first = sorted(synonyms, key=len, reverse=True)
    return re.compile(r"(?<![\w'])(?:" + "|".join(map(re.escape, longest_first)) + r")(?![\w'])", re.IGNORECASE)


def _in_case_of(old: str, new: str) -> str:
    if old.isupper():
        return new.upper()
    return new[0].upper() + new[1:] if old[0].isupper() else new
