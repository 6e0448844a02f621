"""What a request is billed for: reported usage as far as it makes sense, our own count else, and the time of a GPU."""

from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING, Any

from policies.policy import ArmFacts
from policies.prices import Usage, cost_nano_usd
from policies.records import AttemptRecord
from router.bound import arm_prompt_bound, gpu_us, is_all_there
from router.config.arms import most_seconds
from router.http.generated import Generated
from router.http.usage import Source, read_usage
from router.http.usage_fields import costs_differ, reported_usd

if TYPE_CHECKING:
    from router.exchange import Exchange

GENERATED = ("timeout", "cut", "garbage", "cancelled")  # ends of an attempt after which an endpoint may want its money


def reported(exchange: "Exchange", raw: Any, generated: Generated) -> tuple[Usage, Source, tuple[str, ...]]:
    """Usage of a finished answer with its source and what was odd about it; never raises."""
    context_tokens = exchange.setup.config.models[exchange.served.arm.model].context_tokens
    usage, source, flags = read_usage(
        raw,
        prompt_estimate=exchange.sight.context.prompt_tokens,
        generated_estimate=generated.token_estimate,
        max_tokens=(exchange.sent_max_tokens or context_tokens) * exchange.chat.n,
        max_prompt=_most_prompt(exchange, context_tokens),
    )
    price, told_usd = exchange.served.price, reported_usd(raw)
    if price is not None and told_usd is not None and costs_differ(told_usd, cost_nano_usd(usage, price)):
        flags = (*flags, "cost_differs")
    return _with_time(exchange, usage), source, flags


def unfinished(exchange: "Exchange", generated: Generated | None) -> Usage:
    """Our own count of an answer that has no end: the prompt and what was generated.

    Args:
        generated: What was seen of it; None of an answer that is not streamed, which shows nothing until it is there.
    """
    output = generated.token_estimate if generated is not None else _unseen_tokens(exchange)
    return _with_time(exchange, Usage(input=exchange.sight.context.prompt_tokens, output=output))


def lost_nano_usd(exchange: "Exchange") -> int:
    """Cost of attempts that nobody got an answer from, as far as a tenant's budget pays for them.

    Whether an endpoint charges for an answer that was cut is its own affair; a budget assumes that it does.
    """
    if exchange.hold is None:
        return 0
    unanswered = exchange.attempts[:-1] if exchange.usage_source != "none" else exchange.attempts
    ended = (each for each in unanswered if each.kind in GENERATED and each.status < 400)
    return sum(_estimated_nano_usd(exchange, each) for each in ended)


def _most_prompt(exchange: "Exchange", context_tokens: int) -> int:
    """Tokens that the prompt cannot exceed: those of its own bytes, or all a model can read where more may come in.

    What a picture comes to is the endpoint's affair; gpt-4o-mini bills one as up to 48,000 tokens.
    """
    bound = arm_prompt_bound(exchange.ask, exchange.served)
    return bound if is_all_there(exchange.chat, images=False) else max(bound, context_tokens)


def _with_time(exchange: "Exchange", usage: Usage) -> Usage:
    if not exchange.attempts:
        return usage
    spent_us = _gpu_us(exchange, exchange.attempts[-1], exchange.served)
    return replace(usage, gpu_us=spent_us) if spent_us else usage


def _gpu_us(exchange: "Exchange", attempt: AttemptRecord, facts: ArmFacts) -> int:
    if facts.price is None or not facts.price.gpu_second:
        return 0
    most_s = most_seconds(exchange.setup.config.models[facts.arm.model])
    return gpu_us(min(attempt.seconds, most_s), facts.price)


def _estimated_nano_usd(exchange: "Exchange", attempt: AttemptRecord) -> int:
    facts = exchange.setup.arms[attempt.arm]
    usage = Usage(
        input=exchange.sight.context.prompt_tokens,
        output=_tokens_in(exchange, attempt.seconds, facts),
        gpu_us=_gpu_us(exchange, attempt, facts),
    )
    return cost_nano_usd(usage, facts.price)


def _unseen_tokens(exchange: "Exchange") -> int:
    """Of the last attempt, for a budget: an answer that is not streamed shows nothing of what was generated."""
    if exchange.hold is None or not exchange.attempts:
        return 0
    return _tokens_in(exchange, exchange.attempts[-1].seconds, exchange.served)


def _tokens_in(exchange: "Exchange", seconds: float, facts: ArmFacts) -> int:
    """Completion tokens of that long by the declared speed, at most the bound; of a stream all were seen: none."""
    if exchange.chat.stream:
        return 0
    output = ceil(max(seconds, 0.0) * facts.tokens_per_s)
    return exchange.chat.n * min(output, exchange.sent_max_tokens or output)
