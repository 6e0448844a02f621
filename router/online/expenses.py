"""What arms on trial have cost so far: the bills of answers that they got though another arm was better.

All decisions of the artifact are looked at, also those that teach nothing: whoever is never learned from pays too.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import orjson

from policies.online.trials import Trials
from policies.predictions import Predictions
from policies.tradeoff import TradeOff
from policies.zoo.choose import is_most_useful
from policies.zoo.default import DefaultPolicy
from router.online.record import Record

NOTHING_SPENT = b'{"spent_nano_usd": {}, "open": {}}'
MOST_OPEN = 5_000  # decisions of which more answers may come; a turn that outlasts so many others is charged no more


@dataclass(slots=True)
class Expenses:
    """Joins decision and outcome by id and charges the trials; memory is bounded by ``most_open``.

    Attributes:
        open: Decisions that explored, with their arm, oldest first: all answers of such a turn are charged.
        changed: Whether the store's copy is behind.
    """

    policy: DefaultPolicy
    trials: Trials
    open: dict[str, str] = field(default_factory=dict)
    changed: bool = False
    most_open: int = MOST_OPEN

    def take(self, records: Iterable[Record]) -> None:
        """Take the next rows of the log in."""
        for record in records:
            if record.kind == "decisions":
                self._open(record.row)
            elif record.kind == "outcomes":
                self._charge(record.row)

    def dump(self) -> bytes:
        """As the state holds it."""
        return orjson.dumps({"spent_nano_usd": self.trials.spent_nano_usd, "open": self.open})

    @classmethod
    def load(cls, raw: bytes, policy: DefaultPolicy, usd: Mapping[str, float]) -> Self:
        """Go on with trials of ``usd``, by arm, where `dump` ended.

        Raises:
            KeyError, TypeError, ValueError: It is none.
        """
        told = orjson.loads(raw)
        spent = {str(arm): int(nano_usd) for arm, nano_usd in dict(told["spent_nano_usd"]).items()}
        return cls(policy, Trials(usd, spent_nano_usd=spent), dict(told["open"]))

    def _open(self, row: Mapping[str, Any]) -> None:
        arm, decision_id = row.get("arm"), row.get("decision_id")
        if not (isinstance(arm, str) and arm in self.trials and isinstance(decision_id, str) and decision_id):
            return
        if not self._drew(row) or not may_have_explored(row, promises_floors=self.policy.floors is not None):
            return
        self.open[decision_id] = arm
        self.changed = True
        while len(self.open) > self.most_open:
            del self.open[next(iter(self.open))]

    def _drew(self, row: Mapping[str, Any]) -> bool:
        """Whether this artifact did, with or without what was learned since."""
        label = f"{self.policy.name}@{self.policy.version}"
        return row.get("kind") == "drawn" and str(row.get("policy")).partition("+")[0] == label

    def _charge(self, row: Mapping[str, Any]) -> None:
        decision_id, nano_usd = row.get("decision_id"), row.get("nano_usd")
        arm = self.open.get(decision_id) if isinstance(decision_id, str) else None
        # Another arm may have answered in its place, and of a gateway that died nobody knows the bill.
        if arm is not None and row.get("served_arm") == arm and isinstance(nano_usd, int) and nano_usd > 0:
            self.trials.charge(arm, nano_usd)
            self.changed = True


def may_have_explored(row: Mapping[str, Any], *, promises_floors: bool) -> bool:
    """Whether another arm than the drawn one had the highest utility; True also where the row does not tell.

    Args:
        promises_floors: Of the policy: under such a floor it takes no arm for its utility, so utilities tell nothing.
    """
    try:
        quality, usd, seconds = (np.array(row[part], dtype=np.float64) for part in ("quality", "usd", "seconds"))
        quality_per_usd, quality_per_s, floor, max_usd = row["trade_off"]
        trade_off = TradeOff(quality_per_usd, quality_per_s, max_usd=float("inf") if max_usd is None else max_usd)
        predictions = Predictions(quality, np.zeros(len(quality)), usd, seconds)
        best = is_most_useful(predictions, trade_off, action=row["arms"].index(row["arm"]))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return True
    return not best or (promises_floors and floor != 0.0)  # where a number is unknown, no comparison holds
