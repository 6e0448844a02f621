"""Plays a policy over an outcome table as the gateway would, without the gateway: same contexts, same score call."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from policies.context import Context
from policies.features import estimate_tokens, lexical_features
from policies.policy import ArmFacts, Policy
from policies.tables import OutcomeTable
from policies.tradeoff import TradeOff
from training.hull import Reals
from training.replay_report import Choice

Floats = NDArray[np.float32]


def arm_facts(table: OutcomeTable) -> tuple[ArmFacts, ...]:
    """The pool's arms as a configuration would declare them."""
    return tuple(ArmFacts(arm=arm, price=price) for arm, price in zip(table.arms, table.prices, strict=True))


def contexts_of(table: OutcomeTable, embeddings: Floats) -> list[Context]:
    """One context per query, computed as the gateway computes it for a first turn."""
    return [
        Context(embedding=vector, features=lexical_features(prompt), prompt_tokens=estimate_tokens(prompt))
        for prompt, vector in zip(table.prompts, embeddings, strict=True)
    ]


def play(
    policy: Policy, contexts: Sequence[Context], table: OutcomeTable, *, trade_off: TradeOff, seed: int = 0
) -> list[Choice]:
    """Draw one arm per query from the policy's distribution and look up what came of it."""
    arms, rng = arm_facts(table), np.random.default_rng(seed)
    choices = []
    for row, context in enumerate(contexts):
        dist: Reals = policy.score(context, arms, trade_off).dist
        action = int(rng.choice(len(arms), p=dist / dist.sum()))
        choices.append(
            Choice(
                query_id=table.query_ids[row],
                arm=table.arm_names[action],
                score=float(table.scores[row, action]),
                usd=float(table.usd[row, action]),
            )
        )
    return choices
