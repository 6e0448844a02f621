"""Pacing: the multiplier of λ at which a budget lasts its window, with quality as high as it can be.

Spending a budget over requests that come one by one is an online knapsack; its dual variable is the price of a dollar.
Here it is a multiplier of the tenant's own λ, never below 1, found anew at each look: a sample of recent requests, with
what was predicted of their arms, says what a request costs on average at any multiplier, and the multiplier is the one
at which the requests still to come cost what is left. So a price that changes, or money that was not spent, is
answered at once, where a step along the gradient has to be repeated until it fits.

Source: Li and Ye, "Online Linear Programming: Dual Convergence, New Algorithms, and Regret Bounds", Operations Research
2022, the action-history-dependent algorithm; its step-by-step rival: Balseiro, Lu and Mirrokni, "The Best of Many
Worlds: Dual Mirror Descent for Online Allocation Problems", Operations Research 2023. We depart from both in that the
number of requests is unknown and forecast (`Arrivals`), that costs are predictions, corrected by what was charged
(`SpendCurve.charged`), and that money is spent a little ahead of the traffic towards the end (`ahead`).
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from policies.predictions import Reals
from policies.spend_curve import UNPACED, Pace, SpendCurve
from policies.tradeoff import TradeOff

FLAT = (1.0,)
LEAST_ROWS = 8  # requests without which nothing is said of the next


class Arrivals:
    """How many more requests a window will bring, by their recent rate over the traffic's usual shape.

    Args:
        shape: Share of a window's traffic that usually comes in each of its equal parts; they need not sum to 1.
        before: Requests of a usual earlier window; 0: there was none.
        memory: Share of a window's traffic over which the rate forgets.
    """

    def __init__(self, shape: Sequence[float] | Reals = FLAT, *, before: float = 0.0, memory: float = 0.2) -> None:
        parts = np.asarray(shape, dtype=np.float64)
        usual = parts / parts.sum() if parts.sum() > 0 else np.full(len(parts), 1.0 / len(parts))
        parts = 0.98 * usual + 0.02 / len(parts)  # a part that was always empty may not be so today
        self._edges = np.linspace(0.0, 1.0, len(parts) + 1)
        self._come = np.concatenate([[0.0], parts.cumsum()])
        self._memory = memory
        self._seen, self._over = before * memory, memory if before > 0 else 0.0
        # Without an earlier window the first requests would foretell a flood: they are taken to be early.
        self._doubt = 0.0 if before > 0 else 0.02
        self._at, self._requests = 0.0, 0

    def come(self, elapsed: float) -> float:
        """Share of the window's traffic that usually has come when this share of its time is over."""
        return float(np.interp(elapsed, self._edges, self._come))

    def remaining(self, *, elapsed: float, requests: int) -> float:
        """Requests still to come, at least 1; the caller goes forward in time.

        Args:
            elapsed: Share of the window's time that is over, 0..1.
            requests: Begun in it so far.
        """
        at = max(self.come(elapsed), self._at)
        step, new = at - self._at, max(requests - self._requests, 0)
        kept = math.exp(-step / self._memory)
        span = self._memory * (1.0 - kept)
        self._seen = self._seen * kept + (new * span / step if step > 0 else new)
        self._over = self._over * kept + span
        self._at, self._requests = at, max(requests, self._requests)
        return max(self._seen / max(self._over + self._doubt, 1e-9) * (1.0 - at), 1.0)

    @property
    def at(self) -> float:
        """Share of the traffic that had come at the last look."""
        return self._at


class Pacer:
    """The pace of one window.

    Args:
        curve: Of the traffic that spends from it.
        limit_usd: What may be spent in the window.
        guard: Share of the limit that is left to the last requests, where a forecast is worth nothing.
        ahead: By how much fewer requests are counted on at the window's end, rising from none at its start: those that
            do not come leave money over, those that come unexpected can be answered cheaply.
        pace: To go on from until enough was seen.
    """

    def __init__(
        self, curve: SpendCurve, arrivals: Arrivals, *, limit_usd: float, guard: float = 0.003, ahead: float = 0.25,
        pace: Pace = UNPACED,
    ) -> None:  # fmt: skip
        self._curve, self._arrivals = curve, arrivals
        self._limit_usd, self._guard, self._ahead = limit_usd, guard, ahead
        self.pace = pace

    def look(self, *, spent_usd: float, elapsed: float, requests: int, pending_usd: float = 0.0) -> Pace:
        """Find the pace from how the window stands.

        Args:
            elapsed: Share of the window's time that is over, 0..1.
            requests: Begun in it so far.
            pending_usd: What those under way are expected to cost.
        """
        coming = self._arrivals.remaining(elapsed=elapsed, requests=requests)
        if len(self._curve) >= LEAST_ROWS:
            coming = max(coming * (1.0 - self._ahead * self._arrivals.at), 1.0)
            left_usd = self._limit_usd * (1.0 - self._guard) - spent_usd - pending_usd
            self.pace = self._curve.pace(left_usd / coming, near=self.pace.high)
        return self.pace


def paced(trade_off: TradeOff, multiplier: float) -> TradeOff:
    """The trade-off with its λ raised; a multiplier below 1 would loosen it.

    Raises:
        ValueError: It is below 1.
    """
    if multiplier < 1.0:
        raise ValueError(f"a pace may only tighten: expected a multiplier of at least 1, got {multiplier:g}")
    if multiplier == 1.0:
        return trade_off
    return replace(trade_off, quality_per_usd=trade_off.quality_per_usd * multiplier)
