"""Prices and costs as integers, so that sums are exact and no rounding error grows with traffic."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

NANO = 1_000_000_000
TOKENS_PER_PRICE = 1_000_000


class UnknownPrice(LookupError):
    """A cost was asked for tokens that have no price. Unknown is an error, never zero."""


@dataclass(frozen=True, slots=True)
class Price:
    """Nano-USD per million tokens, by kind of token; and per second of a GPU, for hardware that is paid by time.

    ``cached_input`` is the price of prompt tokens read from the provider's cache, ``cache_write`` of those written;
    ``cache_write_1h`` of those written for an hour, where that is dearer (defaults to ``cache_write``). ``audio_input``
    and ``audio_output`` are those of tokens of sound, ``reasoning`` of hidden reasoning tokens. What is None costs as
    the whole it is a part of. ``gpu_second`` is nano-USD per second of an attempt, beside the tokens' price.
    """

    input: int
    output: int
    cached_input: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None
    cache_write_1h: int | None = None
    audio_input: int | None = None
    audio_output: int | None = None
    gpu_second: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one attempt by kind; ``input`` counts every prompt token and ``output`` every completion token.

    ``cached_input``, ``cache_write`` and ``audio_input`` are disjoint parts of ``input``, ``cache_write_1h`` is a part
    of ``cache_write``; ``reasoning`` and ``audio_output`` are disjoint parts of ``output``. ``gpu_us`` are microseconds
    that a GPU was at work, 0 where nobody is paid by time.
    """

    input: int = 0
    output: int = 0
    cached_input: int = 0
    cache_write: int = 0
    reasoning: int = 0
    cache_write_1h: int = 0
    audio_input: int = 0
    audio_output: int = 0
    gpu_us: int = 0


def nano_usd_per_mtok(usd_per_mtok: float) -> int:
    """The integer price of a price written in USD per million tokens, e.g. 0.15 -> 150_000_000."""
    return round(usd_per_mtok * NANO)


def cost_nano_usd(usage: Usage, price: Price | None) -> int:
    """Cost of one attempt: ceil(Σ tokens · price / 10⁶) nano-USD, rounded once.

    Time is counted in microseconds and priced by the second, so it stands in the same sum.

    Raises:
        UnknownPrice: ``price`` is None.
    """
    if price is None:
        raise UnknownPrice("the model has no price; set models.<name>.price, or mark it free: {input: 0, output: 0}")
    total = _input_cost(usage, price) + _output_cost(usage, price) + usage.gpu_us * price.gpu_second
    return -(-total // TOKENS_PER_PRICE)


def _input_cost(usage: Usage, price: Price) -> int:
    written = price.input if price.cache_write is None else price.cache_write
    plain = usage.input - usage.cached_input - usage.cache_write - usage.audio_input
    return (
        plain * price.input
        + usage.cached_input * (price.input if price.cached_input is None else price.cached_input)
        + (usage.cache_write - usage.cache_write_1h) * written
        + usage.cache_write_1h * (written if price.cache_write_1h is None else price.cache_write_1h)
        + usage.audio_input * (price.input if price.audio_input is None else price.audio_input)
    )


def _output_cost(usage: Usage, price: Price) -> int:
    return (
        (usage.output - usage.reasoning - usage.audio_output) * price.output
        + usage.reasoning * (price.output if price.reasoning is None else price.reasoning)
        + usage.audio_output * (price.output if price.audio_output is None else price.audio_output)
    )


def dearest_input(price: Price) -> int:
    """The price of a prompt token of whatever kind is dearest."""
    kinds = price.cached_input, price.cache_write, price.cache_write_1h, price.audio_input
    return max(price.input, *(kind or 0 for kind in kinds))


def dearest_output(price: Price) -> int:
    """The price of a completion token of whatever kind is dearest."""
    return max(price.output, price.reasoning or 0, price.audio_output or 0)


def expected_output_price(price: Price, *, tokens_per_s: float) -> float:
    """Nano-USD per million completion tokens with the time they take at that speed: for predictions, not for bills."""
    return price.output + price.gpu_second * TOKENS_PER_PRICE / tokens_per_s


def prices_version(prices: Mapping[str, Price | None]) -> str:
    """12 hex digits that change with any effective price, of models by their names; none of an unknown price."""
    table = {name: None if price is None else asdict(price) for name, price in prices.items()}
    return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()[:12]
