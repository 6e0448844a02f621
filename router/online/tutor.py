"""One round of learning: hold the lease, read on in the log, teach, publish."""

import contextlib
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import redis

from policies.errors import ArtifactError
from policies.online.alarm import Alarm
from policies.online.learner import Learner
from policies.online.settings import LearnerSettings
from policies.zoo.default import DefaultPolicy
from policies.zoo.thompson import Exploring
from router.metrics import Metrics
from router.online.awaiting import Awaiting, Decided, Hearing
from router.online.ledger import Hold, Ledger
from router.online.news import News, load_untold
from router.online.snapshot import (
    Served,
    StateUnreadable,
    dump_positions,
    load_positions,
    memory_of,
    packed,
    read_served,
    recalled,
    served_fields,
)
from router.online.tail import BATCH_ROWS, Batch, Positions, ends, read_after

log = logging.getLogger(__name__)
LESSON_ROWS = 200  # between two renewals of the lease
Changes = dict[str, Any]


class Tutor:
    """The learner of one artifact, wherever the lease is; call `round` again and again.

    Args:
        directory: The data directory whose archive holds what was trimmed.
        step: Called with ``taught`` before a round publishes, ``published`` after, ``told`` once its news are told.
    """

    def __init__(
        self,
        policy: DefaultPolicy,
        *,
        client: redis.Redis,
        ledger: Ledger,
        directory: Path,
        hearing: Hearing,
        explore_share: float,
        metrics: Metrics,
        batch_rows: int = BATCH_ROWS,
        step: Callable[[str], None] = lambda name: None,
    ) -> None:
        self._policy, self._client, self._ledger, self._directory = policy, client, ledger, directory
        self._hearing, self._explore_share, self._metrics = hearing, explore_share, metrics
        self._settings = LearnerSettings(exploring=Exploring(share=explore_share))
        self._batch_rows, self._step = batch_rows, step
        self._awaiting: Awaiting | None = None
        self._positions: Positions = {}
        self._sequence = self._n_alarms = 0
        self._news, self._has_told = News(metrics, artifact=policy.version), False

    def round(self) -> bool:
        """Learn from the next rows; True where more is to do at once.

        Raises:
            redis.RedisError, OSError: Store or archive cannot be read; call again, nothing is lost.
            StateUnreadable: Somebody has to look.
        """
        try:
            return self._round()
        except (StateUnreadable, OSError, ValueError):
            self._awaiting = None
            with contextlib.suppress(redis.RedisError):
                self._ledger.release()  # what this learner cannot read, that of another gateway may
            raise
        except BaseException:
            self._awaiting = None  # whether it was published or not, what lies in the store is right
            raise

    def _round(self) -> bool:
        hold = self._ledger.hold()
        if hold is Hold.OTHERS:
            self._awaiting = None
            return False
        if hold is Hold.TAKEN or self._awaiting is None:
            self._awaiting = None
            return self._publish(self._take_over())
        return self._go_on(self._awaiting)

    def _take_over(self) -> Changes:
        """Go on where the last learner ended, or begin at the log's end; what has to be published first."""
        fields = self._ledger.state()
        if not fields:
            self._positions = ends(self._client)
            # What waits there was taught to a state that somebody deleted: it must not be taken back from this one.
            self._begin(Learner(self._policy, self._settings)).dropped.update(self._ledger.waiting())
            self._sequence = 1
            log.info("learning of artifact %s begins", self._policy.version)
            return self._served() | {"positions": dump_positions(self._positions)}
        served = read_served(fields, artifact=self._policy.version)
        try:
            self._positions = load_positions(fields[b"positions"])
            untold = load_untold(fields.get(b"untold", b"[]"))  # a state from before this field has none
            learner = recalled(served, fields[b"memory"], self._policy, self._settings)
        except (KeyError, ValueError, ArtifactError) as problem:
            raise StateUnreadable(self._policy.version, problem) from problem
        awaiting = self._begin(learner, untold)
        kept = {name: Decided.load(record) for name, record in self._ledger.waiting().items()}
        awaiting.decisions = dict(sorted(kept.items(), key=lambda pair: pair[1].at))
        self._sequence = served.sequence
        log.info("learning of artifact %s goes on after state %d", self._policy.version, self._sequence)
        if served.explore_share == self._explore_share:
            return {}
        self._sequence += 1
        return self._served()

    def _begin(self, learner: Learner, untold: Iterable[Alarm] = ()) -> Awaiting:
        self._awaiting, self._n_alarms = Awaiting(self._policy, learner, self._hearing), 0
        self._news = News(self._metrics, artifact=self._policy.version, untold=untold)
        return self._awaiting

    def _go_on(self, awaiting: Awaiting) -> bool:
        now = self._ledger.now()
        batch: Batch = read_after(self._client, self._directory, self._positions, most=self._batch_rows)
        learned, changes = False, Changes()
        for start in range(0, len(batch.records), LESSON_ROWS):
            if start and self._ledger.hold() is not Hold.HELD:  # it took longer than the lease
                self._awaiting = None
                return True
            learned |= awaiting.take(batch.records[start : start + LESSON_ROWS])
        if batch.is_last:
            awaiting.expire(now)
            changes["read_at"] = now
        if batch.positions != self._positions:
            self._positions = batch.positions
            changes["positions"] = dump_positions(batch.positions)
        if learned:
            self._sequence += 1
            changes |= self._served()
        self._step("taught")
        # What was told is recorded at once, and not an interval later.
        return self._publish(changes) and (self._has_told or not batch.is_last)

    def _served(self) -> Changes:
        assert self._awaiting is not None
        learner = self._awaiting.learner
        served = Served(self._policy.version, self._sequence, self._explore_share, packed(learner.offsets.tensors()))
        return served_fields(served) | {"memory": memory_of(learner)}

    def _publish(self, changes: Changes) -> bool:
        """False where another learner has taken over: what was learned since is learned by that one."""
        awaiting = self._awaiting
        assert awaiting is not None
        self._news.add(awaiting.learner.alarms[self._n_alarms :])
        self._n_alarms = len(awaiting.learner.alarms)
        counted = {"lessons": awaiting.learner.n_lessons, "waiting": awaiting.n_waiting, "untold": self._news.dump()}
        changed = {name: awaiting.decisions[name].dump() for name in awaiting.changed}
        if not self._ledger.publish(changes | counted, dropped=awaiting.dropped, changed=changed):
            log.warning("another learner has taken over")
            self._awaiting = None
            return False
        self._step("published")
        for reason, count in awaiting.losses.items():
            self._metrics.online_dropped.labels(reason).inc(count)
        for part in (awaiting.changed, awaiting.dropped, awaiting.losses):
            part.clear()
        self._has_told = self._news.tell()
        self._step("told")
        return True
