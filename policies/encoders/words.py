"""Token ids of a text whose words are spelt right, by a memory of words: most were seen before, and a look-up is
cheaper than tokenising.

BERT's tokenizer handles a text word by word, and for plain ASCII what a word is takes one regular expression. Every
other text goes through the tokenizer whole, after its words were corrected; other tokenizers get texts as they are.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from tokenizers import Tokenizer

from policies.encoders.spelling import Speller, is_foreign, is_spelt

MOST_WORDS = 50_000
LONGEST_WORD = 24  # longer ones are rarely met again
_PLAIN = re.compile(r"[\t\n\r -~]*")
_WORDS = re.compile(r"[a-z0-9]+|[^a-z0-9\s]")  # BERT splits at white space and takes each ASCII sign for a word


class _Ids(NamedTuple):
    """Token ids of a word as written and as meant; whether it is of a kind that is corrected, and whether unknown."""

    as_is: list[int]
    meant: list[int]
    spelt: bool
    unknown: bool


class WordMemory:
    """Ids as ``tokenizer.encode(speller.text(text), add_special_tokens=False)`` gives them.

    Several threads may ask at once: what is remembered changes no answer.

    Source: the definitions of `BertNormalizer` and `BertPreTokenizer` in huggingface/tokenizers.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        definition = json.loads(tokenizer.to_str())
        self._by_words = _is_bert(definition)
        self._speller = Speller(definition["model"]["vocab"]) if self._by_words else None
        self._special = tuple(token["content"] for token in definition.get("added_tokens") or ())
        self._ids: dict[str, _Ids] = {}

    def ids(self, text: str) -> list[int]:
        """Token ids, without special tokens."""
        if not self._by_words or not _PLAIN.fullmatch(text) or any(token in text for token in self._special):
            return self._whole(text if self._speller is None else self._speller.text(text))
        known = self._ids
        words = [known.get(word) or self._learn(word) for word in _WORDS.findall(text.lower())]
        as_is = is_foreign(sum(word.unknown for word in words), sum(word.spelt for word in words))
        return [each for word in words for each in (word.as_is if as_is else word.meant)]

    def _learn(self, word: str) -> _Ids:
        speller, spelt = self._speller, is_spelt(word)
        as_is, meant = self._whole(word), word if speller is None else speller.word(word)
        unknown = spelt and speller is not None and not speller.knows(word)
        ids = _Ids(as_is, as_is if meant == word else self._whole(meant), spelt, unknown)
        if len(word) <= LONGEST_WORD:
            if len(self._ids) >= MOST_WORDS:
                self._ids.clear()
            self._ids[word] = ids
        return ids

    def _whole(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids


def _is_bert(definition: dict[str, Any]) -> bool:
    normalizer, pre_tokenizer = definition.get("normalizer") or {}, definition.get("pre_tokenizer") or {}
    return bool(
        normalizer.get("type") == "BertNormalizer"
        and normalizer.get("clean_text")
        and normalizer.get("lowercase")
        and pre_tokenizer.get("type") == "BertPreTokenizer"
        and (definition.get("model") or {}).get("type") == "WordPiece"
    )
