"""What an encoder reads of a text: its plain wording, and of that the head and the tail, so that a megabyte costs as
much as a page."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from policies.wording import WORDING_ID, unframed, written_out


@dataclass(frozen=True)
class Bounds:
    """How many characters reach the tokenizer and how many tokens the model, from each end of the text.

    A question often stands at one end of a long paste; the middle is what is dropped. Special tokens count apart.
    ``wording`` names the rules of ``policies.wording`` and ``policies.encoders.spelling`` that the text went through.
    """

    head_chars: int = 1024
    tail_chars: int = 1024
    head_tokens: int = 63
    tail_tokens: int = 63
    wording: str = WORDING_ID

    def clip_text(self, text: str) -> str:
        """The text as the tokenizer may see it: in plain wording, bounded, and without lone surrogates."""
        text = unframed(text)
        if len(text) > self.head_chars + self.tail_chars:
            text = text[: self.head_chars] + "\n" + text[len(text) - self.tail_chars :]
        text = written_out(text)
        return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")

    def clip_tokens(self, ids: list[int]) -> list[int]:
        """The first `head_tokens` and the last `tail_tokens` of the ids."""
        if len(ids) <= self.head_tokens + self.tail_tokens:
            return ids
        return ids[: self.head_tokens] + ids[len(ids) - self.tail_tokens :]

    def facts(self) -> dict[str, int | str]:
        """The bounds as JSON values, for an encoder id or a manifest."""
        return asdict(self)
