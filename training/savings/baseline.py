"""What is saved against: one arm, or a fixed mixture of some, as if it had answered every request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from training.ope.rounds import EvaluationError, Mask, Reals, Rounds

_SLACK = 1e-6


@dataclass(frozen=True, slots=True)
class Baseline:
    """Its eligible arms by their shares; where none of them is eligible, what the log chose: nothing is saved there.

    Attributes:
        shares: Arm -> share, which sum to 1.
    """

    name: str
    shares: Mapping[str, float]

    def distribution(self, rounds: Rounds) -> Reals:
        """Probability of each arm, shape (n, m)."""
        wanted = rounds.eligible * np.array([self.shares.get(arm, 0.0) for arm in rounds.arms])
        total = wanted.sum(axis=1, keepdims=True)
        share = np.divide(wanted, total, out=np.zeros_like(wanted), where=total > 0.0)
        return np.where(total > 0.0, share, rounds.propensities)

    def reaches(self, rounds: Rounds) -> Mask:
        """Rounds in which it could have answered, shape (n,)."""
        among = np.array([self.shares.get(arm, 0.0) > 0.0 for arm in rounds.arms])
        return np.asarray(rounds.eligible[:, among].any(axis=1))


def read_baseline(text: str, arms: Sequence[str]) -> Baseline:
    """``ARM``, or ``0.7*ARM,0.3*ARM``.

    Raises:
        EvaluationError: It names no arm of the log, or the shares do not sum to 1.
    """
    if text in arms:
        return Baseline(text, {text: 1.0})
    shares: dict[str, float] = {}
    for part in text.split(","):
        share, star, arm = part.strip().partition("*")
        shares[arm if star else share] = _share(share) if star else np.nan
    unknown = [arm for arm in shares if arm not in arms]
    if unknown:
        raise EvaluationError(f"--baseline: no arm {unknown[0]!r} was eligible in the log; it has {', '.join(arms)}")
    if not abs(sum(shares.values()) - 1.0) < _SLACK or min(shares.values()) <= 0.0:
        raise EvaluationError(
            f"--baseline: expected an arm, or shares above 0 that sum to 1 as in 0.7*ARM,0.3*ARM, got {text!r}"
        )
    return Baseline(text, shares)


def _share(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
