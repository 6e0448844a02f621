"""The Policy protocol: Context × eligible arms × trade-off → a distribution. A policy never draws."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from policies.arms import Arm, Mode
from policies.context import Context
from policies.predictions import Predictions, Reals
from policies.prices import Price
from policies.tradeoff import TradeOff


@dataclass(frozen=True, slots=True)
class ArmFacts:
    """An eligible arm with what the gateway's configuration knows of it.

    Attributes:
        price: Nano-USD per million tokens, None if unknown.
        output_tokens: Tokens an answer of this arm is expected to have when nothing was learned (its token cap, say).
        first_token_s / tokens_per_s: Declared or measured speed; used for ``seconds`` when nothing was learned.
        revision: ``arm_revision`` of the arm.
    """

    arm: Arm
    price: Price | None = None
    output_tokens: int = 256
    first_token_s: float = 0.5
    tokens_per_s: float = 50.0
    revision: str = ""

    @property
    def name(self) -> str:
        return self.arm.name

    def seconds_of(self, output_tokens: int) -> float:
        """Expected seconds of an answer of that length, by the declared speed."""
        return self.first_token_s + output_tokens / self.tokens_per_s

    @property
    def mode(self) -> Mode:
        return self.arm.mode


@dataclass(frozen=True, slots=True)
class Scores:
    """A policy's answer: the probabilities it wants, and why.

    Attributes:
        dist: Probability of each eligible arm, shape (n_arms,), sums to 1; before the exploration floor.
        predictions: What it expects of each arm.
        reason: One short sentence for people (``explain``, ``/v1/decide``), never holding prompt text.
    """

    dist: Reals
    predictions: Predictions
    reason: str = ""


class Policy(Protocol):
    """Maps a context and the eligible arms to a probability for each; it never draws.

    Attributes:
        name: Registered name, e.g. ``rules``.
        version: Changes whenever the same context could get another distribution.
        encoder_id: Encoder its embeddings must come from; empty if it looks at none.
    """

    name: str
    version: str
    encoder_id: str

    def score(self, context: Context, arms: Sequence[ArmFacts], trade_off: TradeOff) -> Scores:
        """Score ``arms`` (at least one, order kept). Must be deterministic and must not keep state."""
        ...
