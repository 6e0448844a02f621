"""One wording for what is written in several: takes courtesies off a prompt's ends and writes contractions out.

Whoever writes politely asks the same as whoever does not, and is to get the same arm. A sentence goes if it stands at
an end of the text, holds nothing but the words below, and one of them is a word of courtesy; a question goes only if
it asks for help. Marks that frame a whole prompt (a rule, a tag such as ``<user_query>``, ``Q:``) go too. This is no
list of phrases: any sentence made of such words goes, and one with a single word of content stays. What goes is not
seen by encoders and features; the model is asked with all of it. English only: in other languages nothing is taken
away.
"""

from __future__ import annotations

import re

WORDING_ID = "wording-2"  # change it with any change below that alters a text
_MOST_SENTENCES, _MOST_CHARS = 4, 160  # of courtesy at one end, and of one such sentence
_MOST_MARKUP = 80  # characters of a mark that frames a text

# Say that something is asked or thanked for, never what.
_COURTESY_WORDS = """
    hello hi hey dear greetings morning afternoon evening please kindly help helps helping helpful assist
    assistance assistant thank thanks thankful thankyou cheers obliged regards sincerely appreciate appreciated
    grateful gratefully sorry excuse bother bothering trouble favor favour wonder wondering wondered question
    questions request task problem issue pls plz thx ty user users answer answers answering response luck sent
    forwarded regarding know hope
"""
_COURTESY = frozenset(_COURTESY_WORDS.split())
# Words that carry no topic; beside them a sentence needs one of courtesy.
_PLAIN_WORDS = """
    a an the this that these those it its i i'd i'm i've i'll me my mine we we'd we're our us you you'd you're
    your he she they someone somebody anyone anybody everyone nobody one ones here there am is are was were be
    been being have has had having do does did doing can could may might will would shall should must get got
    let let's need needs needed want wanted like love take took look looking see come came go going ask asked
    asking and or but so if as for of to in on at by with from about via into before after below above following
    next another again more most much many very really just quite only also too any some all both few little lot
    bit good great nice best kind warm well fine new old quick quickly soon now today tomorrow yesterday time
    times day days week advance ahead possible able happy glad sure ok okay up out back over what sir madam team
    folks ai bot chatbot model chatgpt system input phone mobile iphone android web form app device work stuck
    while hour hours minute minutes end start starting begin welcome yours truly faithfully wishes
"""
_PLAIN = frozenset(_PLAIN_WORDS.split())
_PLEAS = frozenset({"help", "assist", "please", "pls"})  # one of these makes a courtesy of a question
_TOKEN = re.compile(r"([A-Za-z'’]+)|[^\s.,!?:;#>*()\-–—]")  # a word, or what stands in no courtesy: a digit, a formula
_RULE = r"[-=*]{3,}"
_TAG = r"[\w:-]*(?:query|question|prompt|user|input|task|message|request|instructions?)[\w:-]*"
_ROLE = r"\[/?(?:INST|SYS|SYSTEM|USER|ASSISTANT|HUMAN)\]"
_OPENS = re.compile(rf"\s*(?:{_RULE}(?=[ \t]*\n)|<{_TAG}>|{_ROLE}|Q:)(?=\s)\s*", re.IGNORECASE)
_CLOSES = re.compile(rf"(?:(?<=\n){_RULE}|(?<=\s)(?:</{_TAG}>|<!--[^\n]{{0,60}}-->|{_ROLE}|A:))\s*\Z", re.IGNORECASE)
_FIRST = re.compile(r"[^.!?:\n]*(?:[.!?:]+(?=\s)|\n)\s*")
# A closing line after a sentence or a blank line, and a name below it.
_SIGNATURE = re.compile(
    r"(?<=[.!?\n])\n[ \t]*(?:(?:best|kind|warm|many|with)[ \t]+)*(?:regards|wishes|thanks|cheers|sincerely|yours)"
    r"(?:,[ \t]*[^\W\d_]+)?[ \t,.!]*(?:\n[ \t]*[^\W\d_]+(?:[ \t]+[^\W\d_]+)?\.?)?\s*\Z",
    re.IGNORECASE,
)
# After a mark that ends or interrupts a sentence: "how do you say thank you" asks for the words.
_THANKS = re.compile(
    r"(?<=[.!?,;\n])\s*(?:many[ \t]+thanks|thanks|thank[ \t]+you|thx|ty|cheers|please|pls)"
    r"(?:[ \t]+(?:so|very|much|a[ \t]+lot|again|in[ \t]+advance|for[ \t]+your[ \t]+(?:help|time)))*[\s.!:;()]*\Z",
    re.IGNORECASE,
)
_CONTRACTED = re.compile(r"\b(?:(\w+)n['’]t|(can)not|(\w+)['’](re|ll|ve|m))\b", re.IGNORECASE)
_STEMS = {"ca": "can", "wo": "will", "sha": "shall"}
_AFTER = {"re": "are", "ll": "will", "ve": "have", "m": "am"}


