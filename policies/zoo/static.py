"""Always the declared arm: the baseline every learned policy must beat, and a way to pin traffic."""

from collections.abc import Sequence

from policies.context import Context
from policies.encoders.base import Encoder
from policies.errors import PolicyError
from policies.policy import ArmFacts, Scores
from policies.settings import PolicySettings
from policies.tradeoff import TradeOff
from policies.zoo.choose import certain, cheapest
from policies.zoo.known import unlearned


class StaticPolicy:
    """Serves one arm; where it is not eligible, the cheapest eligible one, and says so."""

    name = "static"
    encoder_id = ""

    def __init__(self, arm: str) -> None:
        self._arm = arm
        self.version = arm

    @classmethod
    def build(cls, settings: PolicySettings, arms: Sequence[ArmFacts], encoder: Encoder | None) -> "StaticPolicy":
        """Build from ``policy.arm``.

        Raises:
            PolicyError: No arm is declared, or no configured arm has that name.
        """
        names = [arm.name for arm in arms]
        if not settings.arm:
            raise PolicyError(f"policy.arm: the static policy needs an arm; set one of {', '.join(names)}")
        if settings.arm not in names:
            raise PolicyError(f"policy.arm: no configured arm is named {settings.arm!r}; use one of {', '.join(names)}")
        return cls(settings.arm)

    @classmethod
    def example(cls, arms: Sequence[ArmFacts]) -> "StaticPolicy":
        """A small instance over ``arms``."""
        return cls(arms[0].name)

    def score(self, context: Context, arms: Sequence[ArmFacts], trade_off: TradeOff) -> Scores:
        """Probability 1 on the declared arm."""
        predictions = unlearned(context, arms)
        names = [arm.name for arm in arms]
        if self._arm in names:
            return Scores(certain(len(arms), names.index(self._arm)), predictions, f"always {self._arm}")
        action = cheapest(arms, predictions.usd)
        reason = f"{self._arm} is not eligible: {names[action]} is the cheapest that is"
        return Scores(certain(len(arms), action), predictions, reason)
