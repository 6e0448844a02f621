"""Rounds: context, eligible arms with their propensities, the drawn arm and what came of it, as parallel arrays."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.tradeoff import TradeOff

Floats = NDArray[np.float32]
Reals = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]

OUTCOMES = ("quality", "usd", "seconds")


class EvaluationError(ValueError):
    """A log or a policy cannot be evaluated; the message says what is missing and what to do."""


@dataclass(frozen=True, slots=True)
class Rounds:
    """n rounds over m arms, of one answer each.

    Attributes:
        arms: Names, length m; a round's eligible arms are some of them.
        embeddings / features: Of the queries, float32, shape (n, dim) and (n, n_features).
        prompt_tokens: Estimated tokens of each request, shape (n,).
        max_tokens: The client's bound of the answer, infinite for none, shape (n,).
        propensities: Probability of each arm when this one was drawn, 0 where not eligible, shape (n, m).
        eligible: Shape (n, m).
        action: Index of the drawn arm, shape (n,).
        quality / usd / seconds: What came of it, NaN where unknown, shape (n,).
        weight: Of the quality: 1 where it was judged by the metric that is the quality, between 0 and 1 where a
            noisier one stands in for it, shape (n,). What is learned counts it; evaluation knows only the former.
        input_tokens / output_tokens: As billed, shape (n,).
        trade_off: λ, μ, quality floor and cap in USD (infinite for none) in force, shape (n, 4).
        tenant: Shape (n,).
        at: POSIX seconds of the decision, shape (n,).
    """

    arms: tuple[str, ...]
    embeddings: Floats
    features: Floats
    prompt_tokens: Reals
    max_tokens: Reals
    propensities: Reals
    eligible: Mask
    action: Integers
    quality: Reals
    weight: Reals
    usd: Reals
    seconds: Reals
    input_tokens: Reals
    output_tokens: Reals
    trade_off: Reals
    tenant: NDArray[np.str_]
    at: Reals

    def __len__(self) -> int:
        return len(self.action)

    @property
    def propensity(self) -> Reals:
        """Of the drawn arm, shape (n,)."""
        return np.asarray(self.propensities[np.arange(len(self)), self.action])

    def outcomes(self) -> Reals:
        """Quality, USD and seconds side by side, shape (n, 3)."""
        return np.stack([self.quality, self.usd, self.seconds], axis=1)

    def under(self, trade_off: TradeOff) -> "Rounds":
        """The same rounds with this trade-off in each."""
        terms = (trade_off.quality_per_usd, trade_off.quality_per_s, trade_off.quality_floor, trade_off.max_usd)
        return replace(self, trade_off=np.tile(np.array(terms), (len(self), 1)))

    def rows(self, index: NDArray[Any]) -> "Rounds":
        """The rounds of an index or mask."""
        names = [each.name for each in fields(self) if each.name != "arms"]
        return replace(self, **{name: getattr(self, name)[index] for name in names})


def concatenated(parts: Sequence[Rounds]) -> Rounds:
    """Parts over the same arms as one.

    Raises:
        EvaluationError: There is no part.
    """
    if not parts:
        raise EvaluationError("the log holds no round to evaluate on")
    names = [each.name for each in fields(Rounds) if each.name != "arms"]
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return Rounds(arms=parts[0].arms, **joined)
