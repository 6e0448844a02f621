"""What a log can tell of a target policy at all: weights, effective sample size and support."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.ope.rounds import EvaluationError, Floats, Reals, Rounds

LEAST_EFFECTIVE = 200.0  # below this, intervals of any estimator here are wider than most differences worth knowing
MOST_UNSUPPORTED = 0.01  # of the target's probability, on arms that the log could not have drawn


class SupportError(EvaluationError):
    """The log says too little of the target policy; no estimate would be honest."""


@dataclass(frozen=True, slots=True)
class Support:
    """How much of a target policy a log can have seen.

    Attributes:
        n_rounds: Rounds evaluated.
        effective: Kish's effective sample size of the weights; 0 where all are zero.
        expected: What it would be over many draws by the log's propensities: where no large weight was drawn by luck,
            ``effective`` is far above it, and the rounds with large weights are the model's alone. Infinite where
            weights are clipped, which leaves those to the model on purpose.
        unsupported: Mean target probability on eligible arms of propensity 0; it is missing from every estimate.
        largest_weight: The largest that any draw could have had, drawn or not.
        mean_weight: Its expectation is 1 − unsupported; far from it, propensities are not those that drew.
        clipped: Share of rounds whose weight was cut to the clip.
    """

    n_rounds: int
    effective: float
    unsupported: float
    largest_weight: float
    mean_weight: float
    clipped: float = 0.0
    expected: float = np.inf

    def check(self, policy: str) -> None:
        """Refuse what cannot be evaluated.

        Raises:
            SupportError: Effective sample size below 200, as drawn or as expected, or more than 1 % of the target's
                choices unsupported.
        """
        if self.unsupported > MOST_UNSUPPORTED:
            raise SupportError(
                f"{policy}: {self.unsupported:.1%} of its choices are arms that the log could not have drawn (at most "
                f"{MOST_UNSUPPORTED:.0%} may be); log with exploration > 0 over every arm it may take"
            )
        if self.effective < LEAST_EFFECTIVE:
            raise SupportError(
                f"{policy}: effective sample size {self.effective:.0f} of {self.n_rounds} rounds is below "
                f"{LEAST_EFFECTIVE:.0f}; log more rounds or more exploration, or evaluate a policy nearer to the log's"
            )
        if self.expected < LEAST_EFFECTIVE:
            raise SupportError(
                f"{policy}: effective sample size {self.effective:.0f} is luck, {self.expected:.0f} would be expected "
                f"of {self.n_rounds} rounds: its choices that the log draws least were hardly drawn; log more rounds "
                "or more exploration, or evaluate a policy nearer to the log's"
            )


@dataclass(frozen=True, slots=True)
class Weights:
    """Of each round against one target policy, each shape (n,), in single precision: a long log has many.

    Attributes:
        raw: π(a|x) / μ(a|x) of the drawn arm.
        unsupported: Target probability on arms of propensity 0.
        largest: The largest weight that a draw of this round could have had.
        square: The expected square of its weight, Σ π(a|x)² / μ(a|x) over arms that could have been drawn.
    """

    raw: Floats
    unsupported: Floats
    largest: Floats
    square: Floats

    def clipped(self, clip: float) -> Reals:
        """At most ``clip``: less variance, and a bias that the clipped share hints at."""
        return np.minimum(self.raw.astype(np.float64), clip)

    def support(self, *, clip: float = np.inf) -> Support:
        """What rounds of these weights can tell."""
        n, weights = len(self.raw), self.clipped(clip)
        if not n:
            return Support(0, 0.0, 0.0, 0.0, 0.0)
        return Support(
            n_rounds=n,
            effective=effective_sample_size(weights),
            unsupported=float(self.unsupported.mean(dtype=np.float64)),
            largest_weight=float(min(self.largest.max(), clip)),
            mean_weight=float(weights.mean()),
            clipped=float((self.raw > clip).mean()),
            expected=self._expected() if np.isinf(clip) else np.inf,
        )

    def _expected(self) -> float:
        squares = float(self.square.sum(dtype=np.float64))
        return 0.0 if squares == 0.0 else float((1.0 - self.unsupported.astype(np.float64)).sum()) ** 2 / squares

    def rows(self, index: NDArray[Any]) -> "Weights":
        """Those of some rounds."""
        return Weights(self.raw[index], self.unsupported[index], self.largest[index], self.square[index])


def weights_of(rounds: Rounds, target: Reals) -> Weights:
    """Of every round, for ``target`` π, shape (n, m)."""
    possible = rounds.propensities > 0
    ratio = np.divide(target, rounds.propensities, out=np.zeros_like(target), where=possible)
    return Weights(
        raw=ratio[np.arange(len(rounds)), rounds.action].astype(np.float32),
        unsupported=np.where(possible, 0.0, target).sum(axis=1).astype(np.float32),
        largest=ratio.max(axis=1).astype(np.float32),
        square=(target * ratio).sum(axis=1).astype(np.float32),
    )


def effective_sample_size(weights: Reals) -> float:
    """Number of equally weighted rounds that carry the same information, (Σw)² / Σw²; 0 where every weight is 0.

    Source: Kish, "Survey Sampling", 1965.
    """
    squares = float((weights**2).sum())
    return 0.0 if squares == 0.0 else float(weights.sum()) ** 2 / squares
