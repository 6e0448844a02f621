"""Spending a budget on a stream, and what it bought: quality, money and refusals, over several orders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bench.pacing.players import Paced, ParetoPaced, Player, Unpaced
from bench.pacing.streams import KINDS, Stream, World
from policies.predictions import Reals
from policies.tradeoff import TradeOff

SHARES = (0.25, 0.5, 0.75)  # of the way from all-cheapest to unconstrained spend
OURS, STOP, CHEAPEST = "gearshift", "hard stop", "stop, then what fits"
PARETO, PARETO_TOLD, HINDSIGHT = "paretobandit", "paretobandit, told the count", "best fixed, in hindsight"
PLAYERS = (OURS, STOP, CHEAPEST, PARETO, PARETO_TOLD, HINDSIGHT)
_T95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}  # n - 1 degrees


@dataclass(frozen=True, slots=True)
class Played:
    """One player on one stream.

    Attributes:
        quality: Mean score, a refused request counts 0.
        spent: Share of the budget.
        refused: Share of the requests.
        redrawn: Share of the requests whose arm did not fit, so that another answered.
        slack: Share of the requests at the end that were unconstrained: there was more money than they could use.
    """

    quality: float
    spent: float
    refused: float
    redrawn: float
    slack: float = 0.0


def play(stream: Stream, player: Player, *, limit_usd: float) -> tuple[Played, Reals]:
    """Every request as a gateway serves it: the bound must fit what is left. Also the share spent after each."""
    spent, quality, refused, redrawn = 0.0, 0.0, 0, 0
    path = np.zeros(len(stream))
    for number in range(len(stream)):
        values = player.values(number, spent_usd=spent)
        fits = spent + stream.bound[number] <= limit_usd
        action = int(values.argmax())
        if not fits[action]:
            if player.refuses or not fits.any():
                refused += 1
                path[number] = spent / limit_usd
                continue
            action, redrawn = int(np.where(fits, values, -np.inf).argmax()), redrawn + 1
        usd = float(stream.charged[number, action])
        spent, quality = spent + usd, quality + float(stream.scores[number, action])
        player.paid(action, usd)
        path[number] = spent / limit_usd
    n = len(stream)
    return Played(quality / n, spent / limit_usd, refused / n, redrawn / n), path


def spend_at(stream: Stream, trade_off: TradeOff, multiplier: float) -> tuple[float, float]:
    """USD and mean score of the whole stream at one multiplier of λ and no budget."""
    actions = (stream.quality - trade_off.quality_per_usd * multiplier * stream.usd).argmax(axis=1)
    rows = np.arange(len(stream))
    return float(stream.charged[rows, actions].sum()), float(stream.scores[rows, actions].mean())


def budget_of(stream: Stream, trade_off: TradeOff, share: float) -> float:
    """USD, this share of the way from always the arm predicted cheapest to the policy's own trade-off."""
    cheapest = float(stream.charged[np.arange(len(stream)), stream.usd.argmin(axis=1)].sum())
    return cheapest + share * (spend_at(stream, trade_off, 1.0)[0] - cheapest)


def in_hindsight(stream: Stream, trade_off: TradeOff, *, limit_usd: float) -> Played:
    """The least multiplier of all requests alike that would have kept the budget: nobody can know it."""
    low, high = 1.0, 1e9
    while high > 1.0005 * low:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if spend_at(stream, trade_off, middle)[0] > limit_usd else (low, middle)
    usd, quality = spend_at(stream, trade_off, high)
    return Played(quality, usd / limit_usd, 0.0, 0.0)


def all_played(
    stream: Stream, trade_off: TradeOff, *, limit_usd: float, seed: int
) -> tuple[dict[str, Played], dict[str, Reals]]:
    """Every player on one stream, and the share spent after each request of those that decide in time."""
    ours = Paced(stream, trade_off, limit_usd=limit_usd, seed=seed)
    players: dict[str, Player] = {
        OURS: ours,
        STOP: Unpaced(stream, trade_off, refuses=True),
        CHEAPEST: Unpaced(stream, trade_off, refuses=False),
        PARETO: ParetoPaced(stream, trade_off, limit_usd=limit_usd, n_requests=stream.before),
        PARETO_TOLD: ParetoPaced(stream, trade_off, limit_usd=limit_usd, n_requests=len(stream)),
    }
    found, paths = {}, {}
    for name, player in players.items():
        found[name], paths[name] = play(stream, player, limit_usd=limit_usd)
    constrained = np.flatnonzero(ours.multipliers > 1.0)
    slack = 1.0 - (int(constrained[-1]) + 1) / len(stream) if len(constrained) else 1.0
    found[OURS] = Played(**(asdict(found[OURS]) | {"slack": slack}))
    found[HINDSIGHT] = in_hindsight(stream, trade_off, limit_usd=limit_usd)
    return found, paths


def tenant_of(world: World) -> TradeOff:
    """A tenant that wants quality: the dearest arm's mean cost is worth five points of it."""
    return TradeOff(quality_per_usd=0.05 / float(world.charged.mean(axis=0).max()))


def measured(
    world: World,
    *,
    n: int,
    orders: int,
    kinds: Sequence[str] = tuple(KINDS),
    shares: Sequence[float] = SHARES,
    tell: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """One entry for each stream and budget: each player's figures by order, and ours less each other's quality.

    A difference is (mean, low, high) in points, paired by order, with a 95 % interval of Student's t.
    """
    trade_off, found = tenant_of(world), []
    for kind in kinds:
        for share in shares:
            rows = []
            for seed in range(orders):
                stream = KINDS[kind](world, n, np.random.default_rng(seed))
                limit_usd = budget_of(stream, trade_off, share)
                rows.append(all_played(stream, trade_off, limit_usd=limit_usd, seed=seed)[0])
            tell(f"{kind}, {share:.0%}")
            quality = {name: np.array([100.0 * row[name].quality for row in rows]) for name in PLAYERS}
            found.append({
                "stream": kind,
                "budget": share,
                "players": {name: [asdict(row[name]) for row in rows] for name in PLAYERS},
                "ours_less": {name: _apart(quality[OURS] - quality[name]) for name in PLAYERS if name != OURS},
            })  # fmt: skip
    return found


def _apart(difference: Reals) -> tuple[float, float, float]:
    mean, n = float(difference.mean()), len(difference)
    if n < 2:
        return mean, float("nan"), float("nan")
    half = _T95[n] * float(difference.std(ddof=1)) / n**0.5
    return mean, mean - half, mean + half