def written_out(text: str) -> str:
    """The text with its contractions in full: "don't" and "do not" ask the same."""
    return _CONTRACTED.sub(_written_out, text)


def _written_out(found: re.Match[str]) -> str:
    stem, can, whole, after = found.groups()
    if after is not None:
        return f"{whole} {_AFTER[after.lower()]}"
    return f"{can or _STEMS.get(stem.lower(), stem)} not"


def unframed(text: str) -> str:
    """The text without courtesies at its ends; a text that holds nothing else comes back as it is.

    Only the first and last few sentences are looked at, so a megabyte costs as much as a page.
    """
    start, stop = _after_opening(text), _before_ending(text)
    return text[start:stop] if start < stop and (start > 0 or stop < len(text)) else text


def _after_opening(text: str) -> int:
    """Where the text begins if courtesies before it go."""
    at, start = len(text) - len(text.lstrip()) if text[:1].isspace() else 0, 0
    for _ in range(_MOST_SENTENCES):
        if (framed := _OPENS.match(text, at, at + _MOST_CHARS)) is not None and framed.end() < len(text):
            start = at = framed.end()
            continue
        if not _may_be_courtesy(text, at):
            break
        found = _FIRST.match(text, at, at + _MOST_CHARS)
        if found is None or found.end() == len(text) or not _is_courtesy(found.group()):
            break
        start = at = found.end()
    return start


def _before_ending(text: str) -> int:
    """Where the text ends if courtesies after it go."""
    tail = text[-_MOST_SENTENCES * _MOST_CHARS :]
    stop = len(tail)
    if "\n" in tail and (signed := _SIGNATURE.search(tail, max(stop - _MOST_CHARS, 0))) is not None:
        stop = signed.start()
    if (thanked := _THANKS.search(tail, max(stop - _MOST_MARKUP, 0), stop)) is not None:
        stop = thanked.start()
    for _ in range(_MOST_SENTENCES):
        if (framed := _CLOSES.search(tail, max(stop - _MOST_MARKUP, 0), stop)) is not None:
            stop = framed.start()
            continue
        place = _last_sentence(tail, stop)
        if place <= 0 or not _may_be_courtesy(tail, place) or not _is_courtesy(tail[place:stop]):
            break
        stop = place
    if stop == len(tail):
        return len(text)
    # A dash or a rule that set the courtesy off goes with it.
    return len(text) - len(tail) + len(tail[:stop].rstrip(" \t\r\n-–—"))


def _last_sentence(tail: str, stop: int) -> int:
    """Where the last sentence before ``stop`` begins; 0 if it is the only one."""
    end = stop
    while end and tail[end - 1] in " \t\r\n.!?:-–—":
        end -= 1
    return max(tail.rfind(mark, 0, end) for mark in ("\n", ". ", "! ", "? ")) + 1


def _may_be_courtesy(text: str, at: int) -> bool:
    """Whether the first word after a place is one that courtesies hold: most texts are done here."""
    found = _TOKEN.search(text, at, at + _MOST_CHARS)
    return found is not None and (_word(found) in _COURTESY or _word(found) in _PLAIN)


def _is_courtesy(sentence: str) -> bool:
    if len(sentence) > _MOST_CHARS:
        return False
    words = []
    for found in _TOKEN.finditer(sentence):
        words.append(_word(found))
        if words[-1] not in _COURTESY and words[-1] not in _PLAIN:
            return False
    needed = _PLEAS if sentence.rstrip().endswith("?") else _COURTESY
    return not needed.isdisjoint(words)


def _word(found: re.Match[str]) -> str:
    """A token in small letters, without its genitive; empty for what is no word."""
    return (found.group(1) or "").lower().replace("’", "'").removesuffix("'s")
