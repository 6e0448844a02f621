"""ParetoBandit 0.1 as its package comes, fed with our contexts: LinUCB that forgets geometrically (arXiv 2604.00136).

Its pacer of budgets stays off: here the reward holds the cost. It draws nothing but ties, so it is one-hot.
"""

import logging
from typing import Any

import numpy as np

from policies.predictions import Reals


class ParetoBandit:
    """``pareto_bandit.policy.DisjointLinUCBPolicy`` with the package's settings for a start from scratch."""

    policy_name = "paretobandit"

    def __init__(self, dim: int, n_actions: int, *, seed: int, warm: bool = False) -> None:
        """``warm``: with the package's settings for a start from labelled rows.

        Raises:
            ImportError: paretobandit is not installed; it is in the extra ``rivals``.
        """
        from pareto_bandit.config import BEST_K3_HPARAMS, BEST_K3_TABULA_RASA_HPARAMS
        from pareto_bandit.policy import DisjointLinUCBPolicy

        logging.getLogger("pareto_bandit").setLevel(logging.ERROR)
        chosen = BEST_K3_HPARAMS if warm else BEST_K3_TABULA_RASA_HPARAMS
        self.n_actions, self._names = n_actions, [str(action) for action in range(n_actions)]
        self._bandit: Any = DisjointLinUCBPolicy(
            self._names, dim=dim, alpha=chosen["alpha"], forgetting_factor=chosen["forgetting_factor"], seed=seed
        )

    def action_dist(self, context: Reals, eligible: Reals) -> Reals:
        """One-hot on what it selects."""
        able = [self._names[action] for action in np.flatnonzero(eligible)]
        chosen, _ = self._bandit.select_arm(context, candidates=able)
        dist = np.zeros(self.n_actions)
        dist[int(chosen)] = 1.0
        self._bandit.mark_selected(chosen)
        return dist

    def update_params(self, action: int, reward: float, context: Reals) -> None:
        """Learn from one round; it clamps rewards to 0..1."""
        self._bandit.update(self._names[action], context, min(max(reward, 0.0), 1.0), advance_time=False)

    def learn_offline(self, rewards: Reals, contexts: Reals) -> None:
        """Learn labelled rows: ``rewards`` (n, n_actions) of ``contexts`` (n, dim)."""
        for row, context in zip(rewards, contexts, strict=True):
            for action, reward in enumerate(row):
                self._bandit.update(self._names[action], context, min(max(float(reward), 0.0), 1.0), advance_time=False)
