"""Where routing pays and where it does not: each domain at the setting that keeps 97 % of the accuracy overall."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

from training.report.result import PolicyResult, mapping, number

KEPT = 0.97  # of the best single arm's accuracy: the level that by_domain is recorded at

LOSES, WITHIN_NOISE, DEARER, PAYS = "loses", "short, within noise", "dearer", "pays"


@dataclass(frozen=True, slots=True)
class DomainRow:
    """A policy beside the best single arm on one domain.

    Attributes:
        saving_pct: Of the best single arm's cost on the same queries.
        gap: Accuracy minus the best single arm's, as a fraction.
        verdict: LOSES where less than 97 % of the best single arm's accuracy is kept and an interval excludes chance;
            DEARER where that is not so but the cost is higher; WITHIN_NOISE where less is kept, but chance explains
            it; else PAYS.
    """

    name: str
    n: int
    accuracy: float
    best_accuracy: float
    saving_pct: float | None
    gap: float
    verdict: str


def domain_rows(policy: PolicyResult) -> list[DomainRow]:
    """Domains with both accuracies, by falling number of queries; none where there is but one."""
    entries = mapping(policy.raw, "by_domain").items()
    rows = [row for name, entry in entries if (row := _row(name, entry)) is not None]
    return sorted(rows, key=lambda row: (-row.n, row.name)) if len(rows) > 1 else []


def _row(name: str, entry: Mapping[str, Any]) -> DomainRow | None:
    accuracy, best, n = (number(entry.get(key)) for key in ("accuracy", "best_single_accuracy", "n"))
    usd, best_usd = number(entry.get("usd")), number(entry.get("best_single_usd"))
    if accuracy is None or best is None or not n:
        return None
    saving = None if usd is None or not best_usd else 100 * (1 - usd / best_usd)
    short = KEPT * best - accuracy
    # Not paired, as the counts alone are known: wider than the paired interval, so a loss is claimed too rarely.
    noise = 1.96 * sqrt((accuracy * (1 - accuracy) + KEPT**2 * best * (1 - best)) / n)
    is_dearer = saving is not None and saving < 0
    verdict = LOSES if short > noise else DEARER if is_dearer else WITHIN_NOISE if short > 0 else PAYS
    return DomainRow(name, int(n), accuracy, best, saving, accuracy - best, verdict)
