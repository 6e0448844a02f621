"""Undoes slips of the pen before a text is tokenised: a misspelt word falls into pieces that mean something else.

A word that the vocabulary lacks is taken for the most frequent one that is a single slip away: two letters swapped,
one too many, one missing, or in a longer word another one. The first letter stays, for slips are rare there, and so
does a word with a grammatical ending unless a far more frequent one lies beside it. Names and terms are left alone
where they are longer than a slip from everything known; a rare word that happens to lie beside a common one is changed,
the same way each time. A text of which four words and more
than two in five are unknown is left alone: it is of another language. Every change here that alters a word needs a new
``WORDING_ID``. Source of the idea: P. Norvig, "How to Write a Spelling Corrector", 2007, with the order of a WordPiece
vocabulary, which goes by frequency, in place of counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

SHORTEST, LONGEST = 3, 24  # letters of a word that is corrected
_SUBSTITUTED = 8  # letters from which on another letter may stand in a place: short words have too many neighbours
# Ranks up to which a word may be what one of three letters was meant to be; what one of four was, or after a slip that
# few make: for the same reason.
_VERY_COMMON, _COMMON = 1_000, 6_000
# How much rarer a word may be and still be meant, by the slip that lies between.
_LIKELY, _LACKS, _UNLIKELY, _EVEN = 1, 2, 8, 100
_ENDINGS_LIST = "s es ed d ing ly er ers or est al ic y ness able ized ised"
_ENDINGS = tuple(_ENDINGS_LIST.split())
MOST_WORDS = 50_000  # remembered
_RUN = re.compile(r"[^\W_]+")
# Words of code and science that general vocabularies lack and that stand a slip beside something else.
_TERMS_WORDS = """
    argc argon boron bromo clam comma const coul cyan debit dividend dram inert ints iter json ldots neuron nnet
    param phage phages pith positron rangle sine sinh spam sram
"""
_TERMS = frozenset(_TERMS_WORDS.split())


class Speller:
    """Corrects words against the whole words of an uncased WordPiece vocabulary; microseconds a word."""

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        """``vocabulary``: token → id; ids rise as words get rarer."""
        words = [word for word in vocabulary if len(word) >= SHORTEST and word.isascii() and word.isalpha()]
        self._words = sorted(words, key=vocabulary.__getitem__)
        self._rank = {word: rank for rank, word in enumerate(self._words)}
        # Each word with one letter left out, as a hash: what lacks a letter is found in one search, and a table of
        # numbers is a tenth of the strings' size. A hash only proposes; what it proposes is compared.
        found = [(hash(lacking), rank) for rank, word in enumerate(self._words) for lacking in _one_missing(word)]
        table = np.array(sorted(found), dtype=np.int64).reshape(-1, 2)
        self._meant: dict[str, str] = {}  # saves time and changes no answer
        self._lacking, self._whose = np.ascontiguousarray(table[:, 0]), table[:, 1].astype(np.int32)

    def word(self, word: str) -> str:
        """The word, of small letters, as it was probably meant."""
        if not is_spelt(word) or self.knows(word):
            return word
        meant = self._meant.get(word)
        if meant is None:
            if len(self._meant) >= MOST_WORDS:
                self._meant.clear()
            meant = self._meant[word] = self._nearest(word)
        return meant

    def knows(self, word: str) -> bool:
        """Whether the word, of small letters, is in the vocabulary or a term."""
        return word in self._rank or word in _TERMS

    def _nearest(self, word: str) -> str:
        near = dict.fromkeys(self._lacks_one(word), _LACKS)
        near |= dict.fromkeys(self._swapped_or_doubled(word), _LIKELY)
        if len(word) > SHORTEST:
            near |= {each: _UNLIKELY for each in self._added_or_other(word) if each not in near}
        if not near:
            return word
        meant = min(near, key=lambda rank: ((rank + _EVEN) * near[rank], rank))
        return self._words[meant] if meant < self._rarest(word) else word

    def _rarest(self, word: str) -> int:
        """Rank below which a word must be to be what this one was meant to be."""
        if len(word) == SHORTEST:
            return _VERY_COMMON
        stems = [self._rank[word[: -len(ending)]] for ending in _ENDINGS if self._stem_stands(word, ending)]
        if stems:  # an inflected word, unless a far more frequent one lies beside it
            return min(_VERY_COMMON, *stems)
        return _COMMON if len(word) == SHORTEST + 1 else len(self._words)

    def _stem_stands(self, word: str, ending: str) -> bool:
        return word.endswith(ending) and word[: -len(ending)] in self._rank

    def _lacks_one(self, word: str) -> list[int]:
        return [each for each in self._proposed([word]) if word in _one_missing(self._words[each])]

    def _swapped_or_doubled(self, word: str) -> list[int]:
        swapped = (word[:at] + word[at + 1] + word[at] + word[at + 2 :] for at in range(1, len(word) - 1))
        single = (word[:at] + word[at + 1 :] for at in range(1, len(word)) if word[at] == word[at - 1])
        return [self._rank[each] for each in (*swapped, *single) if each in self._rank]

    def _added_or_other(self, word: str) -> list[int]:
        lacking = _one_missing(word)
        near = [self._rank[each] for each in lacking if each in self._rank]
        if len(word) >= _SUBSTITUTED:
            near += [each for each in self._proposed(lacking) if _differs_once(word, self._words[each])]
        return [each for each in near if each < _COMMON]  # chlorine is no chloride

    def text(self, text: str) -> str:
        """The text with every word corrected, in small letters; as it is if it seems to be of another language."""
        words = [run for run in map(str.lower, _RUN.findall(text)) if is_spelt(run)]
        if is_foreign(sum(not self.knows(word) for word in words), len(words)):
            return text
        return _RUN.sub(self._replaced, text)

    def _replaced(self, found: re.Match[str]) -> str:
        run = found.group()
        meant = self.word(run.lower())
        return run if meant == run.lower() else meant

    def _proposed(self, lacking: list[str]) -> list[int]:
        """Words that, with an inner letter left out, may be one of these."""
        keys = np.array([hash(each) for each in lacking], dtype=np.int64)
        places = self._lacking.searchsorted(keys).tolist()
        ranks = []
        for key, place in zip(keys.tolist(), places, strict=True):
            while place < len(self._lacking) and self._lacking[place] == key:
                ranks.append(int(self._whose[place]))
                place += 1
        return ranks


def is_spelt(word: str) -> bool:
    """Whether a word, of small letters, is of a kind that is corrected: ASCII letters, not too few or too many."""
    return SHORTEST <= len(word) <= LONGEST and word.isascii() and word.isalpha()


def is_foreign(n_unknown: int, n_words: int) -> bool:
    """Whether so many of the words are unknown that they are no slips: four and more, and more than two in five."""
    return n_unknown >= 4 and 5 * n_unknown > 2 * n_words


def _one_missing(word: str) -> list[str]:
    """The word without one of its inner letters."""
    return [word[:at] + word[at + 1 :] for at in range(1, len(word) - 1)]


def _differs_once(word: str, other: str) -> bool:
    return len(word) == len(other) and sum(a != b for a, b in zip(word, other, strict=True)) == 1
