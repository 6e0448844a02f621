"""One worker's part in making budgets last: it samples its own traffic, and finds the pace from the shared sums.

Money and requests are counted in the store for all gateways together; what a request costs at which multiplier is
learned from this worker's own. Nothing is asked of the store on a request's path. A pace is found from what was read
and stays until something newer is: a worker that hears nothing neither loosens nor tightens.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from numpy.random import Generator

from policies.pacing import LEAST_ROWS, Arrivals, Pacer
from policies.prices import NANO
from policies.spend_curve import UNPACED, Pace, SpendCurve
from router.config.budgets import all_windows
from router.config.schema import Config
from router.store.balances import AT_ONCE, Balance, Owned
from router.store.ledger import Per
from router.store.window_parts import note, part_of, usual_traffic
from router.tenants import Caller

if TYPE_CHECKING:
    from router.exchange import Exchange
    from router.store.valkey import ValkeyStore

Account = tuple[str, str]  # organisation, and whose money among its keys
Place = tuple[str, str, Per]  # and of which of its windows: a budget that is changed is at the same one
_FORGET = 1.0 - 1.0 / 256.0


@dataclass(slots=True)
class Traffic:
    """What this worker knows of the requests that one account pays for.

    Attributes:
        begun: Requests, since this worker began.
        charged / bound: Of requests that ended, discounted: what they cost, and what had been reserved.
    """

    curve: SpendCurve = field(default_factory=SpendCurve)
    begun: int = 0
    charged: float = 1.0  # as if four dollars had been reserved for a dollar, until requests say more
    bound: float = 4.0

    @property
    def cost_per_bound(self) -> float:
        """What a reservation is expected to come to, as a share of it."""
        return self.charged / self.bound


@dataclass(slots=True)
class Paced:
    """A paced budget and the window that its pacer is of.

    Attributes:
        noted: How many of its account's requests the store knows of.
    """

    label: str
    limit: int
    pacer: Pacer
    noted: int = 0


@dataclass(frozen=True, slots=True)
class Lane:
    """What a tenant's requests meet: the budgets that pace them, and the accounts that pay."""

    paced: tuple[Paced, ...]
    traffic: tuple[Traffic, ...]


