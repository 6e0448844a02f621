"""Decisions that wait for feedback, and what was learned from those that had it: a later word replaces an earlier."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from policies.features import FEATURE_NAMES
from policies.online.learner import Learner
from policies.online.lesson import Entry, Lesson
from policies.zoo.default import DefaultPolicy
from router.online.record import Record


@dataclass(slots=True)
class Decided:
    """One decision.

    Attributes:
        request_id: Of the request it was made for; later requests of its turn have others.
        cell: Of the query.
        priors: What the prior expects of every arm; once an arm has answered, of that arm alone.
        arm: Column of the arm that answered, −1 before.
        score / weight: Of the metric that counts, and how far it is trusted; 0: none was heard.
        number: Of its lesson; −1: none, or it came from before a change of the arm.
    """

    request_id: str
    at: float
    cell: int
    priors: list[float]
    arm: int = -1
    score: float = 0.0
    weight: float = 0.0
    number: int = -1

    def dump(self) -> bytes:
        """As the store keeps it."""
        return orjson.dumps(
            [self.request_id, self.at, self.cell, self.priors, self.arm, self.score, self.weight, self.number]
        )

    @classmethod
    def load(cls, raw: bytes) -> "Decided":
        """The inverse of `dump`."""
        return cls(*orjson.loads(raw))

    @property
    def entry(self) -> Entry:
        """What was learned from it."""
        prior = self.priors[0]
        return Entry(Lesson(self.arm, self.cell, prior, self.score, self.at, weight=self.weight), self.number)


@dataclass(frozen=True, slots=True)
class Hearing:
    """Whose feedback is heard, and how it is read.

    Attributes:
        bounds: Metric -> its lowest and highest value.
        weights: Metric -> how far it is trusted, 0..1; others are not heard.
        opted_out: (organisation, tenant) of those that are never learned from.
        wait_s: Feedback that comes later after its decision is not heard.
        most: Decisions kept at once; beyond them the oldest go.
    """

    bounds: Mapping[str, tuple[float, float]]
    weights: Mapping[str, float]
    opted_out: Collection[tuple[str, str]] = frozenset()
    wait_s: float = 86_400.0
    most: int = 100_000


@dataclass(slots=True)
class Awaiting:
    """Joins decision, outcome and feedback by id, and teaches the learner; memory is bounded by `Hearing.most`.

    Attributes:
        changed / dropped: Ids since they were last cleared: what the store's copy lacks, and has too much.
        losses: By reason, since last cleared.
    """

    policy: DefaultPolicy
    learner: Learner
    hearing: Hearing
    decisions: dict[str, Decided] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    dropped: set[str] = field(default_factory=set)
    losses: Counter[str] = field(default_factory=Counter)

    @property
    def n_waiting(self) -> int:
        """Decisions without feedback so far."""
        return sum(decided.weight == 0.0 for decided in self.decisions.values())

    def take(self, records: Iterable[Record]) -> bool:
        """Take the next rows of the log in; True if anything was learned."""
        records, learned = list(records), False
        seen = self._look([record for record in records if self._tells_of_a_query(record)])
        for record in records:
            if record.kind == "decisions":
                self._open(record, seen.get(record.row.get("request_id", "")))
            elif record.kind == "outcomes":
                learned |= self._serve(record.row)
            else:
                learned |= self._hear(record)
        while len(self.decisions) > self.hearing.most:
            self._drop(next(iter(self.decisions)), "crowded")
        return learned

    def expire(self, now: float) -> None:
        """Let go of decisions that waited for long enough; ``now`` by the store's clock."""
        while self.decisions:
            oldest = next(iter(self.decisions))
            if now - self.decisions[oldest].at <= self.hearing.wait_s:
                return
            self._drop(oldest, "no_feedback")

    def _tells_of_a_query(self, record: Record) -> bool:
        """Whether it is a decision on an embedding this policy understands, of a tenant that may be learned from."""
        row, wanted_bytes = record.row, 2 * self.policy.embedding_dim
        return (
            record.kind == "decisions"
            and len(record.embedding) == wanted_bytes
            and row.get("encoder_id") == self.policy.encoder_id
            and len(row.get("features") or ()) == len(FEATURE_NAMES)
            and (row.get("organisation"), row.get("tenant")) not in self.hearing.opted_out
        )

    def _look(self, records: list[Record]) -> dict[str, tuple[int, list[float]]]:
        """Cell and prior of each decision, by request id: one product for all of them."""
        if not records:
            return {}
        embeddings = np.stack([np.frombuffer(record.embedding, np.float16) for record in records]).astype(np.float32)
        lexical = np.array([record.row["features"] for record in records], dtype=np.float32)
        recall = self.policy.recall(embeddings, lexical)
        told = zip(records, recall.cells.tolist(), recall.quality.tolist(), strict=True)
        # One embedding that holds no number would spoil everything that is learned after it.
        return {record.row["request_id"]: (cell, priors) for record, cell, priors in told if np.isfinite(priors).all()}

    def _open(self, record: Record, seen: tuple[int, list[float]] | None) -> None:
        decision_id = record.row.get("decision_id")
        if seen is not None and decision_id and decision_id not in self.decisions:
            self.decisions[decision_id] = Decided(record.row["request_id"], record.at, *seen)
            self._note(decision_id)

    def _serve(self, row: Mapping[str, Any]) -> bool:
        """Who answered. A decision that failed, or whose turn two arms answered, says nothing of an arm."""
        decision_id = row.get("decision_id") or ""
        decided, arm = self.decisions.get(decision_id), self._column(row)
        if decided is None or arm == decided.arm >= 0:
            return False
        if arm < 0 and row.get("request_id") != decided.request_id:
            return False
        if decided.arm < 0 <= arm:
            decided.arm, decided.priors = arm, [decided.priors[arm]]
            self._note(decision_id)
            return False
        return self._drop(decision_id, "unclear")

    def _column(self, row: Mapping[str, Any]) -> int:
        """Of the arm that answered in full; −1: none that the policy knows."""
        names, name = self.policy.arm_names, row.get("served_arm")
        return names.index(name) if row.get("status") == "ok" and name in names else -1

    def _hear(self, record: Record) -> bool:
        row, hearing = record.row, self.hearing
        metric, value = str(row.get("metric")), row.get("value")
        weight = hearing.weights.get(metric, 0.0)
        if weight == 0.0 or metric not in hearing.bounds or not isinstance(value, (int, float)):
            return False
        if (row.get("organisation"), row.get("tenant")) in hearing.opted_out:
            return False
        decided = self.decisions.get(row.get("decision_id") or "")
        if decided is None or decided.arm < 0 or record.at - decided.at > hearing.wait_s:
            self.losses["late_or_unknown"] += 1
            return False
        low, high = hearing.bounds[metric]
        score = min(max((value - low) / (high - low), 0.0), 1.0)
        if weight < decided.weight or (score, weight) == (decided.score, decided.weight):
            return False
        self._learn(decided, score=score, weight=weight)
        self._note(row["decision_id"])
        return True

    def _learn(self, decided: Decided, *, score: float, weight: float) -> None:
        if decided.number >= 0:
            self.learner.revise(decided.entry, score=score, weight=weight)
        elif decided.weight == 0.0:
            lesson = Lesson(decided.arm, decided.cell, decided.priors[0], score, decided.at, weight=weight)
            entry = self.learner.observe(lesson)
            decided.number = -1 if entry is None else entry.number
        decided.score, decided.weight = score, weight

    def _drop(self, decision_id: str, reason: str) -> bool:
        """Forget a decision; True if what it taught was taken back with it. What ended in time stays learned."""
        decided = self.decisions.pop(decision_id)
        self.changed.discard(decision_id)
        self.dropped.add(decision_id)
        if decided.weight == 0.0:
            self.losses[reason] += 1
        taught = reason == "unclear" and decided.number >= 0
        if taught:
            self.learner.withdraw(decided.entry)
        return taught

    def _note(self, decision_id: str) -> None:
        self.changed.add(decision_id)
        self.dropped.discard(decision_id)
