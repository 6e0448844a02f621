"""The arithmetic of the report: percentiles, medians with their spread, and ratios."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Spread:
    """One figure over the interleaved rounds: its median and its extremes."""

    median: float
    low: float
    high: float
    rounds: int


def spread(values: Sequence[float]) -> Spread:
    """Median, minimum and maximum of the rounds' figures.

    Raises:
        ValueError: No round gave a figure.
    """
    if not values:
        raise ValueError("no round gave this figure; look at the errors printed for its row")
    return Spread(float(np.median(values)), float(min(values)), float(max(values)), len(values))


def percentile(values: Floats, percent: float) -> float:
    """The smallest value that at least `percent` % of the values do not exceed (nearest rank, never interpolated).

    Interpolating between the two slowest of a few hundred requests would print a latency that nobody had.
    """
    if values.size == 0:
        raise ValueError("no request finished, so there is no latency to take a percentile of")
    return float(np.percentile(values, percent, method="inverted_cdf"))


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> Spread:
    """How many times dearer `theirs` is: the ratio of medians, with the extremes of the rounds taken in pairs.

    Round i of both was measured within the same minute, so the pairs share the machine's mood.

    Raises:
        ValueError: A side is empty, or ours is not positive.
    """
    if min(ours, default=0.0) <= 0.0:
        raise ValueError("a ratio needs positive figures on our side in every round")
    pairs = [a / b for a, b in zip(theirs, ours, strict=False)]
    middle = spread(theirs).median / spread(ours).median
    return Spread(middle, min(pairs), max(pairs), len(pairs))


def per_event_us(*, long_cpu_s: float, short_cpu_s: float, long_events: int, short_events: int) -> float:
    """CPU of one more event of a stream, in microseconds: the slope between a long and a short stream.

    The short stream pays for the request itself (connection, parsing, routing, log), so the slope is the event alone.
    """
    return (long_cpu_s - short_cpu_s) / (long_events - short_events) * 1e6
