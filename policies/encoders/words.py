"""Token ids of a text whose words are spelt right, by a memory of words: most were seen before, and a look-up is
cheaper than tokenising.

BERT's tokenizer handles a text word by word, and for plain ASCII what a word is takes one regular expression. Every
other text goes through the tokenizer whole, after its words were corrected; other tokenizers get texts as they are.
"""

from __future__ import annotations

import json
import re
from typing import Any

from tokenizers import Tokenizer

from policies.encoders.spelling import Speller

MOST_WORDS = 50_000
LONGEST_WORD = 24  # longer ones are rarely met again
_PLAIN = re.compile(r"[\t\n\r -~]*")
_WORDS = re.compile(r"[a-z0-9]+|[^a-z0-9\s]")  # BERT splits at white space and takes each ASCII sign for a word


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
        self._ids: dict[str, list[int]] = {}

    def ids(self, text: str) -> list[int]:
        """Token ids, without special tokens."""
        if not self._by_words or not _PLAIN.fullmatch(text) or any(token in text for token in self._special):
            return self._whole(text if self._speller is None else self._speller.text(text))
        known, found = self._ids, list[int]()
        for word in _WORDS.findall(text.lower()):
            ids = known.get(word)
            found += self._learn(word) if ids is None else ids
        return found

    def _learn(self, word: str) -> list[int]:
        ids = self._whole(word if self._speller is None else self._speller.word(word))
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
