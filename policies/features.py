"""Cheap lexical features of a query: what a policy may know in microseconds, with or without an embedding.

Counting is done on bytes with `translate`, which runs at memory speed; words are looked up in one dictionary pass. No
feature sees capitals, courtesies or white space around the text, and how much of it stands between words and at line
ends counts for nothing but the token estimate: neither changes what is asked. Line breaks and indents are seen, for
they mark code and lists. Of a text over 4,096 characters, blanks inside move what of it is scanned.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import ceil, log1p

import numpy as np
from numpy.typing import NDArray

from policies.wording import unframed, written_out

FEATURES_ID = "lexical-3"  # change it with any change below that alters a value
_SCAN_CHARS = 2048  # from each end of the text
_ESTIMATE_CHARS = 8192
_TOKEN_MARKS = bytes(c for c in range(33, 127) if not chr(c).isalpha())

_DIGITS, _BLANKS = b"0123456789", b" \t\r\n"
_BYTE_CLASSES: dict[str, bytes] = {
    "digit_share": _DIGITS,
    "operator_share": b"+-*/=<>^%",
    "bracket_share": b"()[]{}",
    "code_mark_share": b"{};_`#",
    "latex_mark_share": b"\\$",
    "quote_share": b"\"'",
    "latin_extended_share": bytes(range(0xC3, 0xCA)),
    "cyrillic_share": bytes(range(0xD0, 0xD4)),
    "arabic_share": bytes(range(0xD8, 0xDC)),
    "indic_share": b"\xe0",
    "cjk_share": bytes(range(0xE3, 0xEE)),
    "emoji_share": b"\xf0",
}
_FORMS: dict[str, bytes] = {  # what the opening and closing words ask for
    "asks_what": b"what",
    "asks_why": b"why",
    "asks_how": b"how",
    "asks_which": b"which",
    "asks_fact": b"who when where whose",
    "asks_yes_no": b"is are was were do does did can could should will would has have",
    "asks_write": b"write create compose draft generate design rewrite essay story poem email",
    "asks_explain": b"explain describe discuss compare define outline justify analyze analyse",
    "asks_math": b"solve prove derive calculate compute evaluate simplify integral derivative equation find",
    "asks_code": b"implement code function debug fix refactor python java javascript sql bash c++ rust class script",
    "asks_transform": b"translate summarize summarise paraphrase classify extract list convert shorten",
    "asks_steps": b"step steps reason think plan carefully",
}
_COUNTS: dict[str, bytes] = {  # counted over all scanned words
    "log_negations": b"not no never none neither nor without except cannot can't don't doesn't isn't false incorrect",
    "log_demands": b"must exactly only always least most required constraint constraints json format table words",
    "english_share": b"the of and to a in is that for it as with on be are this you by from or",
}
_FORM_OF = {word: i for i, words in enumerate(_FORMS.values()) for word in words.split()}
_COUNT_OF = {word: i for i, words in enumerate(_COUNTS.values()) for word in words.split()}
_LATEX = re.compile(rb"\\(?:frac|int|sum|sqrt|begin|cdot|left|mathbb|alpha|theta|lim|times)")
_LINE_OF_CODE = rb"""
    def[ \t]+\w+[ \t]*\( | class[ \t]+\w+(?:\(|[ \t]*\{|:$) | \#include[ \t]*[<"]
    | from[ \t]+[\w.]+[ \t]+import\b | import[ \t]+(?:[{*"'(]|[\w.]+(?:[ \t]+as[ \t]+\w+|[ \t]+from[ \t]+["']|;|$))
    | public[ \t][\w \t<>\[\],.=]*(?:\w\(|[{;]$) | function[ \t]*\w*\([^()\n]*\)[ \t]*\{
    | const[ \t]+\w+[ \t]*= | let[ \t]+(?:mut[ \t]+)?\w+[ \t]*=[^\n]*;$
    | select[ \t]+(?:\*|\w[\w.]*[.,(_])[^\n]*\sfrom\s
"""  # "Let G be …", "Select one from …" and "Class 2: …" are prose
_CODE = re.compile(rb"```|\n(?:" + _LINE_OF_CODE + rb")|\n[ ]{4}\S", re.MULTILINE | re.VERBOSE)
_OPTION = re.compile(rb"\n[ \t]*\(?[a-j][).:]")
_ITEM = re.compile(rb"\n[ \t]*(?:[-*]|\d{1,2}[.)])[ \t]")
_SHAPE = ("log_chars", "log_words", "word_length", "distinct_share", "log_lines", "log_paragraphs", "log_questions")
_MARKS = ("log_latex", "log_code", "log_options", "log_items", "non_ascii_share", "ends_with_question")
_REQUEST = ("has_tools", "wants_schema", "has_image", "log_turn", "log_prompt_tokens")

FEATURE_NAMES: tuple[str, ...] = (*_SHAPE, *_MARKS, *_BYTE_CLASSES, *_FORMS, *_COUNTS, *_REQUEST)

_KEPT = _DIGITS + bytes(range(97, 123)) + b"'+" + bytes(range(0x80, 0x100))
_TO_WORDS = bytes(c if c in _KEPT else 32 for c in range(256))
_NEAR = 14  # words at either end in which the form of a question is looked for


def lexical_features(
    text: str,
    *,
    has_tools: bool = False,
    wants_schema: bool = False,
    has_image: bool = False,
    turn: int = 1,
    prompt_tokens: int | None = None,
) -> NDArray[np.float32]:
    """The features named by `FEATURE_NAMES`, float32, shape (len(FEATURE_NAMES),), all finite.

    Args:
        text: The query; of a long one only the first and last 2048 characters are scanned.
        has_tools: The request offers tools.
        wants_schema: The request demands a JSON schema or a JSON object.
        has_image: The request holds an image.
        turn: 1 for the first user turn of the conversation.
        prompt_tokens: Estimated tokens of the whole request; None means those of the text.
    """
    asked = unframed(text).strip()
    scanned = asked if len(asked) <= 2 * _SCAN_CHARS else f"{asked[:_SCAN_CHARS]}\n{asked[-_SCAN_CHARS:]}"
    lines = written_out(scanned).lower().encode("utf-8", "replace").split(b"\n")
    raw = b"\n".join(line.rstrip() for line in lines)
    solid, words = raw.translate(None, _BLANKS), raw.translate(_TO_WORDS).split()
    tokens = estimate_tokens(text) if prompt_tokens is None else prompt_tokens
    values = [
        *_shape(raw, words, n_solid=len(solid), share_scanned=min(1.0, 2 * _SCAN_CHARS / max(len(asked), 1))),
        *_marks(raw, solid),
        *_byte_shares(solid),
        *_forms(words),
        *_counts(words),
        *(float(has_tools), float(wants_schema), float(has_image), log1p(max(turn, 0)), log1p(max(tokens, 0))),
    ]
    return np.array(values, np.float32)


def estimate_tokens(text: str) -> int:
    """Tokens of a text, estimated from its characters and rather too high than too low.

    A digit or a mark counts one, other ASCII characters 1/3.8 each, a Chinese character about 1.3. Of a long text only
    the first and last 8192 characters are looked at; the rest is taken to be like them.
    """
    scanned = text if len(text) <= 2 * _ESTIMATE_CHARS else text[:_ESTIMATE_CHARS] + text[-_ESTIMATE_CHARS:]
    raw = scanned.encode("utf-8", "replace")
    n_marks = len(raw) - len(raw.translate(None, _TOKEN_MARKS))
    tokens = n_marks + (len(scanned) - n_marks) / 3.8 + (len(raw) - len(scanned)) / 2
    return ceil(tokens * len(text) / max(len(scanned), 1))


def count_tokens(text: str) -> int:
    """`estimate_tokens` of all of a text, in pieces that are looked at whole."""
    return sum(estimate_tokens(text[at : at + 2 * _ESTIMATE_CHARS]) for at in range(0, len(text), 2 * _ESTIMATE_CHARS))


def _shape(raw: bytes, words: list[bytes], *, n_solid: int, share_scanned: float) -> Iterable[float]:
    yield log1p(n_solid / share_scanned)
    yield log1p(len(words) / share_scanned)
    yield n_solid / (len(words) + 1)
    yield len(set(words)) / (len(words) + 1)
    yield log1p(raw.count(b"\n"))
    yield log1p(raw.count(b"\n\n"))
    yield log1p(raw.count(b"?"))


def _marks(raw: bytes, solid: bytes) -> Iterable[float]:
    yield log1p(len(_LATEX.findall(raw)) if b"\\" in raw else 0)
    yield log1p(len(_CODE.findall(raw)))
    yield log1p(len(_OPTION.findall(raw)))
    yield log1p(len(_ITEM.findall(raw)))
    yield 0.0 if solid.isascii() else 1.0 - len(solid.decode("utf-8", "ignore").encode("ascii", "ignore")) / len(solid)
    yield float(raw[-1:] == b"?")


def _byte_shares(solid: bytes) -> Iterable[float]:
    n_bytes = len(solid)
    return [(n_bytes - len(solid.translate(None, kind))) / (n_bytes + 1) for kind in _BYTE_CLASSES.values()]


def _forms(words: list[bytes]) -> Iterable[float]:
    near = words if len(words) <= 2 * _NEAR else words[:_NEAR] + words[-_NEAR:]
    found = {_FORM_OF.get(word) for word in near}
    return [float(i in found) for i in range(len(_FORMS))]


def _counts(words: list[bytes]) -> Iterable[float]:
    kinds = [_COUNT_OF[word] for word in words if word in _COUNT_OF]
    return log1p(kinds.count(0)), log1p(kinds.count(1)), kinds.count(2) / (len(words) + 1)
