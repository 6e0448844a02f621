"""Whether the log's arms were drawn as often as its propensities say, and how much of what could be tried was tried."""

from dataclasses import dataclass

import numpy as np

from training.ope.rounds import Integers, Reals, Rounds

ALARM = 0.0005  # p-value; what practice uses for sample-ratio mismatch


@dataclass(slots=True)
class Draws:
    """Sums over rounds.

    Attributes:
        drawn / expected: Rounds of each arm as drawn, and as the propensities expect them, shape (m,).
        products: Σ μμᵀ, shape (m, m).
    """

    drawn: Integers
    expected: Reals
    products: Reals

    @classmethod
    def empty(cls, n_arms: int) -> "Draws":
        return cls(np.zeros(n_arms, dtype=np.int64), np.zeros(n_arms), np.zeros((n_arms, n_arms)))

    def add(self, rounds: Rounds) -> None:
        self.drawn += np.bincount(rounds.action, minlength=len(self.drawn))
        self.expected += rounds.propensities.sum(axis=0)
        self.products += rounds.propensities.T @ rounds.propensities

    def p_value(self) -> float:
        """Of the chi-square test that draws and propensities agree; below ``ALARM`` the log contradicts itself.

        The counts' covariance is Σ (diag μ − μμᵀ); directions in which no draw could differ are left out. Source:
        Fabijan et al., "Diagnosing Sample Ratio Mismatch in Online Controlled Experiments", KDD 2019, for draws whose
        chances differ from round to round.
        """
        from scipy.special import gammaincc

        covariance = np.diag(self.expected) - self.products
        spread = np.sqrt(np.maximum(np.diag(covariance), 0.0))
        free = spread > 1e-6
        if not free.any():
            return 1.0
        gap = (self.drawn - self.expected)[free] / spread[free]
        values, vectors = np.linalg.eigh(covariance[np.ix_(free, free)] / np.outer(spread[free], spread[free]))
        kept = values > 1e-8 * values.max()
        statistic = float((((vectors.T @ gap) ** 2)[kept] / values[kept]).sum())
        return float(gammaincc(kept.sum() / 2.0, statistic / 2.0))  # of chi-square


def state_action_coverage(cells: Integers) -> float:
    """SACo: pairs of cluster and arm that the log holds, over those that as many uniform rounds would be expected to.

    Args:
        cells: Rounds of each cluster and arm, shape (n_clusters, m).

    Source: Schweighofer et al., "A Dataset Perspective on Offline Reinforcement Learning", 2022, with a cluster of
    queries as the state and a uniform log of the same length as the reference.
    """
    rounds, m = cells.sum(axis=1), cells.shape[1]
    expected = m * (1.0 - (1.0 - 1.0 / m) ** rounds)
    return float((cells > 0).sum() / expected.sum())


def trajectory_quality(earned: float, *, even: float, best: float) -> float | None:
    """TQ: where the log's mean reward lies between an arm at random (0) and the best policy known (1).

    None where the two are no different. Source: as above, with the model's best arm per query as the expert.
    """
    return None if best - even < 1e-12 else (earned - even) / (best - even)
