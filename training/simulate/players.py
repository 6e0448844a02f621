"""Who plays a stream: the default policy as it learns, comparison bandits, and a fixed arm."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from policies.context import Context
from policies.decide import Decision
from policies.online.alarm import Alarm
from policies.online.learner import Learner
from policies.online.lesson import Lesson
from policies.online.settings import LearnerSettings
from policies.policy import ArmFacts, Policy, Scores
from policies.predictions import Reals
from policies.tradeoff import TradeOff
from policies.zoo.default import DefaultPolicy
from policies.zoo.known import unlearned
from training.bandits.base import Bandit
from training.simulate.stream import Stream


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a player hears of a request, some time after it.

    Attributes:
        at: Number of the request.
        column: Column of the arm that answered.
        score: 0..1, as it was told.
        usd: As billed.
    """

    at: int
    column: int
    score: float
    usd: float


class Player(Protocol):
    """Something that serves and learns.

    Attributes:
        name: As in reports.
        alarms: Raised so far.
    """

    name: str

    @property
    def alarms(self) -> Sequence[Alarm]: ...

    def policy(self, tenant: int) -> Policy:
        """What serves a tenant's next request."""
        ...

    def pay(self, decision: Decision, nano_usd: int) -> None:
        """The bill of the answer that was drawn just now, in nano-USD."""
        ...

    def hear(self, feedback: Feedback) -> None:
        """Learn."""
        ...


class DefaultPlayer:
    """The default policy with its learner; with ``settings`` None it serves its prior and learns nothing."""

    def __init__(self, policy: DefaultPolicy, stream: Stream, settings: LearnerSettings | None, *, name: str) -> None:
        """Recall the prior of the whole stream at once: it does not change."""
        self.name, self._fitted, self._learns = name, policy, settings is not None
        self._learner = Learner(policy, settings)
        self._recall = policy.recall(stream.inputs.embeddings, stream.inputs.lexical)
        self._columns = {name: column for column, name in enumerate(policy.arm_names)}
        self._arms = [facts.name for facts in stream.facts[0]]
        self._tenants, n_tenants = stream.tenants, stream.scenario.n_tenants
        # One tenant is everybody: it needs no scope of its own. A policy that learned before has its tenants' already.
        known = list(range(1, policy.offsets.n_scopes))
        self._scopes = known or [self._learner.add_scope() for _ in range(n_tenants)] if n_tenants > 1 else [0]
        self._exploring = self._learner.settings.exploring
        self._serving: dict[int, DefaultPolicy] = {}

    @property
    def alarms(self) -> Sequence[Alarm]:
        """Raised so far; ``at`` counts requests."""
        return self._learner.alarms

    def policy(self, tenant: int) -> Policy:
        """As learned until now."""
        if not self._learns:
            return self._fitted
        scope = self._scopes[tenant]
        if scope not in self._serving:
            self._serving[scope] = self._learner.policy(scope=scope, exploring=self._exploring)
        return self._serving[scope]

    @property
    def learned(self) -> DefaultPolicy:
        """What everybody is served now."""
        return self._learner.policy() if self._learns else self._fitted

    def bar(self, arms: frozenset[str]) -> None:
        """These arms get no exploration from now on, any other does."""
        self._exploring = replace(self._exploring, barred=arms)
        self._serving.clear()

    def pay(self, decision: Decision, nano_usd: int) -> None:
        """Whoever has nobody on trial counts no money."""

    def hear(self, feedback: Feedback) -> None:
        """Learn the score of an arm that the policy knows; what an answer costs is not learned but priced."""
        arm = self._columns.get(self._arms[feedback.column])
        if not self._learns or arm is None:
            return
        scope = self._scopes[int(self._tenants[feedback.at])]
        prior, cell = self._recall.quality[feedback.at, arm], self._recall.cells[feedback.at]
        lesson = Lesson(arm, int(cell), float(prior), feedback.score, at=float(feedback.at), scope=scope)
        self._learner.observe(lesson)
        self._serving.clear()


class BanditPlayer:
    """A comparison bandit as a policy; its reward is score − λ · USD."""

    version = "1"
    encoder_id = ""
    alarms: Sequence[Alarm] = ()

    def __init__(self, bandit: Bandit, features: Reals, stream: Stream, *, name: str) -> None:
        """``features`` of each request, shape (n, dim)."""
        self.name, self._bandit, self._features = name, bandit, features
        self._quality_per_usd, self._at = stream.quality_per_usd, 0
        self._names = {facts.name: column for column, facts in enumerate(stream.facts[0])}

    def policy(self, tenant: int) -> Policy:
        """Itself: it knows no tenants."""
        return self

    def score(self, context: Context, arms: Sequence[ArmFacts], trade_off: TradeOff) -> Scores:
        """The bandit's distribution for the next request; must be asked once for each, in order."""
        columns = [self._names[arm.name] for arm in arms]
        eligible = np.zeros(self._bandit.n_actions)
        eligible[columns] = 1.0
        dist = self._bandit.action_dist(self._features[self._at], eligible)
        self._at += 1
        return Scores(dist[columns], unlearned(context, arms), self.name)

    def pay(self, decision: Decision, nano_usd: int) -> None:
        """The bill comes again with the feedback."""

    def hear(self, feedback: Feedback) -> None:
        """Learn the reward."""
        reward = feedback.score - self._quality_per_usd * feedback.usd
        self._bandit.update_params(feedback.column, reward, self._features[feedback.at])
