"""What a budget's requests cost at each multiplier of λ, and the multiplier at which they cost what they may."""

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from policies.predictions import Predictions, Reals
from policies.tradeoff import TradeOff
from policies.zoo.choose import pessimistic

MOST = 1e9  # a multiplier beyond which nothing gets cheaper
_CLOSE = 1.01  # a multiplier is found to 1 %


@dataclass(frozen=True, slots=True)
class Pace:
    """The multiplier of λ in force: `low` for a share of the requests, `high` for the others.

    Two, because many requests change their arm at the same multiplier: where one side of it spends too much and the
    other too little, only a mixture spends what there is.
    """

    low: float = 1.0
    high: float = 1.0
    share_low: float = 0.0

    def multiplier(self, draw: float) -> float:
        """Of one request; `draw` is uniform in 0..1 and independent of the request."""
        return self.low if draw < self.share_low else self.high

    @property
    def mean(self) -> float:
        """The geometric mean, for people."""
        return math.exp(self.share_low * math.log(self.low) + (1.0 - self.share_low) * math.log(self.high))


UNPACED = Pace()


class SpendCurve:
    """What recent requests would have cost at each multiplier of their λ: the newest `size`, the oldest forgotten.

    What is told costs its teller nothing: it is looked at when something is asked, by who has the time.
    """

    def __init__(self, size: int = 256) -> None:
        self._told: deque[tuple[Predictions, TradeOff, float]] = deque(maxlen=size)
        self._bills: deque[tuple[Predictions, TradeOff, float]] = deque(maxlen=size)
        self._worth = np.full((size, 1), -np.inf)  # quality and seconds in quality; −inf: no such arm
        self._price = np.zeros((size, 1))  # λ · USD, in quality
        self._usd = np.zeros((size, 1))
        self._next, self._rows = 0, 0
        self._expected = self._charged = 0.0
        self._decay = 1.0 - 1.0 / size

    def __len__(self) -> int:
        self._take_in()
        return self._rows

    def add(self, predictions: Predictions, trade_off: TradeOff, *, multiplier: float = 1.0) -> None:
        """A request that was decided: what is predicted of its eligible arms, and the trade-off it was decided by.

        Where nothing is known of quality it is taken to cost what its first arm does, at every multiplier; a request
        of which no cost is known is passed over.

        Args:
            multiplier: By which the trade-off's λ had been raised.
        """
        self._told.append((predictions, trade_off, multiplier))

    def charged(self, predictions: Predictions, trade_off: TradeOff, usd: float) -> None:
        """What a request cost that was decided by this trade-off: later expectations are corrected by it.

        So exploring, other arms than those drawn, and answers longer than predicted are all counted on. One of which
        no cost was known beforehand (its arm was named, or kept for a tool's result) costs that at any multiplier.
        """
        self._bills.append((predictions, trade_off, usd))

    def forget(self) -> None:
        """The next requests are unlike those before: other prices or arms."""
        self._told.clear()
        self._bills.clear()
        self._rows = self._next = 0
        self._expected = self._charged = 0.0

    def usd(self, multiplier: float) -> float:
        """Mean cost of a request at this multiplier, corrected; NaN without a request."""
        self._take_in()
        return self._mean_usd(multiplier)

    def pace(self, usd: float, *, near: float = 1.0) -> Pace:
        """The least multipliers at which a request costs `usd` on average; `near`: where to look first."""
        self._take_in()
        if not self._rows or self._mean_usd(1.0) <= usd:
            return UNPACED
        low, high = 1.0, MOST
        if self._mean_usd(high) > usd:
            return Pace(MOST, MOST)
        for guess in (near / 1.5, near * 1.5):
            if low < guess < high:
                low, high = (guess, high) if self._mean_usd(guess) > usd else (low, guess)
        while high > _CLOSE * low:
            middle = math.sqrt(low * high)
            low, high = (middle, high) if self._mean_usd(middle) > usd else (low, middle)
        dear, cheap = self._mean_usd(low), self._mean_usd(high)
        return Pace(low, high, (usd - cheap) / (dear - cheap))

    def _mean_usd(self, multiplier: float) -> float:
        if not self._rows:
            return math.nan
        worth, price = self._worth[: self._rows], self._price[: self._rows]
        taken = (worth - multiplier * price).argmax(axis=1)
        return self._correction() * float(self._usd[np.arange(self._rows), taken].mean())

    def _correction(self) -> float:
        """Charged over expected; the mean expectation counts 16 times as if it had been right."""
        if not self._expected:
            return 1.0
        prior = 16.0 * self._expected / len(self._usd)
        return (self._charged + prior) / (self._expected + prior)

    def _take_in(self) -> None:
        while self._told:
            predictions, trade_off, multiplier = self._told.popleft()
            row = _row(predictions, trade_off)
            if row is not None:
                worth, price, usd = row
                self._put(worth, price / multiplier, usd)
        while self._bills:
            predictions, trade_off, charged = self._bills.popleft()
            row = _row(predictions, trade_off)
            if row is None:
                self._put(np.zeros(1), np.zeros(1), np.array([charged]))
            else:
                worth, price, usd = row
                self._expected = self._expected * self._decay + float(usd[(worth - price).argmax()])
                self._charged = self._charged * self._decay + charged

    def _put(self, worth: Reals, price: Reals, usd: Reals) -> None:
        width, n = self._usd.shape[1], len(usd)
        if n > width:
            grow = ((0, 0), (0, n - width))
            self._worth = np.pad(self._worth, grow, constant_values=-np.inf)
            self._price, self._usd = np.pad(self._price, grow), np.pad(self._usd, grow)
        at = self._next
        self._worth[at, :n], self._price[at, :n], self._usd[at, :n] = worth, price, usd
        self._worth[at, n:], self._price[at, n:] = -np.inf, 0.0
        self._next = (at + 1) % len(self._usd)
        self._rows = min(self._rows + 1, len(self._usd))


def _row(predictions: Predictions, trade_off: TradeOff) -> tuple[Reals, Reals, Reals] | None:
    """Worth, price and USD of each arm; None where no cost is known."""
    if np.isnan(predictions.usd).all():
        return None
    usd = pessimistic(predictions.usd)
    if np.isnan(predictions.quality).any():
        return np.zeros(1), np.zeros(1), usd[:1]
    worth = predictions.quality
    if trade_off.quality_per_s:
        worth = worth - trade_off.quality_per_s * pessimistic(predictions.seconds)
    affordable = usd <= trade_off.max_usd
    if affordable.any():
        worth = np.where(affordable, worth, -np.inf)
    return worth, trade_off.quality_per_usd * usd, usd
