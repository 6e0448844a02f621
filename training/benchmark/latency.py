"""How long a decision takes once the embedding is there: single calls of ``policy.score``, as a gateway makes them."""

from collections.abc import Sequence
from time import perf_counter_ns

import numpy as np

from policies.context import Context
from policies.policy import ArmFacts, Policy
from policies.tradeoff import TradeOff

N_CALLS = 300
_WARM_UP = 20


def decision_us(policy: Policy, contexts: Sequence[Context], arms: Sequence[ArmFacts], trade_off: TradeOff) -> float:
    """Median time of one call in microseconds, over up to 300 of the contexts (at least one)."""
    timed = [contexts[index % len(contexts)] for index in range(N_CALLS)]
    for context in timed[:_WARM_UP]:
        policy.score(context, arms, trade_off)
    taken = []
    for context in timed:
        start = perf_counter_ns()
        policy.score(context, arms, trade_off)
        taken.append(perf_counter_ns() - start)
    return float(np.median(taken)) / 1_000.0
