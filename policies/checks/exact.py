"""Equality after what does not matter was taken away: case, spaces, quotes, a closing full stop."""

import unicodedata

from policies.checks.base import (
    MOST_CHARS,
    Example,
    Grade,
    Options,
    Reference,
    Verdict,
    flag_option,
    known_options,
    references,
    right_if,
)
from policies.checks.final import marked

_AROUND = " \t\n\r\"'`*_“”‘’"


def normalised(text: str, *, fold_case: bool = True) -> str:
    """NFKC, lower case, single spaces, without quotes, emphasis and a full stop around it."""
    plain = " ".join(unicodedata.normalize("NFKC", text).split())
    plain = plain.strip(_AROUND).removesuffix(".").strip(_AROUND)
    return plain.casefold() if fold_case else plain


class Exact:
    """Right if the whole answer, or the result it marks, equals a reference after `normalised`.

    Options: ``case_sensitive`` (false).
    """

    def prepare(self, reference: Reference, options: Options) -> Grade:
        known_options(options, ("case_sensitive",), check="exact")
        fold = not flag_option(options, "case_sensitive", False, check="exact")
        wanted = {normalised(text, fold_case=fold) for text in references(reference, check="exact")}

        def grade(answer: str) -> Verdict:
            if not answer.strip():
                return Verdict(0.0, "empty answer")
            tail = answer[-MOST_CHARS:]
            said = (tail, marked(tail) or "")
            right = any(normalised(text, fold_case=fold) in wanted for text in said if text)
            return right_if(right, reason="differs from the reference")

        return grade

    def example(self) -> Example:
        return Example(right="The answer is **Paris**.", wrong="Lyon", reference="paris")
