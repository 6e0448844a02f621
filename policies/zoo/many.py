"""What a learned policy says of many queries of the same eligible arms at once: the same as one by one, far quicker."""

from collections.abc import Sequence

import numpy as np

from policies.policy import ArmFacts
from policies.predictions import Reals
from policies.zoo.basis import Floats
from policies.zoo.known import bounded_by_clients
from policies.zoo.predictive import PredictivePolicy

_BATCH = 8192  # queries expected of at once: their features are a few hundred numbers each


def scores_many(
    policy: PredictivePolicy,
    embeddings: Floats,
    lexical: Floats,
    prompt_tokens: Reals,
    *,
    max_tokens: Reals,
    arms: Sequence[ArmFacts],
    trade_offs: Reals,
) -> Reals | None:
    """Distributions over ``arms`` as ``policy.score`` gives them, shape (n, n_arms).

    None where a query's answer depends on more than these sums: an arm that was not trained, a quality floor.

    Args:
        embeddings / lexical / prompt_tokens: Shapes (n, dim), (n, n_features) and (n,).
        max_tokens: The clients' bounds of the answers, infinite for none, shape (n,).
        trade_offs: λ, μ, quality floor and cap in USD (infinite for none) of each query, shape (n, 4).
    """
    choice = policy.columns.of(arms)
    if (trade_offs[:, 2] > 0.0).any() or choice.strangers is not None:
        return None
    parts = []
    for start in range(0, len(embeddings), _BATCH):
        rows = slice(start, start + _BATCH)
        expected = policy.expect(embeddings[rows], lexical[rows])
        tokens = bounded_by_clients(expected.output_tokens[:, choice.columns], max_tokens[rows])
        usd = prompt_tokens[rows, None] * choice.usd_per_prompt_token + tokens * choice.usd_per_output_token
        if choice.unpriced is not None:
            usd = np.where(choice.unpriced, expected.usd[:, choice.columns], usd)
        seconds = choice.first_token_s + tokens * choice.s_per_token
        values = _utility(expected.quality[:, choice.columns], usd, seconds, trade_offs[rows])
        best = values == values.max(axis=1, keepdims=True)
        parts.append(best / best.sum(axis=1, keepdims=True))
    found: Reals = np.concatenate(parts) if parts else np.zeros((0, len(arms)))
    return found


def _utility(quality: Reals, usd: Reals, seconds: Reals, trade_offs: Reals) -> Reals:
    """As ``choose.most_useful`` has it of one query: what is unknown attracts nobody, nor does what is above a cap."""
    per_usd, per_s, _, max_usd = (column[:, None] for column in trade_offs.T)
    usd, seconds = _pessimistic(usd), _pessimistic(seconds)
    values: Reals = quality - (per_usd * usd + per_s * seconds)
    affordable = usd <= max_usd
    return np.where(affordable | ~affordable.any(axis=1, keepdims=True), values, -np.inf)


def _pessimistic(values: Reals) -> Reals:
    """What is unknown as large as the largest known of its row, or 0 where all are unknown."""
    unknown = np.isnan(values)
    if not unknown.any():
        return values
    largest = np.where(unknown, 0.0, values).max(axis=1, keepdims=True)  # neither USD nor seconds are negative
    return np.where(unknown, largest, values)
