"""Reads numbers as people and models write them: separators, fractions, percent, powers of ten, LaTeX."""

import math
import re
from dataclasses import dataclass

# Every repetition is bounded or walks over one kind of character: the text may be written to make it slow.
_DIGITS = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+"
_NUMBER = re.compile(
    rf"(?P<sign>[-+])? ?[$€£¥]? ?(?P<sign2>[-+])? ?(?P<digits>{_DIGITS})"
    r"(?:[eE](?P<exp>[-+]?\d{1,3})| ?(?:\*|×|x|\\times|\\cdot) ?10 ?\^ ?\{?(?P<power>[-+]?\d{1,3})\}?)?"
    rf"(?: ?/ ?(?P<below>[-+]? ?(?:{_DIGITS})))? ?(?P<percent>%|percent\b)?",
)
_LATEX_FRACTION = re.compile(
    r"(?P<whole>(?<![\w.])\d+ ?)?\\[dt]?frac ?(?:\{ ?(?P<a>-?[\d.,]+) ?\}|(?P<a1>\d))"
    r" ?(?:\{ ?(?P<b>-?[\d.,]+) ?\}|(?P<b1>\d))"
)
_MIXED = re.compile(r"(?<![\w./])(\d+) {1,2}(\d+) ?/ ?(\d+)(?![\w./])")
_WRAPPED = re.compile(r"\\(?:text|mathrm|textbf|mathbf|operatorname|mbox)\s*\{([^{}]*)\}")
_SPACING = re.compile(
    r"(?<=\d)(?:\\[,;:! ]|\{,\}|\u2009|\u202f|\u00a0)(?=\d{3})|\\[!;:]|\\(?:left|right|displaystyle)\b"
)
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")


@dataclass(frozen=True, slots=True)
class Number:
    """A number in a text; ``percent`` if it was written as one (``value`` is then of the hundred: 25 for 25 %)."""

    value: float
    percent: bool = False

    def readings(self) -> tuple[float, ...]:
        """What it may mean: 25 % is 25 where the task counts in percent, and 0.25 where it does not."""
        return (self.value, self.value / 100) if self.percent else (self.value,)


def numbers_in(text: str) -> list[Number]:
    """Every finite number of the text, in order."""
    plain = _plain(text)
    found = []
    for match in _NUMBER.finditer(plain):
        number = _read(match, plain)
        if number is not None:
            found.append(number)
    return found


def same(one: Number, other: Number, *, absolute: float, relative: float) -> bool:
    """Whether two numbers mean the same within ``absolute`` or ``relative`` of the second."""
    if one.percent == other.percent:
        pairs = [(one.value, other.value)]
    else:
        pairs = [(a, b) for a in one.readings() for b in other.readings()]
    return any(abs(a - b) <= max(absolute, relative * abs(b)) for a, b in pairs)


def _plain(text: str) -> str:
    """LaTeX and typography rewritten as plain figures."""
    text = text.replace("−", "-").replace("–", "-").replace("\\%", "%").replace("\\$", "$")
    text = _SPACING.sub("", text)
    text = _WRAPPED.sub(r" \1 ", text)
    text = _LATEX_FRACTION.sub(_fraction, text)
    return _MIXED.sub(lambda m: _quotient(m[1], m[2], m[3]), text)


def _fraction(match: re.Match[str]) -> str:
    above, below = match["a"] or match["a1"], match["b"] or match["b1"]
    return _quotient(match["whole"] or "", above.replace(",", ""), below.replace(",", ""))


def _quotient(whole: str, above: str, below: str) -> str:
    """``whole above/below`` as one fraction in figures."""
    if not whole.strip():
        return f" {above}/{below}"
    try:
        return f" {float(whole) * float(below) + float(above)!r}/{below}"
    except (ValueError, OverflowError):
        return f" {above}/{below}"


def _read(match: re.Match[str], text: str) -> Number | None:
    before = text[match.start("digits") - 1] if match.start("digits") else ""
    try:
        value = float(match["digits"].replace(",", ""))
        power = match["exp"] or match["power"]
        value *= 10.0 ** int(power) if power else 1.0
        below = float(match["below"].replace(",", "").replace(" ", "")) if match["below"] else 1.0
    except (ValueError, OverflowError):
        return None
    if before and before in _LETTERS:  # x2, step_3: part of a name
        return None
    value = value / below if below else math.nan
    # After a digit, a bracket or a word's end a dash is a minus sign of a difference or a range: 3-5, (a)-2.
    signs = [name for name in ("sign", "sign2") if match[name] == "-" and _begins(text, match.start(name))]
    return Number(-value if len(signs) % 2 else value, bool(match["percent"])) if math.isfinite(value) else None


def _begins(text: str, at: int) -> bool:
    return at == 0 or not (text[at - 1].isalnum() or text[at - 1] in ")]}%")
