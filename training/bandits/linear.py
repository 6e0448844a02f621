"""Linear contextual bandits with one ridge regression per action: LinUCB and linear Thompson sampling.

Departs from the papers in the intercept, the last number of a context, which is hardly penalised: a penalised one costs
more than the choice of the algorithm.
"""

import numpy as np

from policies.predictions import Reals
from policies.zoo.thompson import chances_of_best, normal_points
from training.bandits.base import one_hot

_FREE = 1e-2  # penalty of the intercept, in observations


class _Ridge:
    """Disjoint ridge regressions, by their inverses."""

    def __init__(self, dim: int, n_actions: int, *, penalty: float) -> None:
        """Contexts have ``dim`` numbers, the last of them 1."""
        prior = np.full(dim, 1.0 / penalty)
        prior[-1] = 1.0 / _FREE
        self.dim, self.n_actions = dim, n_actions
        self.A_inv = np.tile(np.diag(prior), (n_actions, 1, 1))
        self.b = np.zeros((n_actions, dim))
        self.theta_hat = np.zeros((n_actions, dim))

    def update_params(self, action: int, reward: float, context: Reals) -> None:
        """Learn from one round, by Sherman and Morrison."""
        inverse = self.A_inv[action]
        moved = inverse @ context
        inverse -= np.outer(moved, moved) / (1.0 + float(context @ moved))
        self.b[action] += reward * context
        self.theta_hat[action] = inverse @ self.b[action]

    def _mean_and_sd(self, context: Reals) -> tuple[Reals, Reals]:
        variance = np.matmul(self.A_inv, context) @ context
        return self.theta_hat @ context, np.sqrt(np.maximum(variance, 0.0))


class LinUCB(_Ridge):
    """Takes the action of highest mean + α · deviation. Source: Li et al., WWW 2010."""

    policy_name = "linucb"

    def __init__(self, dim: int, n_actions: int, *, alpha: float = 0.3, penalty: float = 1.0) -> None:
        """``alpha`` is in rewards' units."""
        super().__init__(dim, n_actions, penalty=penalty)
        self._alpha = alpha

    def action_dist(self, context: Reals, eligible: Reals) -> Reals:
        """One-hot."""
        mean, sd = self._mean_and_sd(context)
        return one_hot(mean + self._alpha * sd, eligible)


class LinTS(_Ridge):
    """Takes each action as often as its draw from the posterior is the best. Source: Agrawal and Goyal, ICML 2013."""

    policy_name = "thompson"

    def __init__(self, dim: int, n_actions: int, *, v: float = 0.3, penalty: float = 1.0) -> None:
        """``v`` scales the deviation of what is drawn."""
        super().__init__(dim, n_actions, penalty=penalty)
        self._v, self._points = v, normal_points(n_actions)

    def action_dist(self, context: Reals, eligible: Reals) -> Reals:
        """The probability of being the best draw, of the eligible actions."""
        mean, sd = self._mean_and_sd(context)
        rows, dist = np.flatnonzero(eligible), np.zeros(self.n_actions)
        if len(rows) == 1:
            return one_hot(mean, eligible)
        factor = np.diag(self._v * sd)[rows]
        dist[rows] = chances_of_best(mean[rows], factor, self._points)
        return dist


class Ucb:
    """Takes the action of highest mean + width, whatever the query. Source: UCB1, Auer et al., 2002."""

    policy_name = "ucb"

    def __init__(self, n_actions: int, *, noise_sd: float = 0.5) -> None:
        """``noise_sd`` of a reward, which sets the width."""
        self.n_actions, self._noise_sd = n_actions, noise_sd
        self.counts, self.sums = np.zeros(n_actions), np.zeros(n_actions)

    def action_dist(self, context: Reals, eligible: Reals) -> Reals:
        """One-hot; an action never taken comes first."""
        tried = np.maximum(self.counts, 1e-9)
        bound = self.sums / tried + self._noise_sd * np.sqrt(2.0 * np.log(max(self.counts.sum(), 2.0)) / tried)
        return one_hot(bound, eligible)

    def update_params(self, action: int, reward: float, context: Reals) -> None:
        """Learn from one round."""
        self.counts[action] += 1.0
        self.sums[action] += reward
