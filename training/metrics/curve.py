"""A router's curve: what it costs and how often it is right, for each price it may put on a dollar.

The grid of prices is fixed before anything is measured, so that nobody can pick the one that flatters.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.contender import Forecast
from training.hull import upper_hull

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]

_N_FINITE = 120
_LOW, _HIGH = 1e-3, 1e3


@dataclass(frozen=True, slots=True)
class Curve:
    """Mean outcome per query at each λ of the grid, both of shape (n_lambdas,)."""

    usd: Reals
    accuracy: Reals


@dataclass(frozen=True, slots=True)
class Played:
    """What each query cost and scored at each λ.

    Attributes:
        scores / usd: Shape (n, n_lambdas); expectations where the router draws.
        actions: The arm taken, shape (n, n_lambdas); None where the router draws (``Forecast.dist``).
    """

    scores: Reals
    usd: Reals
    actions: Integers | None


def lambda_multiples() -> Reals:
    """λ × reference USD for the whole grid, shape (122,): 0, 120 log-spaced values from 1e-3 to 1e3, and infinity."""
    return np.concatenate([[0.0], np.logspace(np.log10(_LOW), np.log10(_HIGH), _N_FINITE), [np.inf]])


def best_single(scores: Reals, usd: Reals) -> int:
    """Index of the arm of highest mean score; of equal ones the one of least mean cost.

    Args:
        scores / usd: Shape (n, m).
    """
    accuracy, cost = scores.mean(axis=0), usd.mean(axis=0)
    return int(np.lexsort((cost, -accuracy))[0])


def reference_usd(scores: Reals, usd: Reals) -> float:
    """Mean cost of the most accurate arm on the TRAINING rows: the unit of λ; at least 1e-12 USD."""
    return max(float(usd[:, best_single(scores, usd)].mean()), 1e-12)


def choices(forecast: Forecast, lambdas: Reals) -> Integers:
    """Arm of highest ``quality − λ·usd`` for each query and λ, shape (n, n_lambdas).

    Equal utilities go to the arm that is forecast cheaper. An infinite λ takes the arm that is forecast cheapest (of
    equal ones the better).

    Args:
        lambdas: In quality per USD, shape (n_lambdas,) or, one grid per query, (n, n_lambdas).
    """
    n = len(forecast.quality)
    grid = np.broadcast_to(lambdas, (n, np.shape(lambdas)[-1]))
    order = np.lexsort((-forecast.quality, forecast.usd), axis=-1)  # cheapest first, so argmax breaks ties that way
    quality, usd = (np.take_along_axis(part, order, axis=1) for part in (forecast.quality, forecast.usd))
    taken = np.empty(grid.shape, dtype=np.int64)
    for column in range(grid.shape[1]):
        price = grid[:, column, None]
        endless = np.isinf(price)
        utility = quality - np.where(endless, 0.0, price) * usd
        taken[:, column] = np.where(endless[:, 0], 0, utility.argmax(axis=1))
    return np.take_along_axis(order, taken, axis=1)


def play(forecast: Forecast, lambdas: Reals, *, scores: Reals, usd: Reals) -> Played:
    """Outcome of the router's choices where every arm's outcome is known.

    Args:
        lambdas: As in ``choices``.
        scores / usd: Outcome of each arm, shape (n, m).
    """
    if forecast.dist is not None:
        shape = (len(scores), np.shape(lambdas)[-1])
        drawn = [(forecast.dist * part).sum(axis=1, keepdims=True) for part in (scores, usd)]
        return Played(np.broadcast_to(drawn[0], shape), np.broadcast_to(drawn[1], shape), None)
    actions = choices(forecast, lambdas)
    return Played(np.take_along_axis(scores, actions, axis=1), np.take_along_axis(usd, actions, axis=1), actions)


def hull(curve: Curve) -> Curve:
    """Upper concave hull, both coordinates rising: what a coin toss between two λ of the same router reaches."""
    usd, accuracy = upper_hull(curve.usd, curve.accuracy)
    return Curve(usd, accuracy)


def thriftiest(curve: Curve, accuracy: float) -> int:
    """Index of the highest λ whose accuracy is at least ``accuracy``; where none is, of the most accurate λ.

    Of equally accurate ones the cheapest is taken.
    """
    reached = np.flatnonzero(curve.accuracy >= accuracy - 1e-9)
    if len(reached):
        return int(reached[-1])
    return int(np.lexsort((curve.usd, -curve.accuracy))[0])
