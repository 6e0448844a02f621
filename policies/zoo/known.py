"""What is known of an arm before anything was learned: its price and speed, from the configuration."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from policies.context import Context
from policies.policy import ArmFacts
from policies.predictions import Predictions, Reals
from policies.prices import NANO, TOKENS_PER_PRICE, expected_output_price

USD_PER_TOKEN_OF_PRICE = 1.0 / (NANO * TOKENS_PER_PRICE)


@dataclass(frozen=True, slots=True)
class Declared:
    """What the configuration says of some arms, each array of shape (n_arms,).

    Attributes:
        usd_per_input_token / usd_per_output_token: NaN where the arm has no price; GPU time counts to the output.
        output_tokens: Of an answer about which nothing was learned.
    """

    usd_per_input_token: Reals
    usd_per_output_token: Reals
    output_tokens: Reals
    first_token_s: Reals
    s_per_token: Reals

    def usd(self, input_tokens: Reals | float, output_tokens: Reals) -> Reals:
        """Cost of a request of these token counts, shape (n_arms,); NaN where the arm has no price."""
        return input_tokens * self.usd_per_input_token + output_tokens * self.usd_per_output_token

    def seconds(self, output_tokens: Reals) -> Reals:
        """Time to the last of ``output_tokens``, shape (n_arms,)."""
        return self.first_token_s + output_tokens * self.s_per_token


def declared(arms: Sequence[ArmFacts]) -> Declared:
    """The arms' facts as arrays, in their order."""
    nan = float("nan")
    inputs = [nan if arm.price is None else float(arm.price.input) for arm in arms]
    outputs = [
        nan if arm.price is None else expected_output_price(arm.price, tokens_per_s=arm.tokens_per_s) for arm in arms
    ]
    return Declared(
        usd_per_input_token=np.array(inputs) * USD_PER_TOKEN_OF_PRICE,
        usd_per_output_token=np.array(outputs) * USD_PER_TOKEN_OF_PRICE,
        output_tokens=np.array([float(arm.output_tokens) for arm in arms]),
        first_token_s=np.array([arm.first_token_s for arm in arms]),
        s_per_token=1.0 / np.array([arm.tokens_per_s for arm in arms]),
    )


def bounded_by_client(output_tokens: Reals, context: Context) -> Reals:
    """No answer is longer than the client allows."""
    return output_tokens if context.max_tokens is None else np.minimum(output_tokens, context.max_tokens)


def bounded_by_clients(output_tokens: Reals, max_tokens: Reals) -> Reals:
    """Likewise for many queries: ``output_tokens`` (n, n_arms), ``max_tokens`` (n,), infinite where none was set."""
    return np.minimum(output_tokens, max_tokens[:, None])


def unlearned(context: Context, arms: Sequence[ArmFacts]) -> Predictions:
    """Cost and time from the configuration alone; quality is unknown."""
    facts, unknown = declared(arms), np.full(len(arms), np.nan)
    tokens = bounded_by_client(facts.output_tokens, context)
    return Predictions(
        quality=unknown,
        quality_sd=unknown.copy(),
        usd=facts.usd(float(context.prompt_tokens), tokens),
        seconds=facts.seconds(tokens),
    )
