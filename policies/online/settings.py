"""How a gateway learns while it serves."""

from dataclasses import dataclass, field

from policies.online.alarm import WatchSettings
from policies.zoo.thompson import Exploring


@dataclass(frozen=True, slots=True)
class LearnerSettings:
    """What a learner is told apart from its policy.

    Attributes:
        watch: When a change is worth an alarm.
        doubt_sd: How far an arm may be off after one: standard deviation of its mean score.
        exploring: How what is served explores beyond the floor of ``decide``; by default not at all.
    """

    watch: WatchSettings = field(default_factory=WatchSettings)
    doubt_sd: float = 0.3
    exploring: Exploring = field(default_factory=lambda: Exploring(share=0.0))
