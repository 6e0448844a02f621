"""What a comparison bandit can do: say how likely it takes each action, and learn from the reward of one."""

from typing import Protocol

from policies.predictions import Reals


class Bandit(Protocol):
    """A learner over ``n_actions`` actions.

    Attributes:
        policy_name: As in reports.
        n_actions: Of which some may not be eligible in a round.
    """

    policy_name: str
    n_actions: int

    def action_dist(self, context: Reals, eligible: Reals) -> Reals:
        """Probability of each action, shape (n_actions,): ``context`` (dim,), ``eligible`` 1 or 0 of each action."""
        ...

    def update_params(self, action: int, reward: float, context: Reals) -> None:
        """Learn from one round."""
        ...


def one_hot(values: Reals, eligible: Reals) -> Reals:
    """Probability shared by the eligible actions of highest value, shape (n_actions,)."""
    open_to = eligible > 0
    best = open_to & (values >= values[open_to].max())
    dist: Reals = best / best.sum()
    return dist
