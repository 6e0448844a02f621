"""What a learned policy says of many queries of the same eligible arms at once: the same as one by one, far quicker."""

from collections.abc import Sequence

import numpy as np

from policies.policy import ArmFacts
from policies.predictions import Predictions, Reals
from policies.tradeoff import TradeOff, utility
from policies.zoo.basis import Floats
from policies.zoo.predictive import PredictivePolicy

_BATCH = 8192  # queries expected of at once: their features are a few hundred numbers each


def scores_many(
    policy: PredictivePolicy,
    embeddings: Floats,
    lexical: Floats,
    prompt_tokens: Reals,
    *,
    arms: Sequence[ArmFacts],
    trade_off: TradeOff,
) -> Reals | None:
    """Distributions over ``arms`` as ``policy.score`` gives them, shape (n, n_arms).

    None where a query's answer depends on more than these sums: an arm that was not trained, a price or a time that is
    not known, a cap in USD, a quality floor.

    Args:
        embeddings / lexical / prompt_tokens: Shapes (n, dim), (n, n_features) and (n,).
    """
    choice = policy.columns.of(arms)
    special = trade_off.max_usd < np.inf or trade_off.quality_floor > 0.0
    if special or choice.strangers is not None or choice.unpriced is not None:
        return None
    parts = []
    for start in range(0, len(embeddings), _BATCH):
        rows = slice(start, start + _BATCH)
        expected = policy.expect(embeddings[rows], lexical[rows])
        tokens = expected.output_tokens[:, choice.columns]
        usd = prompt_tokens[rows, None] * choice.usd_per_prompt_token + tokens * choice.usd_per_output_token
        quality = expected.quality[:, choice.columns]
        seconds = choice.first_token_s + tokens * choice.s_per_token
        values = utility(Predictions(quality, quality, usd, seconds), trade_off)
        if np.isnan(values).any():
            return None
        best = values == values.max(axis=1, keepdims=True)
        parts.append(best / best.sum(axis=1, keepdims=True))
    found: Reals = np.concatenate(parts) if parts else np.zeros((0, len(arms)))
    return found
