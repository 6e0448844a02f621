"""One wording for what is written in several: takes courtesies off a prompt's ends and writes contractions out.

Whoever writes politely asks the same as whoever does not, and is to get the same arm. A sentence goes if it stands at
an end of the text, holds nothing but the words below, and one of them is a word of courtesy; the question itself always
stays. Marks that frame a whole prompt (a rule, a tag, ``Q:``) go too. This is no list of phrases: any sentence made of
such words goes, and one with a single word of content stays. English only: in other languages nothing is taken away.
"""

from __future__ import annotations

import re

WORDING_ID = "wording-1"  # change it with any change below that alters a text
_MOST_SENTENCES, _MOST_CHARS = 4, 160  # of courtesy at one end, and of one such sentence
_MOST_MARKUP = 80  # characters of a mark that frames a text

# Say that something is asked or thanked for, never what.
_COURTESY_WORDS = """
    hello hi hey dear greetings morning afternoon evening please kindly help helps helping helpful assist
    assistance assistant thank thanks thankful thankyou cheers obliged regards sincerely appreciate appreciated
    grateful gratefully sorry excuse bother bothering trouble favor favour wonder wondering wondered question
    questions query request task problem issue pls plz thx ty user users answer answers answering reply replies
    respond response hope luck sent forwarded regarding know
"""
_COURTESY = frozenset(_COURTESY_WORDS.split())
# Words that carry no topic; beside them a sentence needs one of courtesy.
_PLAIN_WORDS = """
    a an the this that these those it its i i'd i'm i've i'll me my mine we we'd we're our us you you'd you're
    your he she they someone somebody anyone anybody everyone nobody one ones here there am is are was were be
    been being have has had having do does did doing can could may might will would shall should must get got
    give given gave make let let's need needs needed want wanted like love try trying tried take took look
    looking find finds found see come came go going tell told ask asked asking say said and or but so if as for
    of to in on at by with from about via into before after below above following next another again more most
    much many very really just quite only also too any some all both few little lot bit good great nice best
    kind warm well fine new old quick quickly soon now today tomorrow yesterday time times day days week advance
    ahead possible able happy glad sure ok okay up out back over what friend friends sir madam team folks
    there's ai bot chatbot model language chatgpt system input message email mail phone mobile iphone android
    web form app device customer colleague work english native speaker stuck while hour hours minute minutes lol
    btw haha person item handle read message's reading write writing wrote put end start starting begin welcome
    yours truly faithfully wishes
"""
_PLAIN = frozenset(_PLAIN_WORDS.split())
_TOKEN = re.compile(r"([A-Za-z']+)|[^\s.,!?:;#>*()\-–—]")  # a word, or what stands in no courtesy: a digit, mathematics
_MARKUP = r"(?:[-=*]{3,}|<!--[^\n]{0,60}-->|</?[a-z][\w:-]{0,30}>|\[/?[A-Z_]{2,12}\]|[QA]:(?=\s|\Z))"
_OPENS, _CLOSES = re.compile(rf"\s*{_MARKUP}(?=\s)\s*"), re.compile(rf"(?<=\s){_MARKUP}\s*\Z")
_FIRST = re.compile(r"[^.!?:\n]*(?:[.!?:]+(?=\s)|\n)\s*")
_SIGNATURE = re.compile(
    r"\n\s*(?:(?:best|kind|warm|many|with) )*(?:regards|wishes|thanks|cheers|sincerely|yours)\b[^\n]{0,20}"
    r"(?:\n\s*[^\W\d_]+(?: [^\W\d_]+)?\.?)?\s*\Z",
    re.IGNORECASE,
)
_THANKS = re.compile(
    r"[\s,]+(?:many thanks|thanks|thank you|thx|ty|cheers|please|pls)"
    r"(?: so| very| much| a lot| again| in advance| for your (?:help|time))*[\s.!:;()]*\Z",
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
    return max(tail.rfind(mark, 0, end) for mark in ("\n", ". ", "! ", "? ", ": ")) + 1


def _may_be_courtesy(text: str, at: int) -> bool:
    """Whether the first word after a place is one that courtesies hold: most texts are done here."""
    found = _TOKEN.search(text, at, at + _MOST_CHARS)
    if found is None:
        return False
    word = found.group().lower().replace("’", "'")
    return word in _COURTESY or word in _PLAIN


def _is_courtesy(sentence: str) -> bool:
    if len(sentence) > _MOST_CHARS:
        return False
    courteous = False
    for found in _TOKEN.finditer(sentence.lower().replace("’", "'")):
        word = (found.group(1) or "").removesuffix("'s")
        if word in _COURTESY:
            courteous = True
        elif word not in _PLAIN:
            return False
    return courteous
