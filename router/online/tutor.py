"""One round of learning: hold the lease, read on in the log, teach, publish."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import redis

from policies.errors import ArtifactError
from policies.online.learner import Learner
from policies.online.settings import LearnerSettings
from policies.online.trials import Trials
from policies.zoo.default import DefaultPolicy
from policies.zoo.thompson import Exploring
from router.metrics import Metrics
from router.online.awaiting import Awaiting, Decided, Hearing
from router.online.expenses import NOTHING_SPENT, Expenses
from router.online.ledger import Hold, Ledger
from router.online.news import Item, News, TrialEnd, load_untold
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
        exploring: As the configuration says; arms whose trial is over are barred from it as well.
        trials_usd: Arm on trial -> USD that exploring it may cost.
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
        exploring: Exploring,
        trials_usd: Mapping[str, float],
        metrics: Metrics,
        batch_rows: int = BATCH_ROWS,
        step: Callable[[str], None] = lambda name: None,
    ) -> None:
        self._policy, self._client, self._ledger, self._directory = policy, client, ledger, directory
        self._hearing, self._metrics, self._settings = hearing, metrics, LearnerSettings(exploring=exploring)
        self._exploring, self._trials_usd, self._published = exploring, trials_usd, exploring
        self._expenses = Expenses(policy, Trials(trials_usd))
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
        except BaseException as problem:
            self._awaiting = None  # whether it was published or not, what lies in the store is right
            if isinstance(problem, StateUnreadable | OSError | ValueError):
                with contextlib.suppress(redis.RedisError):
                    self._ledger.release()  # what this learner cannot read, that of another gateway may
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
            self._expenses, self._published = Expenses(self._policy, Trials(self._trials_usd)), self._exploring
            self._sequence = 1
            log.info("learning of artifact %s begins", self._policy.version)
            return self._served() | {"positions": dump_positions(self._positions)}
        served = read_served(fields, artifact=self._policy.version)
        try:
            self._positions = load_positions(fields[b"positions"])
            untold = load_untold(fields.get(b"untold", b"[]"))  # a state from before these fields has none
            self._expenses = Expenses.load(fields.get(b"trials", NOTHING_SPENT), self._policy, self._trials_usd)
            learner = recalled(served, fields[b"memory"], self._policy, self._settings)
        except (KeyError, TypeError, ValueError, ArtifactError) as problem:
            raise StateUnreadable(self._policy.version, problem) from problem
        awaiting = self._begin(learner, untold)
        kept = {name: Decided.load(record) for name, record in self._ledger.waiting().items()}
        awaiting.decisions = dict(sorted(kept.items(), key=lambda pair: pair[1].at))
        self._sequence = served.sequence
        log.info("learning of artifact %s goes on after state %d", self._policy.version, self._sequence)
        self._published = served.exploring
        if self._allowed == self._published:
            return {}
        self._sequence += 1
        return self._served()

    def _begin(self, learner: Learner, untold: Iterable[Item] = ()) -> Awaiting:
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
            records = batch.records[start : start + LESSON_ROWS]
            learned |= awaiting.take(records)
            self._expenses.take(records)
        if batch.is_last:
            awaiting.expire(now)
            changes["read_at"] = now
        if batch.positions != self._positions:
            self._positions = batch.positions
            changes["positions"] = dump_positions(batch.positions)
        if learned or self._allowed != self._published:
            self._sequence += 1
            changes |= self._served()
        self._step("taught")
        # What was told is recorded at once, and not an interval later.
        return self._publish(changes) and (self._has_told or not batch.is_last)

    @property
    def _allowed(self) -> Exploring:
        """What exploring may do now."""
        return replace(self._exploring, barred=self._expenses.trials.barred)

    def _served(self) -> Changes:
        assert self._awaiting is not None
        learner, trials, before = self._awaiting.learner, self._expenses.trials, self._published
        self._published = self._allowed
        ended = sorted(trials.barred - before.barred)
        self._news.add(TrialEnd(arm, trials.spent_nano_usd.get(arm, 0)) for arm in ended)
        served = Served(self._policy.version, self._sequence, self._published, packed(learner.offsets.tensors()))
        return served_fields(served) | {"memory": memory_of(learner)}

    def _publish(self, changes: Changes) -> bool:
        """False where another learner has taken over: what was learned since is learned by that one."""
        awaiting = self._awaiting
        assert awaiting is not None
        self._news.add(awaiting.learner.alarms[self._n_alarms :])
        self._n_alarms = len(awaiting.learner.alarms)
        counted = {"lessons": awaiting.learner.n_lessons, "waiting": awaiting.n_waiting, "untold": self._news.dump()}
        if self._expenses.changed:
            counted["trials"] = self._expenses.dump()
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
        self._expenses.changed = False
        self._has_told = self._news.tell()
        self._step("told")
        return True
