"""Finds the part of a reply that states the result, where the reply marks it."""

import re
from collections.abc import Callable

import orjson

# Every repetition below is bounded or walks over one kind of character: the text may be written to make it slow.
_JSON_ANSWER = re.compile(r'"answer"\s{0,8}:\s{0,8}("(?:[^"\\]|\\.)*"|[^",}\n]+)')
_HASHES = re.compile(r"####[ \t]*([^\n]+)")
_STATED = re.compile(
    r"(?:final answer|the answer|correct answer|correct option|correct choice|best answer)\W{0,6}"
    r"(?:is|would be|should be|=|:)\s{0,4}:?\s{0,4}([^\n]+)",
    re.IGNORECASE,
)
_LABELLED = re.compile(r"^[ \t*#_>]*(?:final )?answer[ \t*]{0,8}[:=]\s{0,4}([^\n]+)", re.IGNORECASE | re.MULTILINE)


def marked(text: str) -> str | None:
    """The last marked result: an `enclosed` one, else a `stated` one; None without either."""
    found = enclosed(text)
    return stated(text) if found is None else found


def enclosed(text: str) -> str | None:
    """The last result between marks that leave no doubt, by the first kind there is; None without one.

    Kinds, in order: ``<answer>…</answer>``, a JSON member ``"answer"``, ``\\boxed{…}``, ``#### …``.
    """
    return _first((_tagged, _json_member, boxed, _hashed), text)


def stated(text: str) -> str | None:
    """The last result announced in words: "the answer is …", else a line "Answer: …"; None without one."""
    return _first((_sentence, _labelled), text)


def _first(finders: tuple[Callable[[str], str | None], ...], text: str) -> str | None:
    for find in finders:
        found = find(text)
        if found is not None and found.strip():
            return found.strip()
    return None


def boxed(text: str) -> str | None:
    r"""What the last ``\boxed{…}`` or ``\fbox{…}`` holds, braces matched."""
    start = max(text.rfind("\\boxed{"), text.rfind("\\fbox{"))
    if start < 0:
        return None
    begin = text.index("{", start) + 1
    depth = 1
    for at in range(begin, len(text)):
        depth += (text[at] == "{") - (text[at] == "}")
        if depth == 0:
            return text[begin:at]
    return None


def _last(pattern: re.Pattern[str], text: str) -> str | None:
    found = pattern.findall(text)
    return str(found[-1]) if found else None


def _tagged(text: str) -> str | None:
    low = text.lower() if text.isascii() else text  # lowering other alphabets may move the places
    end = low.rfind("</answer>")
    begin = low.rfind("<answer>", 0, max(end, 0))
    return text[begin + len("<answer>") : end] if begin >= 0 else None


def _json_member(text: str) -> str | None:
    found = _last(_JSON_ANSWER, text)
    if found is None or not found.startswith('"'):
        return found
    try:
        return str(orjson.loads(found))
    except orjson.JSONDecodeError:
        return found[1:-1]


def _hashed(text: str) -> str | None:
    return _last(_HASHES, text)


def _sentence(text: str) -> str | None:
    found = _last(_STATED, text)
    # "The correct answer is:\n\nThe answer is B.": what is stated may itself be such a sentence.
    inner = None if found is None else _last(_STATED, found)
    return inner or found


def _labelled(text: str) -> str | None:
    return _last(_LABELLED, text)
