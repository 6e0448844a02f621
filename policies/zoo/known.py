"""What is known of an arm before anything was learned: its price and speed, from the configuration."""

from collections.abc import Sequence

import numpy as np

from policies.context import Context
from policies.policy import ArmFacts
from policies.predictions import Predictions, Reals
from policies.prices import NANO, TOKENS_PER_PRICE

USD_PER_TOKEN_OF_PRICE = 1.0 / (NANO * TOKENS_PER_PRICE)


def expected_usd(arms: Sequence[ArmFacts], *, input_tokens: Reals, output_tokens: Reals) -> Reals:
    """Cost of a request of these token counts, shape (n_arms,); NaN where the arm has no price."""
    nan = float("nan")
    inputs = np.array([nan if arm.price is None else arm.price.input for arm in arms], dtype=np.float64)
    outputs = np.array([nan if arm.price is None else arm.price.output for arm in arms], dtype=np.float64)
    usd: Reals = (input_tokens * inputs + output_tokens * outputs) * USD_PER_TOKEN_OF_PRICE
    return usd


def expected_seconds(arms: Sequence[ArmFacts], *, output_tokens: Reals) -> Reals:
    """Time to the last of ``output_tokens``, shape (n_arms,)."""
    first = np.array([arm.first_token_s for arm in arms])
    seconds: Reals = first + output_tokens / np.array([arm.tokens_per_s for arm in arms])
    return seconds


def bounded_by_client(output_tokens: Reals, context: Context) -> Reals:
    """No answer is longer than the client allows."""
    return output_tokens if context.max_tokens is None else np.minimum(output_tokens, context.max_tokens)


def unlearned(context: Context, arms: Sequence[ArmFacts]) -> Predictions:
    """Cost and time from the configuration alone; quality is unknown."""
    tokens = bounded_by_client(np.array([arm.output_tokens for arm in arms], dtype=np.float64), context)
    unknown = np.full(len(arms), np.nan)
    return Predictions(
        quality=unknown,
        quality_sd=unknown.copy(),
        usd=expected_usd(arms, input_tokens=np.full(len(arms), float(context.prompt_tokens)), output_tokens=tokens),
        seconds=expected_seconds(arms, output_tokens=tokens),
    )
