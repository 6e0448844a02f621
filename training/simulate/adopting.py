"""The default policy meets an arm it was not fitted with: a stranger, then in the roster, then on trial in traffic."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf

from policies.artifact import Artifact
from policies.decide import Decision
from policies.online.alarm import Alarm
from policies.online.settings import LearnerSettings
from policies.online.trials import Trials
from policies.policy import Policy
from policies.tradeoff import TradeOff
from policies.zoo.choose import is_most_useful
from policies.zoo.default import DefaultPolicy
from policies.zoo.thompson import Exploring
from training.anchors.join import Joined
from training.simulate.entries import Entry, Unmet
from training.simulate.players import DefaultPlayer, Feedback
from training.simulate.stream import Stream


@dataclass(frozen=True, slots=True)
class AdoptionPlan:
    """What taking in a new arm may cost.

    Attributes:
        n_anchors / anchors_usd: Prompts it is to answer first, and the most their answers may cost.
        trial_usd: Most that exploring it may cost afterwards.
        exploring: How the policy explores, its older arms too.

    Raises:
        ValueError: An amount is negative or no number, or the trial's is infinite.
    """

    n_anchors: int = 100
    anchors_usd: float = 1.0
    trial_usd: float = 1.0
    exploring: Exploring = field(default_factory=lambda: Exploring(share=0.1, extra_usd=0.5))

    def __post_init__(self) -> None:
        if not (self.anchors_usd >= 0.0 and 0.0 <= self.trial_usd < inf):
            raise ValueError("anchors and trial: expected amounts of USD, the trial's not infinite")


class AdoptingPlayer:
    """A default player that takes an arm in by an ``entry`` while it serves.

    What was learned of the other arms is kept. Feedback on the newcomer's answers as a stranger is passed over, as by a
    gateway, whose log has no prediction of such an arm to compare with.

    Attributes:
        entry: How the arm comes in.
        joined: What it joined with; None before.
        adopted_at: Request that was the first to know it; None before.
        trial_ended_at: Request with which its trial's money was spent; None before.
    """

    def __init__(self, unmet: Unmet, stream: Stream, entry: Entry, plan: AdoptionPlan, *, name: str) -> None:
        """``stream``'s changed arm is the unmet one."""
        self.name, self.entry = name, entry
        self.joined: Joined | None = None
        self.adopted_at: int | None = None
        self.trial_ended_at: int | None = None
        self._unmet, self._stream, self._at = unmet, stream, -1
        self._trade_off = TradeOff(stream.quality_per_usd)
        self._trials = Trials({unmet.name: plan.trial_usd})
        self._settings = LearnerSettings(exploring=replace(plan.exploring, barred=self._trials.barred))
        self._past_alarms: list[Alarm] = []
        self._serving = self._player(DefaultPolicy.from_artifact(unmet.artifact))

    @property
    def alarms(self) -> Sequence[Alarm]:
        """Raised so far, before and after the arm came in."""
        return [*self._past_alarms, *self._serving.alarms]

    @property
    def learned(self) -> DefaultPolicy:
        """What serves now."""
        return self._serving.learned

    @property
    def trial_nano_usd(self) -> int:
        """What exploring the arm has cost."""
        return self._trials.spent_nano_usd.get(self._unmet.name, 0)

    def policy(self, tenant: int) -> Policy:
        """As learned until now; must be asked once for each request, in order."""
        self._at += 1
        if self.joined is None and self._at >= self._stream.joins_at:
            self.joined = self.entry.step(self._artifact)
            if self.joined is not None:
                self.adopted_at = self._at
                self._past_alarms += self._serving.alarms
                self._serving = self._player(DefaultPolicy.from_artifact(self.joined.artifact))
        return self._serving.policy(tenant)

    def pay(self, decision: Decision, nano_usd: int) -> None:
        """Charge the trial where another arm had a higher utility; once the money is spent, the arm is barred."""
        if decision.arm.name not in self._trials:
            return
        if is_most_useful(decision.scores.predictions, self._trade_off, action=decision.action):
            return
        before = self._trials.barred
        self._trials.charge(decision.arm.name, nano_usd)
        if self._trials.barred != before:
            self.trial_ended_at = self._at
            self._serving.bar(self._trials.barred)

    def hear(self, feedback: Feedback) -> None:
        """Learn, of the arm only what it did after it had come in."""
        was_stranger = self.adopted_at is None or feedback.at < self.adopted_at
        if not (was_stranger and feedback.column == self._unmet.column):
            self._serving.hear(feedback)

    def _artifact(self) -> Artifact:
        return replace(self._unmet.artifact, tensors=self._serving.learned.to_tensors())

    def _player(self, policy: DefaultPolicy) -> DefaultPlayer:
        player = DefaultPlayer(policy, self._stream, self._settings, name=self.name)
        player.bar(self._trials.barred)
        return player
