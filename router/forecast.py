"""When a budget will be spent, by the rate at which it was spent lately, with an interval.

Spending by part of a window is taken as a process with independent increments: of the last parts' mean rate the error
is known from their scatter, and what is still to come scatters as much.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

Z80 = 1.2816  # two-sided 80 % normal interval
RECENT = 6  # parts of a window that tell the rate: a quarter of it


@dataclass(frozen=True, slots=True)
class Step:
    """What was spent in a stretch of time: USD, and its seconds."""

    usd: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Rate:
    """USD per second, the variance of what a second spends and that of the rate; NaN: fewer than two stretches."""

    usd_per_s: float
    variance: float
    variance_of_mean: float

    def spent_in(self, seconds: float, *, z: float = 0.0) -> float:
        """USD in so many seconds, `z` standard deviations above what is expected; at least 0."""
        scatter = math.sqrt(self.variance * seconds + self.variance_of_mean * seconds**2) if z else 0.0
        return max(self.usd_per_s * seconds + z * scatter, 0.0)

    def seconds_to(self, usd: float, *, z: float = 0.0) -> float:
        """Until so much will have been spent, `z` as above; infinite: never."""
        if usd <= 0.0:
            return 0.0
        high = 1.0
        while self.spent_in(high, z=z) < usd:
            high *= 2.0
            if high > 1e12:
                return math.inf
        low = high / 2.0 if high > 1.0 else 0.0
        for _ in range(60):
            middle = (low + high) / 2.0
            low, high = (middle, high) if self.spent_in(middle, z=z) < usd else (low, middle)
        return high


def steps_of(
    before: Sequence[int | None],
    now: Sequence[int | None],
    *,
    spent: int,
    part_s: tuple[float, float],
    elapsed_s: float,
) -> list[Step]:
    """Stretches of the last window and of this one, up to this moment, oldest first.

    Args:
        before / now: Nano-USD spent by the end of each part; None where nobody noted it, so it is as before.
        spent: Nano-USD by now.
        part_s: Seconds of a part of the last window, and of this one.
        elapsed_s: Since this one began.
    """
    part = min(int(elapsed_s / part_s[1]), len(now) - 1)
    known = any(value is not None for value in before)
    steps = _increments(before, part_s[0]) if known else []
    # Where nothing came before, what lies before the first request is no time in which little was spent.
    first = 0 if known else next((at for at, value in enumerate(now[:part]) if value is not None), part)
    ended = _increments(now[first:part], part_s[1])
    rest = spent / 1e9 - sum(step.usd for step in ended)
    return [*steps, *ended, Step(max(rest, 0.0), elapsed_s - part * part_s[1])]


def rate_of(steps: Sequence[Step]) -> Rate:
    """Of the last stretches, by time. Raises ValueError: there is none that lasted."""
    lasted = [step for step in steps if step.seconds > 0.0][-RECENT:]
    seconds = sum(step.seconds for step in lasted)
    if not seconds:
        raise ValueError("a rate needs a stretch of time: this window began just now, and none came before it")
    mean = sum(step.usd for step in lasted) / seconds
    if len(lasted) < 2:
        return Rate(mean, math.nan, math.nan)
    squares = sum(step.seconds * (step.usd / step.seconds - mean) ** 2 for step in lasted)
    variance = squares / (len(lasted) - 1)
    return Rate(mean, variance, variance / seconds)


def _increments(spent: Sequence[int | None], seconds: float) -> list[Step]:
    steps, so_far = [], 0
    for value in spent:
        now = so_far if value is None else max(value, so_far)
        steps.append(Step((now - so_far) / 1e9, seconds))
        so_far = now
    return steps
