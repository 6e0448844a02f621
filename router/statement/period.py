"""Budget windows by their names: of now, as in ``day``, or of then, as in ``2026-11-30``."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import get_args

from router.store.ledger import LABELS, Per, ends_at, label_of


@dataclass(frozen=True, slots=True)
class Period:
    """One window's time: POSIX seconds from `since` on and before `until`."""

    per: Per
    label: str
    since: int
    until: int


def read_period(text: str, *, now: float) -> Period | None:
    """``hour``, ``day`` or ``month`` for the one that holds `now`, else a label (``2026-11-30T14``); None: neither."""
    for per in get_args(Per):
        label = label_of(per, now) if text == per else text
        try:
            since = int(datetime.strptime(label, LABELS[per]).replace(tzinfo=UTC).timestamp())
        except ValueError:
            continue
        if label_of(per, since) == label:
            return Period(per, label, since, ends_at(per, since))
    return None
