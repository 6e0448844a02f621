"""What a played stream was worth: regret against named comparators, how soon it adapted, and what its alarms told."""

from dataclasses import dataclass

import numpy as np

from policies.predictions import Reals
from training.simulate.play import Played
from training.simulate.stream import Stream

_WINDOW = 200  # requests over which a mean reward is taken to have adapted


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one policy in one order.

    Attributes:
        mean_reward: Over the stream.
        regret: Sum of the best fixed arm's rewards less its own; negative: better than any fixed arm in hindsight.
        regret_full: The same against the full-information comparator, NaN if that was not played.
        last_third: Mean reward of the last third less that of the best arm there that was not changed.
        adapted_after: Requests from the change until ``_WINDOW`` of them earned what the best arm then earns, less .02;
            NaN if nothing changed or it never did.
        alarm_after: Requests from the break to the changed arm's first alarm, NaN without one.
        false_alarms: Alarms of other arms, or before the break.
    """

    name: str
    mean_reward: float
    regret: float
    regret_full: float
    last_third: float
    adapted_after: float
    alarm_after: float
    false_alarms: int


def fixed_rewards(stream: Stream) -> Reals:
    """Rewards of always the same arm, shape (n, m); where it cannot be asked, the mean of those that can."""
    rewards = stream.rewards
    able = np.where(stream.eligible, rewards, 0.0).sum(axis=1) / stream.eligible.sum(axis=1)
    return np.where(stream.eligible, rewards, able[:, None])


def cumulative_regret(played: Played, stream: Stream) -> Reals:
    """Against the arm that is best over the whole stream, shape (n,)."""
    fixed = fixed_rewards(stream)
    best = fixed[:, fixed.sum(axis=0).argmax()]
    return np.cumsum(best - played.rewards)


def judge(played: Played, stream: Stream, *, full: Played | None = None) -> Verdict:
    """Compare what was earned with what could have been."""
    n, change = len(stream), stream.changed_at
    last, others = slice(2 * n // 3, n), np.arange(stream.scores.shape[1]) != stream.changed
    best_other = float(fixed_rewards(stream)[last][:, others].mean(axis=0).max())
    own = [alarm.at - change for alarm in played.alarms if _is_of(alarm.arm, stream) and alarm.at >= change]
    return Verdict(
        name=played.name,
        mean_reward=float(played.rewards.mean()),
        regret=float(cumulative_regret(played, stream)[-1]),
        regret_full=float("nan") if full is None else float((full.rewards - played.rewards).sum()),
        last_third=float(played.rewards[last].mean()) - best_other,
        adapted_after=_adapted_after(played, stream),
        alarm_after=float(min(own)) if own else float("nan"),
        false_alarms=len(played.alarms) - len(own),
    )


def _is_of(arm: str, stream: Stream) -> bool:
    return arm == stream.facts[0][stream.changed].name


def _adapted_after(played: Played, stream: Stream) -> float:
    change = stream.changed_at
    if len(stream) - change < _WINDOW:
        return float("nan")
    target = float(fixed_rewards(stream)[change:].mean(axis=0).max()) - 0.02
    sums = np.cumsum(np.concatenate([[0.0], played.rewards[change:]]))
    windows = (sums[_WINDOW:] - sums[:-_WINDOW]) / _WINDOW
    reached = np.flatnonzero(windows >= target)
    return float(reached[0]) if len(reached) else float("nan")
