"""What was paid, by the log: whole, as integers, and what was predicted of the baseline before each answer."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from policies.prices import NANO
from training.ope.arrow import flat, is_value, place_of, whole
from training.ope.log import NO_END
from training.ope.rounds import Mask, Reals
from training.ope.tables import filtered
from training.savings.baseline import Baseline

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

COLUMNS = (
    "request_id", "kind", "at", "tenant", "arm", "arms", "usd", "parent_id", "outcome_status", "outcome_nano_usd",
)  # fmt: skip
_UNANSWERED = ("error", "upstream_cut", "cancelled")


@dataclass(slots=True)
class Spent:
    """Requests that ended, what those of known cost came to in nano-USD, and how many have none."""

    requests: int = 0
    nano_usd: int = 0
    unknown: int = 0

    def add(self, nano: "pa.ChunkedArray[Any]") -> None:
        """Costs of requests, null for unknown."""
        self.requests += len(nano)
        self.unknown += nano.null_count
        self.nano_usd += sum(cost for cost in nano.to_pylist() if cost is not None)


@dataclass(frozen=True, slots=True)
class Predicted:
    """Requests with a drawn arm and a known cost, each array of shape (n,).

    Attributes:
        paid / baseline / taken: USD paid, and those that the decision row predicted of the baseline and of the arm that
            was drawn; NaN where it predicted none.
        reached: Where the baseline could have answered.
    """

    request_id: "NDArray[np.str_]"
    tenant: "NDArray[np.str_]"
    at: Reals
    arm: "NDArray[np.str_]"
    paid: Reals
    baseline: Reals
    taken: Reals
    reached: Mask

    def rows(self, mask: Mask) -> "Predicted":
        """Those of a mask."""
        return Predicted(*(getattr(self, each.name)[mask] for each in fields(self)))


@dataclass(slots=True)
class Paid:
    """The whole log.

    Attributes:
        by_kind: How the arm came to be chosen -> what was paid; `None` as "outcome without decision".
        unanswered: Of requests that ended without an answer, or whose client left, of all kinds.
        steps: Of cascade steps: decisions made because an earlier answer failed its check.
        steps_of: Tenant, POSIX seconds and nano-USD of each such step.
        parts: What was predicted, one part per table.
    """

    baseline: Baseline
    by_kind: dict[str, Spent] = field(default_factory=dict)
    unanswered: Spent = field(default_factory=Spent)
    steps: Spent = field(default_factory=Spent)
    steps_of: list[tuple[str, float, int]] = field(default_factory=list)
    parts: list[Predicted] = field(default_factory=list)

    def add(self, table: "pa.Table") -> None:
        """Take in rows of the joined log, with ``COLUMNS``."""
        ended, step = _is_there(table["outcome_status"]), _is_there(table["parent_id"])
        for kind in whole(table["kind"]).unique().to_pylist():
            mine = filtered(table, ended & ~step & is_value(table["kind"], kind))
            self.by_kind.setdefault(kind or "outcome without decision", Spent()).add(mine["outcome_nano_usd"])
        unanswered = np.logical_or.reduce([is_value(table["outcome_status"], each) for each in _UNANSWERED])
        self.unanswered.add(filtered(table, unanswered)["outcome_nano_usd"])
        steps = filtered(table, ended & step)
        self.steps.add(steps["outcome_nano_usd"])
        for row in steps.select(["tenant", "at", "outcome_nano_usd"]).to_pylist():
            self.steps_of.append((row["tenant"], row["at"], row["outcome_nano_usd"] or 0))
        closed = np.logical_or.reduce([is_value(table["outcome_status"], each) for each in NO_END])
        known = _is_there(table["outcome_nano_usd"])
        drawn = filtered(table, is_value(table["kind"], "drawn") & ~closed & known & ~step)
        if len(drawn):
            self.parts.append(_predicted(drawn, self.baseline))

    @property
    def predicted(self) -> Predicted | None:
        """Of the whole log, None where nothing was drawn."""
        if not self.parts:
            return None
        return Predicted(
            *(np.concatenate([getattr(part, each.name) for part in self.parts]) for each in fields(Predicted))
        )


def pay(tables: "Iterable[pa.Table]", baseline: Baseline) -> Paid:
    """One pass over the joined log."""
    found = Paid(baseline)
    for table in tables:
        found.add(table)
    return found


def dearest(tables: "Iterable[pa.Table]") -> str | None:
    """The drawn arm whose answers cost most on average; None where no cost is known."""
    sums: dict[str, list[float]] = {}
    for table in tables:
        for row in table.select(["kind", "arm", "outcome_nano_usd"]).to_pylist():
            if row["kind"] == "drawn" and row["outcome_nano_usd"] is not None:
                of = sums.setdefault(row["arm"], [0.0, 0.0])
                of[0] += row["outcome_nano_usd"]
                of[1] += 1.0
    return max(sorted(sums), key=lambda arm: sums[arm][0] / sums[arm][1]) if sums else None


def _predicted(drawn: "pa.Table", baseline: Baseline) -> Predicted:
    row, names = flat(drawn["arms"])
    value = flat(drawn["usd"])[1].to_numpy(zero_copy_only=False).astype(np.float64)
    n, arms = len(drawn), tuple(baseline.shares)
    place = place_of(names, arms)
    mine = place >= 0
    share = np.array([baseline.shares[arm] for arm in arms])[place[mine]]
    total = np.bincount(row[mine], weights=share, minlength=n)  # of its eligible arms
    expected = np.bincount(row[mine], weights=share * value[mine], minlength=n)
    paid = drawn["outcome_nano_usd"].to_numpy().astype(np.float64) / NANO
    arm = np.array(drawn["arm"].to_pylist(), dtype=np.str_)
    of_arm = np.array(names.to_pylist(), dtype=np.str_) == arm[row]
    taken = np.full(n, np.nan)
    taken[row[of_arm]] = value[of_arm]
    return Predicted(
        request_id=np.array(drawn["request_id"].to_pylist(), dtype=np.str_),
        tenant=np.array(drawn["tenant"].to_pylist(), dtype=np.str_),
        at=drawn["at"].to_numpy().astype(np.float64),
        arm=arm,
        paid=paid,
        baseline=np.divide(expected, total, out=np.full(n, np.nan), where=total > 0.0),
        taken=taken,
        reached=total > 0.0,
    )


def _is_there(column: Any) -> Mask:
    """Which rows are not null, shape (n,)."""
    return np.asarray(whole(column).is_valid().to_numpy(zero_copy_only=False), dtype=np.bool_)