class Pacing:
    """The paces of a worker's tenants."""

    def __init__(self) -> None:
        self._traffic: dict[Account, Traffic] = {}
        self._paced: dict[Place, Paced] = {}
        self._lanes: dict[tuple[str, str], Lane] = {}  # by organisation and tenant; made anew after each look
        self._noted: dict[Owned, tuple[object, ...]] = {}
        self._config: Config | None = None
        self._budgets: tuple[Config | None, list[Owned]] = (None, [])

    def budgets(self, config: Config) -> list[Owned]:
        """Every budget of a configuration; found once, for there may be thousands."""
        if self._budgets[0] is not config:
            self._budgets = config, all_windows(config)
        return self._budgets[1]

    def multiplier(self, caller: Caller, rng: Generator) -> float:
        """By which the λ of this request is raised: the strictest of the budgets that pace it; 1 without any."""
        if not caller.paced:
            return 1.0
        paces = [paced.pacer.pace for paced in self._lane(caller).paced]
        draw = rng.random() if any(pace.share_low for pace in paces) else 0.0
        return max((pace.multiplier(draw) for pace in paces), default=1.0)

    def decided(self, exchange: "Exchange") -> None:
        """A request began: it counts, and what was predicted of it tells what others will cost."""
        caller, ask = exchange.caller, exchange.ask
        if not caller.paced:
            return
        predictions = exchange.ruling.decision.scores.predictions
        for traffic in self._lane(caller).traffic:
            traffic.begun += 1
            traffic.curve.add(predictions, ask.trade_off, multiplier=ask.multiplier)

    def ended(self, exchange: "Exchange") -> None:
        """A request ended: predictions are corrected by its bill."""
        hold = exchange.hold
        if not exchange.caller.paced or hold is None:
            return
        nano = exchange.nano_usd
        if nano is None:
            return
        predictions, usd, bound = exchange.ruling.decision.scores.predictions, nano / NANO, hold.bound / NANO
        for traffic in self._lane(exchange.caller).traffic:
            traffic.curve.charged(predictions, exchange.ask.trade_off, usd)
            traffic.charged = traffic.charged * _FORGET + usd
            traffic.bound = traffic.bound * _FORGET + bound

    def _lane(self, caller: Caller) -> "Lane":
        key = caller.organisation, caller.tenant
        lane = self._lanes.get(key)
        if lane is None:
            organisation, windows = caller.organisation, caller.paced
            known = (self._paced.get((organisation, window.account, window.per)) for window in windows)
            accounts = dict.fromkeys(window.account for window in windows)
            lane = self._lanes[key] = Lane(
                tuple(paced for paced in known if paced is not None),
                tuple(self._of(organisation, account) for account in accounts),
            )
        return lane

    async def look(
        self, store: "ValkeyStore", owned: Sequence[Owned], standing: Sequence[Balance], *, config: Config
    ) -> Mapping[Owned, float]:
        """Find every pace anew from how the windows stand, and note in the store what this worker saw.

        Args:
            standing: Of each budget of `owned`.
            config: Where it has other models or policies, what was predicted before says nothing any more.

        Returns:
            The mean multiplier of each paced budget.

        Raises:
            StoreUnavailable: It is down; the paces stay as they are.
        """
        earlier, self._config = self._config, config
        if earlier is not None and earlier is not config:
            places = {(organisation, window.account, window.per) for organisation, window in owned if window.paced}
            self._paced = {place: paced for place, paced in self._paced.items() if place in places}
            if (earlier.models, earlier.modes, earlier.policy) != (config.models, config.modes, config.policy):
                for traffic in self._traffic.values():
                    traffic.curve.forget()
        found = {}
        for number, (key, balance) in enumerate(zip(owned, standing, strict=True)):
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
            pace = None
            if balance.window.paced:
                pace = found[key] = await self._paced_now(store, key, balance)
                await asyncio.sleep(0)  # requests go first: each is found by a sum of its own
            await self._note(store, key, balance, pace=pace)
        self._lanes.clear()
        return found

    async def _paced_now(self, store: "ValkeyStore", key: Owned, balance: Balance) -> float:
        traffic, paced = self._of(key[0], key[1].account), await self._current(store, key, balance)
        if len(traffic.curve) < LEAST_ROWS and balance.pace is not None:
            paced.pacer.pace = Pace(balance.pace, balance.pace)  # what others found, who saw more
        return paced.pacer.look(
            spent_usd=balance.spent / NANO,
            elapsed=balance.elapsed,
            requests=balance.requests + traffic.begun - paced.noted,
            pending_usd=balance.reserved / NANO * traffic.cost_per_bound,
        ).mean

    async def _note(self, store: "ValkeyStore", key: Owned, balance: Balance, *, pace: float | None) -> None:
        """Only what is new, and only of a window of which something was asked."""
        organisation, window = key
        traffic = self._of(organisation, window.account)
        paced = self._paced.get((organisation, window.account, window.per)) if window.paced else None
        if len(traffic.curve) < LEAST_ROWS:
            pace = None
        begun = traffic.begun
        fresh = begun - paced.noted if paced is not None else 0
        news = (balance.label, part_of(balance), balance.spent, pace)
        if balance.exists and (fresh or news != self._noted.get(key)):
            await note(store, key[0], balance, requests=fresh, pace=pace)
            self._noted[key] = news
            if paced is not None:
                paced.noted = begun

    async def _current(self, store: "ValkeyStore", key: Owned, balance: Balance) -> Paced:
        """That of the current window. A new one goes on at the last one's pace."""
        organisation, window = key
        place = (organisation, window.account, window.per)
        paced = self._paced.get(place)
        if paced is None or (paced.label, paced.limit) != (balance.label, window.limit):
            shape, before = await usual_traffic(store, organisation, window, balance.at)
            pacer = Pacer(
                self._of(organisation, window.account).curve,
                Arrivals(shape, before=before),
                limit_usd=window.limit / NANO,
                pace=UNPACED if paced is None else paced.pacer.pace,
            )
            noted = self._noted_of(place) if paced is None else paced.noted
            paced = self._paced[place] = Paced(balance.label, window.limit, pacer, noted)
        return paced

    def _noted_of(self, place: Place) -> int:
        """Of a budget that is paced from now on: what came before, under another of its account's, is not its own."""
        others = (each.noted for key, each in self._paced.items() if key[:2] == place[:2])
        return max(others, default=0)

    def _of(self, organisation: str, account: str) -> Traffic:
        return self._traffic.setdefault((organisation, account), Traffic())
