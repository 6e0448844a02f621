"""What becomes of rounds that nobody judged, or not yet: declared, never guessed from the data."""

from dataclasses import dataclass
from typing import Literal

HOW = ("ignore", "impute", "censor")


@dataclass(frozen=True, slots=True)
class Missing:
    """A declaration for the metric that is the quality.

    Attributes:
        how: ``ignore`` leaves unjudged rounds out: right where who judges does not depend on the answer. ``impute``
            keeps them with the quality that is expected of the drawn arm, which that arm's judged rounds correct: their
            queries count, their answers do not. Right where who judges depends on the arm at most, or also on the query
            and the model is right. ``censor`` is ``ignore``, and leaves out whatever began less than ``within_s``
            before the log's last decision, judged or not: where quick judgements are unlike late ones, the newest
            rounds hold too many of the quick ones.
        within_s: Seconds after which hardly any judgement comes.
    """

    how: Literal["ignore", "impute", "censor"] = "ignore"
    within_s: float = 0.0
