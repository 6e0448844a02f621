"""Bounds on what an encoder reads: the head and the tail of a text, so that a megabyte costs as much as a page."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Bounds:
    """How many characters reach the tokenizer and how many tokens the model, from each end of the text.

    A question often stands at one end of a long paste; the middle is what is dropped. Special tokens count apart.
    """

    head_chars: int = 1024
    tail_chars: int = 1024
    head_tokens: int = 63
    tail_tokens: int = 63

    def clip_text(self, text: str) -> str:
        """The text as the tokenizer may see it: bounded, and without lone surrogates, which it refuses."""
        if len(text) > self.head_chars + self.tail_chars:
            text = text[: self.head_chars] + "\n" + text[len(text) - self.tail_chars :]
        return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")

    def clip_tokens(self, ids: list[int]) -> list[int]:
        """The first `head_tokens` and the last `tail_tokens` of the ids."""
        if len(ids) <= self.head_tokens + self.tail_tokens:
            return ids
        return ids[: self.head_tokens] + ids[len(ids) - self.tail_tokens :]

    def facts(self) -> dict[str, int]:
        """The bounds as JSON values, for an encoder id or a manifest."""
        return asdict(self)
