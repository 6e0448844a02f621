"""Small changes to a prompt that leave its question as it was: a good router chooses the same arm for both.

Robustness here is the share of prompts whose arm stays the same, as RouterArena counts it (1 − flips / prompts;
arXiv 2510.00202 and its ``global_utils/robustness.py``, whose noisy split holds paraphrases, grammar, synonyms and
typos). We use rules instead of a language model, so that anyone gets the same texts from the same seed, and add case,
white space and wrappings, which gateways see daily. What carries the question stays: code, LaTeX, quoted text, numbers,
single-letter names and the letters of options.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from training.paraphrase import OPENINGS, paraphrase
from training.phrases import CHATTER

Perturbation = Callable[[str, np.random.Generator], str]

TYPO_SHARE = 0.03  # of the letters of prose
_GAP_SHARE, _TAB_SHARE = 0.15, 0.03  # of the gaps between words
_MASK = "\ue000"  # private use: stands for one protected span

_PREFIXES = (
    "Please help me with this: ",
    "Hello! I have a question for you.\n\n",
    "Hi there, hope you are doing well. ",
    "You are a helpful assistant. Answer the user's question.\n\n",
    "I was wondering about the following.\n",
    "### User request\n",
)
_SUFFIXES = (
    "\n\nThanks in advance!",
    "\n\nThank you for your help.",
    "\nI would be grateful for an answer.",
    "\n\n--\nSent from my phone",
    "\n\nLet me know what you find.",
)

_CODE_LINE = (
    r"(?m:^[ \t]*(?:def |class |import |from \S+ import |return\b|assert |>>>|\.\.\. |\#include|@\w|print\("
    r"|(?:if|for|while|elif|with|try|else|except)\b[^\n]*:[ \t]*$|[\w.\[\]]+ ?[-+*/]?= ?\S)[^\n]*$)"
)
_BREAKS = r"\s,;:!?()\[\]\"'"
_PROTECTED = re.compile(
    "|".join(
        (
            r"(?s:```.*?(?:```|\Z))",
            r"(?s:\[(?P<tag>[A-Z]+)\].*?\[/(?P=tag)\])",
            r"`[^`\n]+`",
            r"(?s:\$\$.+?\$\$)",
            r"\$(?=[^\s$])[^$\n]*?(?<=[^\s$])\$(?!\d)",  # Pandoc's rule: "$5, then $3" is money
            r"(?s:\\\(.+?\\\)|\\\[.+?\\\])",
            r"(?s:\\begin\{(?P<environment>[\w*]+)\}.*?\\end\{(?P=environment)\})",
            r"\\[A-Za-z]+(?:\{[^{}\n]*\})*",
            _CODE_LINE,
            r"(?m:^[^\n]*[{};][ \t]*$)",
            r"https?://\S+",
            r"(?m:^[ \t]*\(?[A-Za-z][.):](?=\s))",  # option letters
            r"\([A-Za-z]\)",
            r"\"[^\"\n]{1,200}\"",
            rf"(?<![^{_BREAKS}])[^{_BREAKS}]*[\d\#_=<>{{}}\\|^~@](?:[^{_BREAKS}]*[^{_BREAKS}.])?",
            r"(?<![\w'’])[A-Za-z](?![\w'’])",
            _MASK,
        )
    )
)
_WORD = re.compile(r"[^\W\d_]+")
_SENTENCE_START = re.compile(r"(?:\A|[.!?]\s+|\n\s*)([^\W\d_])")


def perturbations() -> Mapping[str, Perturbation]:
    """Each perturbation by name: (prompt, rng) → prompt, the same for the same state of the generator.

    A prompt without prose (nothing but code, say) may come back unchanged from ``typos`` and the cases.
    """
    return MappingProxyType(
        {
            "typos": typos,
            "lower_case": lower_case,
            "upper_case": upper_case,
            "sentence_case": sentence_case,
            "white_space": white_space,
            "paraphrase": paraphrase_prose,
            "prefix": prefix,
            "suffix": suffix,
            "chatter": chatter,
        }
    )


def typos(text: str, rng: np.random.Generator) -> str:
    """Swap, drop or double about 3 % of the letters, inside words of four and more, at most once a word."""
    prose, spans = _mask(text)
    words = [match for match in _WORD.finditer(prose) if len(match.group()) >= 4]
    if not words:
        return text
    wanted = round(TYPO_SHARE * sum(len(match.group()) for match in words))
    chosen = rng.choice(len(words), size=min(max(wanted, 1), len(words)), replace=False)
    for index in sorted(chosen.tolist(), reverse=True):  # from the end: earlier places stay valid
        word = words[index]
        prose = prose[: word.start()] + _misspell(word.group(), rng) + prose[word.end() :]
    return _unmask(prose, spans)


def _misspell(word: str, rng: np.random.Generator) -> str:
    at = int(rng.integers(1, len(word) - 1))  # the first letter stays, as it does in most slips
    kind = int(rng.integers(3))
    if kind == 0 and word[at] != word[at + 1]:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return word[:at] + word[at + 1 :] if kind == 1 else word[:at] + word[at] + word[at:]


def lower_case(text: str, rng: np.random.Generator) -> str:
    """All prose in small letters."""
    prose, spans = _mask(text)
    return _unmask(prose.lower(), spans)


def upper_case(text: str, rng: np.random.Generator) -> str:
    """All prose in capitals."""
    prose, spans = _mask(text)
    return _unmask(prose.upper(), spans)


def sentence_case(text: str, rng: np.random.Generator) -> str:
    """A capital at the start of each sentence and line, small letters elsewhere; where that changes nothing, Titles."""
    prose, spans = _mask(text)
    changed = _SENTENCE_START.sub(lambda match: match.group().upper(), prose.lower())
    if changed == prose:
        changed = _WORD.sub(lambda match: match.group().capitalize(), prose)
    return _unmask(changed, spans)


def white_space(text: str, rng: np.random.Generator) -> str:
    """Doubled spaces and tabs between words, blank lines at the end, for every other prompt CRLF line ends."""
    prose, spans = _mask(text)

    def widen(match: re.Match[str]) -> str:
        draw = rng.random()
        return "\t" if draw < _TAB_SHARE else "  " if draw < _TAB_SHARE + _GAP_SHARE else match.group()

    changed = _unmask(re.sub(r"(?<=\S) (?=\S)", widen, prose), spans) + "\n" * int(rng.integers(1, 3))
    return re.sub(r"\r?\n", "\r\n", changed) if rng.random() < 0.5 else changed


def paraphrase_prose(text: str, rng: np.random.Generator, *, openings: Sequence[str] = OPENINGS) -> str:
    """Contractions, synonyms of instruction words, request for question and back (``training.paraphrase``)."""
    prose, spans = _mask(text)
    return _unmask(paraphrase(prose, rng, openings=openings), spans)


def prefix(text: str, rng: np.random.Generator) -> str:
    """A greeting, a plea or a system-like line before the prompt."""
    return _PREFIXES[int(rng.integers(len(_PREFIXES)))] + text


def suffix(text: str, rng: np.random.Generator) -> str:
    """Thanks or a signature after the prompt."""
    return text.rstrip("\n") + _SUFFIXES[int(rng.integers(len(_SUFFIXES)))]


def chatter(text: str, rng: np.random.Generator) -> str:
    """What people and programs put around a prompt, by somebody who had not seen the rules; some of it they know."""
    if rng.random() < 0.5:
        return CHATTER.openings[int(rng.integers(len(CHATTER.openings)))] + text
    return text.rstrip("\n") + CHATTER.endings[int(rng.integers(len(CHATTER.endings)))]


def _mask(text: str) -> tuple[str, list[str]]:
    """The text with one private character for each protected span, and the spans in order."""
    spans: list[str] = []

    def hide(match: re.Match[str]) -> str:
        spans.append(match.group())
        return _MASK

    return _PROTECTED.sub(hide, text), spans


def _unmask(prose: str, spans: list[str]) -> str:
    waiting = iter(spans)
    return re.sub(_MASK, lambda _: next(waiting), prose)
