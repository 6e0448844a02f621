"""Ways to spend a budget on a stream; all choose by the same predictions and know what a gateway knows, or less.

Each is asked for the arms' values of a request, is told what was charged, and of the new prices when they come.
"""

from __future__ import annotations

import logging
from typing import Any, Protocol

import numpy as np

from bench.pacing.streams import Stream
from policies.pacing import Arrivals, Pacer, paced
from policies.predictions import Predictions, Reals
from policies.spend_curve import SpendCurve
from policies.tradeoff import TradeOff


class Player(Protocol):
    """A way to spend.

    Attributes:
        refuses: It answers nobody once the budget is spent, also where a cheaper arm would fit.
    """

    refuses: bool

    def values(self, number: int, *, spent_usd: float) -> Reals:
        """Value of each arm for the stream's request of this number, shape (m,); the highest is taken."""
        ...

    def paid(self, action: int, usd: float) -> None:
        """What the last request's arm was charged."""
        ...


class Unpaced:
    """The policy at its own trade-off until the money is gone."""

    def __init__(self, stream: Stream, trade_off: TradeOff, *, refuses: bool) -> None:
        self._values = stream.quality - trade_off.quality_per_usd * stream.usd
        self.refuses = refuses

    def values(self, number: int, *, spent_usd: float) -> Reals:
        values: Reals = self._values[number]
        return values

    def paid(self, action: int, usd: float) -> None:
        """Whatever it costs."""


class Paced:
    """Ours: knows the clock, what is spent, how many requests came, and the traffic of earlier windows."""

    refuses = False

    def __init__(self, stream: Stream, trade_off: TradeOff, *, limit_usd: float, seed: int, every: int = 4) -> None:
        """`every` how many requests it looks anew."""
        self._stream, self._trade_off, self._every = stream, trade_off, every
        self._curve = SpendCurve()
        self._pacer = Pacer(self._curve, Arrivals(stream.shape, before=stream.before), limit_usd=limit_usd)
        self._rng = np.random.default_rng(seed)
        self._last: tuple[Predictions, TradeOff]
        self.multipliers = np.ones(len(stream))

    def values(self, number: int, *, spent_usd: float) -> Reals:
        stream = self._stream
        if number == stream.cut_at:
            self._curve.forget()  # a gateway with other prices begins its sample anew
        if number % self._every == 0:
            self._pacer.look(spent_usd=spent_usd, elapsed=float(stream.at[number]), requests=number)
        multiplier = self._pacer.pace.multiplier(self._rng.random())
        self.multipliers[number] = multiplier
        quality, usd = stream.quality[number], stream.usd[number]
        self._last = Predictions(quality, quality, usd, usd), paced(self._trade_off, multiplier)
        self._curve.add(*self._last, multiplier=multiplier)
        values: Reals = quality - self._trade_off.quality_per_usd * multiplier * usd
        return values

    def paid(self, action: int, usd: float) -> None:
        self._curve.charged(*self._last, usd)


class ParetoPaced:
    """`pareto_bandit`'s pacer as its router applies it: a soft penalty on log prices and a hard ceiling above them.

    Its settings are the package's. It wants the mean cost to aim at, so it is told a number of requests.
    """

    refuses = False

    def __init__(self, stream: Stream, trade_off: TradeOff, *, limit_usd: float, n_requests: float) -> None:
        """Raises ImportError: paretobandit is not installed; it is in the extra ``rivals``."""
        from pareto_bandit.budget_pacer import BudgetPacer
        from pareto_bandit.costs import log_normalize_cost
        from pareto_bandit.types import RouterConfig

        logging.getLogger("pareto_bandit").setLevel(logging.ERROR)
        anchors = RouterConfig()
        self._pacer: Any = BudgetPacer(limit_usd / n_requests)
        self._values = stream.quality - trade_off.quality_per_usd * stream.usd
        self._cut_at = len(stream) if stream.cut_at is None else stream.cut_at
        self._per_k = [prices / 1000.0 for prices in stream.per_mtok]
        self._normal = [
            np.array([
                log_normalize_cost(float(price), anchors.market_cost_floor, anchors.market_cost_ceiling)
                for price in prices
            ])
            for prices in self._per_k
        ]  # fmt: skip

    def values(self, number: int, *, spent_usd: float) -> Reals:
        now = int(number >= self._cut_at)
        values: Reals = self._values[number] - self._pacer.lambda_t * self._normal[now]
        ceiling = self._pacer.get_cost_ceiling_per_1k(float(self._per_k[now].max()))
        if ceiling is not None and (self._per_k[now] <= ceiling).any():
            values = np.where(self._per_k[now] <= ceiling, values, -np.inf)
        return values

    def paid(self, action: int, usd: float) -> None:
        self._pacer.observe(usd)
