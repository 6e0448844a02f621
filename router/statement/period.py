"""Time as people write it: moments, and budget windows of now, as in ``day``, or of then, as in ``2026-11-30``."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import get_args

from router.store.ledger import LABELS, Per, ends_at, label_of

_AGO = re.compile(r"^(\d+(?:\.\d+)?)([smhd])$")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


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


def read_moment(text: str, *, now: float) -> float | None:
    """POSIX seconds of ``15m`` (ago), ``1732293712.5`` or ``2026-11-22T16:00`` (UTC if it says nothing), else None."""
    if ago := _AGO.match(text):
        return now - float(ago[1]) * _UNIT_S[ago[2]]
    try:
        return float(text)
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
