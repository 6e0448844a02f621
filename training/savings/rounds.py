"""The log's rounds with what the baseline would have cost in each: doubly robust, on all that were drawn.

Source: Dudík et al., "Doubly Robust Policy Evaluation and Optimization", 2014, with USD as the outcome. Where the
baseline could not have answered, it is what was paid, so that nothing is saved there.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from training.ope.draws import Draws
from training.ope.expected import cross_fit
from training.ope.log import Progress, RoundsSource, Tally
from training.ope.rounds import EvaluationError, Mask, Reals, Rounds
from training.ope.support import Weights, weights_of
from training.savings.baseline import Baseline

_USD = 1  # its place among the outcomes


@dataclass(frozen=True, slots=True)
class SavedRounds:
    """n rounds.

    Attributes:
        paid: USD, NaN where unknown, shape (n,).
        baseline: USD of the baseline, doubly robust, shape (n,): a mean over many rounds tells something, one does not.
        reached: Where the baseline could have answered, shape (n,).
        weights: Of the baseline against the log, each shape (n,).
        tenant / at: Shape (n,).
        p_value: That the arms were drawn as often as their propensities say.
    """

    paid: Reals
    baseline: Reals
    reached: Mask
    weights: Weights
    tenant: NDArray[np.str_]
    at: Reals
    p_value: float

    def __len__(self) -> int:
        return len(self.paid)

    def rows(self, index: NDArray[np.int64]) -> "SavedRounds":
        """The rounds of an index."""
        return replace(
            self, paid=self.paid[index], baseline=self.baseline[index], reached=self.reached[index],
            weights=self.weights.rows(index), tenant=self.tenant[index], at=self.at[index],
        )  # fmt: skip


def saved_rounds(
    log: RoundsSource, baseline: Baseline, tally: Tally, *, progress: Progress | None = None
) -> SavedRounds:
    """Read the log twice: to cross-fit what answers cost, and to see what the baseline would have.

    Raises:
        EvaluationError: The log holds no round.
    """
    model = cross_fit(_costs(log.chunks(progress=progress)))
    parts: list[SavedRounds] = []
    draws, first = Draws.empty(0), 0
    for rounds in _costs(log.chunks(tally, progress=progress)):
        expected = model(rounds, first=first)[:, :, _USD]  # (n, m)
        parts.append(_part(rounds, baseline, expected))
        draws = draws if first else Draws.empty(len(rounds.arms))
        draws.add(rounds)
        first += len(rounds)
    if not parts:
        raise EvaluationError("the log holds no round to tell savings by; see what was excluded")
    weights = [part.weights for part in parts]
    names = ("raw", "unsupported", "largest", "square")
    return SavedRounds(
        paid=np.concatenate([part.paid for part in parts]),
        baseline=np.concatenate([part.baseline for part in parts]),
        reached=np.concatenate([part.reached for part in parts]),
        weights=Weights(*(np.concatenate([getattr(each, name) for each in weights]) for name in names)),
        tenant=np.concatenate([part.tenant for part in parts]),
        at=np.concatenate([part.at for part in parts]),
        p_value=draws.p_value(),
    )


def _costs(chunks: Iterator[Rounds]) -> Iterator[Rounds]:
    """The same rounds with their cost for a quality: the models are fitted where something is judged, and costs are."""
    for rounds in chunks:
        yield replace(rounds, quality=rounds.usd)


def _part(rounds: Rounds, baseline: Baseline, expected: Reals) -> SavedRounds:
    wanted, reached = baseline.distribution(rounds), baseline.reaches(rounds)
    weights = weights_of(rounds, wanted)
    fitted = expected[np.arange(len(rounds)), rounds.action]
    estimate = (wanted * expected).sum(axis=1) + weights.raw * (rounds.usd - fitted)
    return SavedRounds(
        paid=rounds.usd,
        baseline=np.where(reached, estimate, rounds.usd),
        reached=reached,
        weights=weights,
        tenant=rounds.tenant,
        at=rounds.at,
        p_value=1.0,
    )
