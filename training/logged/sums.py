"""What the teacher keeps of a log: sums of the rounds of each fold, those of quality apart once judgements differ."""

from dataclasses import dataclass

import numpy as np

from training.logged.grams import Grams
from training.logged.shared_ridge import SharedRidge, fit_shared_ridge, left_out, likeliest
from training.ope.expected import N_FOLDS
from training.ope.rounds import Integers, Reals, Rounds

_LEAST_USD = 1e-9
_QUALITY, _SPENT = slice(0, 1), slice(1, 3)


@dataclass(slots=True)
class LogSums:
    """Sums of quality, log tokens and log USD.

    Attributes:
        plain: Of each fold, every round counting alike.
        weighted: Likewise of quality alone, a round counting by its judgement's weight; None while all are 1, for then
            these are sums of ``plain``. Tokens and USD are known as well where the judgement is noisy.
    """

    plain: list[Grams]
    weighted: list[Grams] | None = None

    @classmethod
    def empty(cls, n_arms: int, n_features: int) -> "LogSums":
        return cls([Grams.empty(n_arms=n_arms, n_features=n_features, n_targets=3) for _ in range(N_FOLDS)])

    @property
    def counts(self) -> Reals:
        """Rounds of each arm, shape (m,)."""
        return np.asarray(sum(part.counts for part in self.plain))

    def add(self, features: Reals, fold: Integers, rounds: Rounds) -> None:
        """Add rounds with their ``features`` (n, d) and ``fold`` (n,)."""
        if self.weighted is None and (rounds.weight < 1.0).any():
            self.weighted = [part.of(_QUALITY) for part in self.plain]
        targets = _targets(rounds)
        for part, plain in enumerate(self.plain):
            rows = fold == part
            phi, action, y = features[rows], rounds.action[rows], targets[rows]
            plain.add(phi, action, y)
            if self.weighted is not None:
                self.weighted[part].add(phi, action, y[:, _QUALITY], rounds.weight[rows])

    def models(self) -> tuple[SharedRidge, ...]:
        """Of all three targets, one per fold, fitted without it."""
        if self.weighted is None:
            return _fitted(self.plain)
        spent = _fitted([part.of(_SPENT) for part in self.plain])
        return tuple(one.beside(other) for one, other in zip(_fitted(self.weighted), spent, strict=True))


def _fitted(parts: list[Grams]) -> tuple[SharedRidge, ...]:
    priors = likeliest(sum(parts[1:], parts[0]))
    return tuple(fit_shared_ridge(grams, priors=priors) for grams in left_out(parts))


def _targets(rounds: Rounds) -> Reals:
    """Quality, log tokens and log USD; USD that is unknown counts as the least, and only priced arms may lack it."""
    usd = np.where(np.isnan(rounds.usd), 0.0, rounds.usd)
    logs = np.log(np.maximum(rounds.output_tokens, 1.0)), np.log(np.maximum(usd, _LEAST_USD))
    return np.stack([rounds.quality, *logs], axis=1)
