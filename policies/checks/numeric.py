"""Right if the number an answer ends on is the reference's, whatever dress either wears."""

from policies.checks.base import (
    MOST_CHARS,
    CheckError,
    Example,
    Grade,
    Options,
    Reference,
    Verdict,
    known_options,
    number_option,
    references,
    right_if,
)
from policies.checks.final import enclosed, stated
from policies.checks.numbers import Number, numbers_in, same

TOLERANCE = 1e-6  # of the reference, for what a binary fraction cannot hold; looser by option


class Numeric:
    """The number of the result the answer marks (see `policies.checks.final.marked`), else the text's last number.

    Options: ``tolerance`` (absolute, 0) and ``relative_tolerance`` (1e-6 of the reference).
    """

    def prepare(self, reference: Reference, options: Options) -> Grade:
        known_options(options, ("tolerance", "relative_tolerance"), check="numeric")
        absolute = number_option(options, "tolerance", 0.0, check="numeric")
        relative = number_option(options, "relative_tolerance", TOLERANCE, check="numeric")
        wanted = [_only(text) for text in references(reference, check="numeric")]

        def grade(answer: str) -> Verdict:
            said = last_number(answer[-MOST_CHARS:])
            if said is None:
                return Verdict(0.0, "no number in the answer")
            right = any(same(said, each, absolute=absolute, relative=relative) for each in wanted)
            return right_if(right, reason="another number")

        return grade

    def example(self) -> Example:
        return Example(right="So she pays $1,250.00 in total.", wrong="She pays $1,205.", reference="1250")


def last_number(text: str) -> Number | None:
    """The number an answer settles on; None where it has none."""
    marked = enclosed(text)
    if marked is not None:
        return _result(marked)
    sentence = stated(text)
    result = None if sentence is None else _result(sentence)
    if result is not None:
        return result
    everywhere = numbers_in(text)
    return everywhere[-1] if everywhere else None


def _result(marked: str) -> Number | None:
    """The first number behind the last equals sign: of "5 + 7 = 12 apples" it is 12."""
    found = numbers_in(marked.rpartition("=")[2]) or numbers_in(marked)
    return found[0] if found else None


def _only(text: str) -> Number:
    found = numbers_in(text)
    if not found:
        raise CheckError("check numeric: reference: holds no number")
    return found[-1]
