"""Prices and costs as integers, so that sums are exact and no rounding error grows with traffic."""

from dataclasses import dataclass

NANO = 1_000_000_000
TOKENS_PER_PRICE = 1_000_000


class UnknownPrice(LookupError):
    """A cost was asked for tokens that have no price. Unknown is an error, never zero."""


@dataclass(frozen=True, slots=True)
class Price:
    """Nano-USD per million tokens, by kind of token.

    ``cached_input`` is the price of prompt tokens read from the provider's cache, ``cache_write`` of those written
    (both default to the input price); ``reasoning`` of hidden reasoning tokens (defaults to the output price).
    """

    input: int
    output: int
    cached_input: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one attempt by kind; ``input`` counts every prompt token and ``output`` every completion token.

    ``cached_input`` and ``cache_write`` are parts of ``input``; ``reasoning`` is a part of ``output`` (as with OpenAI).
    """

    input: int = 0
    output: int = 0
    cached_input: int = 0
    cache_write: int = 0
    reasoning: int = 0


def nano_usd_per_mtok(usd_per_mtok: float) -> int:
    """The integer price of a price written in USD per million tokens, e.g. 0.15 -> 150_000_000."""
    return round(usd_per_mtok * NANO)


def cost_nano_usd(usage: Usage, price: Price | None) -> int:
    """Cost of one attempt: ceil(Σ tokens · price / 10⁶) nano-USD, rounded once.

    Raises:
        UnknownPrice: ``price`` is None.
    """
    if price is None:
        raise UnknownPrice("the model has no price; set models.<name>.price, or mark it free: {input: 0, output: 0}")
    cached, written, reasoning = usage.cached_input, usage.cache_write, usage.reasoning
    total = (
        (usage.input - cached - written) * price.input
        + cached * (price.input if price.cached_input is None else price.cached_input)
        + written * (price.input if price.cache_write is None else price.cache_write)
        + (usage.output - reasoning) * price.output
        + reasoning * (price.output if price.reasoning is None else price.reasoning)
    )
    return -(-total // TOKENS_PER_PRICE)
