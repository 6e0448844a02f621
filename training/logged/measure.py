"""Learns what noisy judgements are worth, in one pass over the log: sums over the rounds that two metrics judged."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from training.logged.noise import Noise, Source, weight_of
from training.ope.judged import Judged
from training.ope.rounds import EvaluationError, Integers, Mask, Reals

LEAST_OVERLAP = 30  # rounds that both judged
LEAST_SLOPE = 3.0  # in standard errors: a useless source gets past it once in 370
LEAST_LEAN = 3.5  # in standard errors: there are many arms, so a strict bound
_LEAST_SD = 1e-3  # of quality: a source without noise is no more than as good as the reference


@dataclass(slots=True)
class Sums:
    """Of rounds that both metrics judged, by arm; ``q`` is the quality, ``s`` what the source said, each (m,).

    ``s`` is less what it said first, so that squares of large numbers do not drown what they differ by.
    """

    origin: float
    n: Reals
    q: Reals
    s: Reals
    qq: Reals
    qs: Reals
    ss: Reals

    @classmethod
    def empty(cls, n_arms: int) -> "Sums":
        return cls(float("nan"), *(np.zeros(n_arms) for _ in range(6)))

    def add(self, action: Integers, quality: Reals, said: Reals) -> None:
        """Add rounds, each array (n,)."""
        if np.isnan(self.origin) and len(said):
            self.origin = float(said[0])
        s = said - self.origin
        for name, values in (
            ("n", np.ones(len(s))), ("q", quality), ("s", s), ("qq", quality**2), ("qs", quality * s), ("ss", s**2),
        ):  # fmt: skip
            sums = getattr(self, name)
            sums += np.bincount(action, weights=values, minlength=len(self.n))


def measure(chunks: Iterable[Judged], *, reference: str, metrics: Sequence[str], arms: Sequence[str]) -> Noise:
    """One pass over what was said.

    Args:
        reference: Name of the metric that is the quality.
        metrics: Names of the others, in the order of ``Judged.others``.

    Raises:
        EvaluationError: The reference judged nothing, or a metric is named twice or is the reference.
    """
    _check_names(reference, metrics)
    own, shared, alone = Sums.empty(len(arms)), [Sums.empty(len(arms)) for _ in metrics], np.zeros((len(metrics), 2))
    for each in chunks:
        judged = ~np.isnan(each.quality)
        own.add(each.action[judged], each.quality[judged], each.quality[judged])
        for column, said in enumerate(each.others.T):
            there: Mask = ~np.isnan(said)
            both = there & judged
            shared[column].add(each.action[both], each.quality[both], said[both])
            alone[column] += np.count_nonzero(there & ~judged), said[there & ~judged].sum()
    n = int(own.n.sum())
    if n < 2:
        raise EvaluationError(
            f"{n} rounds were judged by {reference}, and others are measured against it; send it for some answers"
        )
    sd = _within_sd(own)
    sources = [
        _source(
            Source(name, int(rounds), int(sums.n.sum())), total, sums, reference=reference, reference_sd=sd, arms=arms
        )
        for name, (rounds, total), sums in zip(metrics, alone, shared, strict=True)
    ]
    return Noise(reference, n, sd, tuple(sources))


def _check_names(reference: str, metrics: Sequence[str]) -> None:
    twice = [name for place, name in enumerate(metrics) if name in metrics[:place] or name == reference]
    if twice:
        raise EvaluationError(f"--noisy-metric {twice[0]}: named twice, or the quality itself; name each metric once")


def _within_sd(sums: Sums) -> float:
    """Of judgements about their arm's mean."""
    seen = np.maximum(sums.n, 1.0)
    squares = float((sums.qq - sums.q**2 / seen).sum())
    freed = max(float(sums.n.sum()) - np.count_nonzero(sums.n), 1.0)
    return max(float(np.sqrt(max(squares, 0.0) / freed)), _LEAST_SD)


def _source(
    blank: Source, total: float, sums: Sums, *, reference: str, reference_sd: float, arms: Sequence[str]
) -> Source:
    """``total`` is the sum of what it said where the reference said nothing."""
    n, rounds = blank.overlap, blank.rounds
    if n < LEAST_OVERLAP:
        why = f"needs {LEAST_OVERLAP} rounds with both" if n or rounds else "the log holds none of it"
        return replace(blank, left_out=why)
    q, s = float(sums.q.sum()) / n, float(sums.s.sum()) / n
    var_q, var_s = (max(float(part.sum()) / n - mean**2, 0.0) for part, mean in ((sums.qq, q), (sums.ss, s)))
    if min(var_q, var_s) < 1e-12:
        same = reference if var_q < 1e-12 else blank.name
        return replace(blank, left_out=f"{same} always said the same where both judged")
    slope = (float(sums.qs.sum()) / n - q * s) / var_q
    residual = max(var_s - slope**2 * var_q, 0.0) * n / (n - 2)
    slope_sd = float(np.sqrt(residual / (n * var_q)))
    found = replace(blank, slope=slope, slope_sd=slope_sd, said=s + sums.origin, quality=q)
    if abs(slope) < LEAST_SLOPE * slope_sd:
        why = f"says nothing of {reference} that chance would not: {slope:+.2f} ± {slope_sd:.2f} per unit of quality"
        return replace(found, left_out=why)
    sd = max(float(np.sqrt(residual)) / abs(found.shrunken_slope), _LEAST_SD)
    weight, leans = float(weight_of(reference_sd, sd)), _leans(sums, found, residual, arms)
    off = found.said - total / rounds if rounds else 0.0
    kept = _kept(off, var_s * (1.0 / n + 1.0 / max(rounds, 1)), known=1.0 - residual / var_s)
    return replace(found, said=found.said - (1.0 - kept) * off, sd=sd, weight=weight, leans=leans)


def _kept(off: float, variance: float, *, known: float) -> float:
    """Share to keep of what the source says otherwise where both judged than where it judged alone.

    If those answers are like the others, the difference is chance, and as much of it is kept as the source knows of
    quality: the regression estimator of a mean from few exact and many rough measurements (Cochran, "Sampling
    Techniques", 1977, section 12.6). Beyond two standard errors they are not like the others, and the line through
    them is taken at its word.

    Args:
        variance: Of ``off``, if it is chance.
        known: Share of what the source says that quality explains.
    """
    return max(known, 1.0 - 4.0 * variance / off**2) if off else 1.0


def _leans(sums: Sums, source: Source, residual: float, arms: Sequence[str]) -> dict[str, float]:
    """Arms whose mean lies off the line by more than chance, in quality."""
    seen = np.maximum(sums.n, 1.0)
    off = sums.s / seen - (source.said - sums.origin) - source.slope * (sums.q / seen - source.quality)
    sure = (np.abs(off) > LEAST_LEAN * np.sqrt(residual / seen)) & (sums.n >= 2)
    return {arms[arm]: float(off[arm] / source.shrunken_slope) for arm in np.flatnonzero(sure).tolist()}
