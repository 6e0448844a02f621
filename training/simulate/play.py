"""Plays a stream: the player sees a request, ``decide`` draws, the truth is written down, and feedback comes later."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from policies.decide import decide
from policies.online.alarm import Alarm
from policies.predictions import Reals
from policies.tradeoff import TradeOff
from policies.zoo.default import DefaultPolicy
from training.simulate.players import Feedback, Player
from training.simulate.stream import Stream

FULL = "full information"  # the comparator that hears every arm
_TELL_EVERY = 100
Tell = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a stream, each (n,).

    Attributes:
        columns: Of the arms that were drawn.
        propensities: With which they were.
        rewards: True score − λ · USD, whatever the feedback said.
    """

    name: str
    columns: NDArray[np.int64]
    propensities: Reals
    rewards: Reals
    alarms: Sequence[Alarm] = ()


def play(player: Player, stream: Stream, *, seed: int, explore: float = 0.0, tell: Tell = lambda n: None) -> Played:
    """One pass over the stream.

    Args:
        explore: The floor of ``decide``.
        tell: Hears how many more requests are done.
    """
    n, rng, pending = len(stream), np.random.default_rng([seed, 2]), deque[Feedback]()
    trade_off, rewards = TradeOff(stream.quality_per_usd), stream.rewards
    columns, propensities = np.zeros(n, np.int64), np.zeros(n)
    for at in range(n):
        while pending and pending[0].at + stream.scenario.delay < at:
            player.hear(pending.popleft())
        seen = stream.round(at)
        decision = decide(
            player.policy(seen.tenant), seen.context, seen.arms, trade_off=trade_off, rng=rng, explore=explore
        )
        column = int(seen.columns[decision.action])
        columns[at], propensities[at] = column, decision.propensity
        player.pay(decision, int(stream.nano_usd[at, column]))
        told = float(stream.told[at, column])
        if not np.isnan(told):
            pending.append(Feedback(at, column, told, float(stream.usd[at, column])))
        if at % _TELL_EVERY == _TELL_EVERY - 1:
            tell(_TELL_EVERY)
    return Played(player.name, columns, propensities, rewards[np.arange(n), columns], tuple(player.alarms))


def play_full_information(policy: DefaultPolicy, stream: Stream) -> Played:
    """The default policy if every arm's true score came after every request: how much bandit feedback costs.

    It takes the highest utility, and is told at once when an arm changes: that arm's evidence starts anew.
    """
    recall = policy.recall(stream.inputs.embeddings, stream.inputs.lexical)
    trade_off, n = TradeOff(stream.quality_per_usd), len(stream)
    known, columns = policy.offsets, np.zeros(n, np.int64)
    offsets = replace(known, sums=known.sums.copy(), counts=known.counts.copy(), doubt_sd=known.doubt_sd.copy())
    for at in range(n):
        if at == stream.changed_at:
            for part in (offsets.sums, offsets.counts):
                part[0, stream.changed] = 0.0
            offsets.doubt_sd[stream.changed] = 0.3
        seen, serving = stream.round(at), policy.with_offsets(offsets)
        dist = serving.score(seen.context, seen.arms, trade_off).dist
        columns[at] = seen.columns[int(dist.argmax())]
        open_to = stream.eligible[at]
        offsets.sums[0, open_to, recall.cells[at]] += (stream.scores[at] - recall.quality[at])[open_to]
        offsets.counts[0, open_to, recall.cells[at]] += 1.0
    return Played(FULL, columns, np.ones(n), stream.rewards[np.arange(n), columns])
