"""What the pairs say of each floor: mean scores, the ratio realised, and whether the gambler against it alarms."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from policies.floor_watch import FloorWatch
from training.floors.pair_book import Pair
from training.metrics.curve import Reals
from training.metrics.intervals import percentile_interval, replicate_means

LEAST_PAIRS = 30  # below it an interval of a ratio is too narrow to be told


@dataclass(frozen=True, slots=True)
class Watched:
    """One floor.

    Attributes:
        pairs / asked: All pairs heard, and those of them that rest on scores; another one speaks for each of the rest.
        waiting / failed: Drawn decisions whose scores are still to come, and those of which none could be had.
        score / reference_score: Means of the policy and of the reference arm, each pair as often as it counts; None
            where none rests on scores.
        ratio / low / high: Quality kept, with its 95 % bootstrap interval from 30 pairs on.
        watch: Of this floor, after the last pair.
        alarmed_at_pair / alarmed_at: Number of the pair that raised the alarm, from 1, and POSIX seconds at which its
            decision began.
    """

    floor: float
    pairs: int
    asked: int
    waiting: int
    failed: int
    score: float | None
    reference_score: float | None
    ratio: float | None
    low: float | None
    high: float | None
    watch: FloorWatch
    alarmed_at_pair: int | None = None
    alarmed_at: float | None = None


def watched(
    floor: float, pairs: Sequence[Pair], *, false_alarm: float, waiting: int = 0, failed: int = 0, seed: int = 0
) -> Watched:
    """Hear all pairs of one floor, in order."""
    watch, alarm = FloorWatch(floor, false_alarm), None
    for number, pair in enumerate(pairs, start=1):
        watch = after(watch, pair)
        if alarm is None and watch.alarmed:
            alarm = (number, pair.drawn.at)
    weights = np.array([each.drawn.weight for each in pairs], dtype=np.float64)
    scores = np.array([(each.score, each.reference_score) for each in pairs], dtype=np.float64).reshape(-1, 2)
    weighted = scores * weights[:, None]  # (n_pairs, 2)
    score, reference = (weighted.sum(axis=0) / weights.sum()).tolist() if weights.any() else (None, None)
    low, high = _interval(weighted, seed=seed) or (None, None)
    return Watched(
        floor=floor,
        pairs=len(pairs),
        asked=sum(each.drawn.weight > 0 for each in pairs),
        waiting=waiting,
        failed=failed,
        score=score,
        reference_score=reference,
        ratio=score / reference if reference else None,
        low=low,
        high=high,
        watch=watch,
        alarmed_at_pair=None if alarm is None else alarm[0],
        alarmed_at=None if alarm is None else alarm[1],
    )


def after(watch: FloorWatch, pair: Pair) -> FloorWatch:
    """The watch after one more pair; one that speaks for k counts as k, and those it speaks for as none."""
    weight = pair.drawn.weight
    if weight == 1:
        return watch.after(pair.score, pair.reference_score)
    # Both scores are one answer's: the difference k·(1 − floor)·score, as if the reference arm had scored 0.
    return watch.after(min(weight * (1.0 - watch.floor) * pair.score, 1.0), 0.0)


def _interval(weighted: Reals, *, seed: int) -> tuple[float, float] | None:
    if len(weighted) < LEAST_PAIRS:
        return None
    means = replicate_means([weighted.astype(np.float32)], seed=seed)[0]
    ratios = np.full(len(means), np.nan)
    np.divide(means[:, 0], means[:, 1], out=ratios, where=means[:, 1] > 0.0)
    return percentile_interval(ratios)
