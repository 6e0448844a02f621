"""The teacher of a log: a shared ridge of quality, tokens and USD, cross-fitted in one pass, and a sample of queries.

What it says of a query comes from fits that had not seen that query's round, so a student learns what is known of
queries to come.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from training.inputs import Reals
from training.logged.features import FeatureScale, fit_scale
from training.logged.shared_ridge import SharedRidge
from training.logged.sums import LogSums
from training.ope.expected import folds_from
from training.ope.rounds import EvaluationError, Integers, Rounds, concatenated

MOST_ROWS = 20_000  # queries that a student hears; the ridge itself hears all


@dataclass(frozen=True, slots=True)
class LogTeacher:
    """What a log taught.

    Attributes:
        models: Of quality, log tokens and log USD; one per fold, fitted without it.
        sample: Rounds of the log, at most ``MOST_ROWS``.
        fold: Of each of them, shape (n,).
        counts: Rounds of each arm in the log, shape (m,).
        worth: The same by the weight of their judgements, shape (m,).
        input_tokens / estimated_tokens: Billed and estimated prompt tokens of each arm's rounds, shape (m,).
    """

    scale: FeatureScale
    models: tuple[SharedRidge, ...]
    sample: Rounds
    fold: Integers
    counts: Reals
    worth: Reals
    input_tokens: Reals
    estimated_tokens: Reals

    def says(self) -> tuple[Reals, Reals]:
        """Quality, log tokens and log USD of every arm for the sampled queries, (n, m, 3), and the quality's doubt."""
        features = self.scale(self.sample.embeddings, self.sample.features)
        told = np.empty((len(features), len(self.counts), 3))
        doubt = np.empty((len(features), len(self.counts)))
        for part, model in enumerate(self.models):
            rows = self.fold == part
            told[rows], doubt[rows] = model(features[rows]), model.doubt(features[rows])
        return told, doubt


def fit_teacher(chunks: Iterable[Rounds], *, seed: int = 0, most_rows: int = MOST_ROWS) -> LogTeacher:
    """One pass; memory does not grow with the log beyond the sample.

    Raises:
        EvaluationError: There is no labelled round.
    """
    scale: FeatureScale | None = None
    sums = LogSums.empty(0, 0)
    kept = _Reservoir(most_rows, np.random.default_rng(seed))
    billed, estimated, worth, first = np.zeros(0), np.zeros(0), np.zeros(0), 0
    for rounds in chunks:
        m = len(rounds.arms)
        if scale is None:
            scale = fit_scale(rounds.embeddings, rounds.features)
            sums = LogSums.empty(m, scale.n_outputs)
            billed, estimated, worth = np.zeros(m), np.zeros(m), np.zeros(m)
        fold = folds_from(first, len(rounds))
        sums.add(scale(rounds.embeddings, rounds.features), fold, rounds)
        billed += np.bincount(rounds.action, weights=rounds.input_tokens, minlength=m)
        estimated += np.bincount(rounds.action, weights=rounds.prompt_tokens, minlength=m)
        worth += np.bincount(rounds.action, weights=rounds.weight, minlength=m)
        kept.add(rounds, fold)
        first += len(rounds)
    if scale is None:
        raise EvaluationError("the log holds no judged round to learn from; send feedback with the answers' ids")
    sample, folds = kept.sample()
    return LogTeacher(scale, sums.models(), sample, folds, sums.counts, worth, billed, estimated)


class _Reservoir:
    """At least half of ``most`` rounds of a stream, each with the same chance."""

    def __init__(self, most: int, rng: np.random.Generator) -> None:
        self._most, self._rng, self._share = most, rng, 1.0
        self._held: list[tuple[Rounds, Integers]] = []

    def add(self, rounds: Rounds, fold: Integers) -> None:
        self._held.append(self._thinned(rounds, fold, self._share))
        while sum(len(each) for each, _ in self._held) > self._most:
            self._share /= 2.0
            self._held = [self._thinned(*each, 0.5) for each in self._held]

    def sample(self) -> tuple[Rounds, Integers]:
        rounds = concatenated([each for each, _ in self._held])
        return rounds, np.concatenate([fold for _, fold in self._held])

    def _thinned(self, rounds: Rounds, fold: Integers, share: float) -> tuple[Rounds, Integers]:
        if share >= 1.0:
            return rounds, fold
        kept = self._rng.random(len(rounds)) < share
        return rounds.rows(kept), fold[kept]
