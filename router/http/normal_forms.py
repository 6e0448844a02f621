"""By how much a text can grow in a tokenizer that normalises it first (Unicode Standard Annex 15)."""

from typing import Literal
from unicodedata import is_normalized, normalize

_FORMS: tuple[Literal["NFC", "NFKC"], ...] = ("NFC", "NFKC")


def grown_bytes(text: str) -> int:
    """UTF-8 bytes that NFC or NFKC adds to a text, 0 where neither does: one sign of three bytes can become 33.

    Qwen's tokenizers read NFC, those of XLM-R's family NFKC; then no token is made of less than a byte of that.
    """
    if text.isascii():
        return 0
    n_bytes = _n_bytes(text)
    forms = (form for form in _FORMS if not is_normalized(form, text))
    return max((0, *(_n_bytes(normalize(form, text)) - n_bytes for form in forms)))


def _n_bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
