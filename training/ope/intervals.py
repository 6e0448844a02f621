"""Intervals of off-policy estimates: the bootstrap over rounds, and empirical Bernstein where the range is known."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.metrics.intervals import replicate_means
from training.ope.estimators import AS_MEANS, ESTIMATORS, values_of
from training.ope.rounds import Reals

MOST_BLOCKS = 20_000  # rounds are summed into so many blocks before they are drawn again: more would change no digit


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95 % intervals.

    Attributes:
        low / high: Of the bootstrap.
        bernstein: Empirical Bernstein bounds of the mean of what was averaged, which hold at any sample size: of the
            value itself where that mean is unbiased. None where the outcome has no known range or the estimator is no
            mean of rounds.
    """

    value: float
    low: float
    high: float
    bernstein: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio of two means, as ``snips`` is: Σ numerator / Σ denominator, each shape (n_rounds,)."""

    numerator: Reals
    denominator: Reals


@dataclass(frozen=True, slots=True)
class Bounds:
    """95 % intervals of k means and r ratios, with the replicates of the means.

    Attributes:
        low / high: Shape (k + r,).
        means: Of every replicate, shape (n_replicates, k).
    """

    low: Reals
    high: Reals
    means: Reals


def units_of(columns: Reals, *, most: int = MOST_BLOCKS) -> Reals:
    """Rounds, or at most ``most`` blocks of them with the same mean and the same error of it, shape (n_units, k)."""
    n = len(columns)
    if n <= most:
        return columns
    block, centre = np.arange(n) % most, columns.mean(axis=0)
    # About the mean: blocks differ by a round in length, which of the values themselves would pass for spread.
    apart = zip(columns.T, centre, strict=True)
    sums = np.stack([np.bincount(block, weights=column - mean, minlength=most) for column, mean in apart], axis=1)
    return np.asarray(centre + sums * (most / n))


def studentised(columns: Reals, ratios: Sequence[Ratio] = (), *, seed: int = 0) -> Bounds:
    """Bootstrap-t intervals over rounds; all of them share their draws.

    A replicate's distance from the estimate is taken in its own standard errors: weights are skewed, and percentiles of
    plain replicates then miss the truth too often. Source: Efron and Tibshirani, "An Introduction to the Bootstrap",
    1993, chapter 12; the standard error of a ratio is that of its linearisation.

    Args:
        columns: Means are wanted of, shape (n_rounds, k).
    """
    k, parts = columns.shape[1], [columns, *(np.stack([each.numerator, each.denominator], axis=1) for each in ratios)]
    units = units_of(np.hstack(parts))
    centre, spread = units[:, :k].mean(axis=0), units[:, :k].std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    apart = (units[:, :k] - centre) / scale  # in single precision a small outcome, USD say, would lose its digits
    linear = [_linearised(units[:, k + 2 * i], units[:, k + 2 * i + 1]) for i in range(len(ratios))]
    matrix = np.hstack([apart, apart**2, *(each.columns for each in linear)]).astype(np.float32)
    drawn = replicate_means([matrix], seed=seed)[0]
    means, squares = drawn[:, :k], drawn[:, k : 2 * k]
    away = _over(means, np.sqrt(np.maximum(squares - means**2, 0.0)))
    low, high = _quantiles(away)
    lows, highs = [*(centre - high * scale)], [*(centre - low * scale)]
    for i, each in enumerate(linear):
        low, high = _quantiles(each.away(drawn[:, 2 * k + 5 * i : 2 * k + 5 * (i + 1)])[:, None])
        lows.append(each.value - float(high[0]) * each.spread)
        highs.append(each.value - float(low[0]) * each.spread)
    return Bounds(np.array(lows), np.array(highs), np.asarray(centre + means * scale))


@dataclass(frozen=True, slots=True)
class _Linear:
    """A ratio v = ā / b̄ through z = (a − v·b) / b̄, whose mean is 0."""

    value: float
    spread: float
    columns: Reals

    def away(self, drawn: Reals) -> Reals:
        """Each replicate's distance from the value in its own standard errors; ``drawn`` are means of ``columns``."""
        z, z_squared, mixed, b, b_squared = drawn.T
        off = _over(z, b)
        variance = z_squared - 2.0 * off * mixed + off**2 * b_squared
        return _over(off, np.sqrt(np.maximum(variance, 0.0)) / np.maximum(b, 1e-12))


def _linearised(a: Reals, b: Reals) -> _Linear:
    total = float(b.mean())
    if total <= 0:
        return _Linear(float("nan"), 1.0, np.zeros((len(a), 5)))
    value = float(a.mean()) / total
    z = (a - value * b) / total
    spread = float(z.std()) or 1.0
    z, b = z / spread, b / total
    return _Linear(value, spread, np.stack([z, z**2, z * b, b, b**2], axis=1))


def _over(a: Reals, b: Reals) -> Reals:
    return np.divide(a, b, out=np.zeros_like(a), where=b > 1e-12)


def _quantiles(away: Reals) -> tuple[Reals, Reals]:
    low, high = np.percentile(away, [2.5, 97.5], axis=0)
    return low, high


@dataclass(frozen=True, slots=True)
class Points:
    """The estimators of one outcome without their bootstrap: values in their order, and bounds that are exact."""

    values: Reals
    exact: dict[str, tuple[float, float]]


def points_of(columns: Reals, *, spread: float | None, largest_weight: float) -> Points:
    """Of ``Terms.columns``, shape (n_rounds, 6).

    Args:
        spread: Width of the outcome's range, which starts at 0; None where it has none.
        largest_weight: That any draw could have had: the range of a weighted round must not depend on luck.
    """
    exact = {} if spread is None else _bernstein(columns, spread=spread, weight=largest_weight)
    return Points(values_of(columns.mean(axis=0)), exact)


def estimates(points: Points, bounds: Bounds, place: int) -> dict[str, Estimate]:
    """Every estimator of one outcome.

    Args:
        bounds: Their intervals among others: those of ``means_of`` from ``4 * place`` on, ``snips`` as a ratio.
    """
    n_means = bounds.means.shape[1]
    at = {name: 4 * place + i for i, name in enumerate(AS_MEANS)} | {"snips": n_means + place}
    low, high = bounds.low, bounds.high
    return {
        name: Estimate(float(points.values[i]), float(low[at[name]]), float(high[at[name]]), points.exact.get(name))
        for i, name in enumerate(ESTIMATORS)
    }


def _bernstein(columns: Reals, *, spread: float, weight: float) -> dict[str, tuple[float, float]]:
    ranges = {"dm": spread, "ips": spread * weight, "dr": spread * (1.0 + 2.0 * weight)}
    found = {}
    for name, width in ranges.items():
        column = columns[:, ESTIMATORS.index(name)]
        radius = bernstein_radius(column, width=width)
        found[name] = (float(column.mean() - radius), float(column.mean() + radius))
    return found


def bernstein_radius(values: Reals, *, width: float, confidence: float = 0.95) -> float:
    """Half the width of a two-sided interval of the mean of independent ``values`` (n,) in a range of ``width``.

    Source: Maurer and Pontil, "Empirical Bernstein Bounds and Sample Variance Penalization", COLT 2009, theorem 4, once
    for each side.
    """
    n = len(values)
    if n < 2:
        return np.inf
    log = float(np.log(4.0 / (1.0 - confidence)))
    variance = float(values.var(ddof=1))
    return float(np.sqrt(2.0 * variance * log / n) + 7.0 * width * log / (3.0 * (n - 1)))
