"""What a request is billed for: reported usage as far as it makes sense, our own count else, and the time of a GPU."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from policies.policy import ArmFacts
from policies.prices import Usage, cost_nano_usd
from policies.records import AttemptRecord
from router.bound import arm_prompt_bound, gpu_us, is_all_there
from router.config.arms import most_seconds
from router.http.generated import Generated
from router.http.usage import Source, read_usage
from router.http.usage_fields import costs_differ, reported_usd
from router.own_count import may_hide_output, output_tokens, prompt_tokens

if TYPE_CHECKING:
    from router.exchange import Exchange

GENERATED = ("timeout", "cut", "garbage", "cancelled")  # ends of an attempt after which an endpoint may want its money


def reported(exchange: "Exchange", raw: Any, generated: Generated) -> tuple[Usage, Source, tuple[str, ...]]:
    """Usage of a finished answer with its source and what was odd about it; never raises."""
    context_tokens = exchange.setup.config.models[exchange.served.arm.model].context_tokens
    usage, source, flags = read_usage(
        raw,
        prompt_estimate=exchange.sight.context.prompt_tokens,
        prompt_count=lambda: prompt_tokens(exchange.ask, exchange.served),
        generated_estimate=generated.token_estimate,
        max_tokens=(exchange.sent_max_tokens or context_tokens) * exchange.chat.n,
        max_prompt=_most_prompt(exchange, context_tokens),
    )
    price, told_usd = exchange.served.price, reported_usd(raw)
    if price is not None and told_usd is not None and costs_differ(told_usd, cost_nano_usd(usage, price)):
        flags = (*flags, "cost_differs")
    return _with_time(exchange, usage), source, flags


def unfinished(exchange: "Exchange", raw: Any, generated: Generated | None) -> tuple[Usage, tuple[str, ...]]:
    """An answer that has no end: what was reported of it so far, and no less than our own count; and its flags.

    Args:
        raw: What the upstream reported before the end, None if nothing.
        generated: What was seen of it; None of an answer that is not streamed, which shows nothing until it is there.
    """
    seen = generated.token_estimate if generated is not None else 0
    if exchange.attempts and may_hide_output(exchange.served, seen=seen):
        seen = max(seen, _output_tokens(exchange, exchange.attempts[-1], exchange.served))
    if raw is not None and generated is not None:
        usage, _, flags = reported(exchange, raw, generated)
        return replace(usage, output=max(usage.output, seen)), ("unfinished", *flags)
    usage = Usage(input=prompt_tokens(exchange.ask, exchange.served), output=seen)
    return _with_time(exchange, usage), ("unfinished",)


def lost_nano_usd(exchange: "Exchange") -> int:
    """Cost of attempts that nobody got an answer from.

    Whether an endpoint charges for an answer that was cut is its own affair; we assume that it does.

    Raises:
        UnknownPrice: One of them was of an arm without a price.
    """
    return sum(_estimated_nano_usd(exchange, each) for each in lost_attempts(exchange))


def lost_attempts(exchange: "Exchange") -> list[AttemptRecord]:
    """Attempts after which an endpoint may want its money, and nobody got an answer."""
    unanswered = exchange.attempts[:-1] if exchange.usage_source != "none" else exchange.attempts
    return [each for each in unanswered if each.kind in GENERATED and each.status < 400]


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
        input=prompt_tokens(exchange.ask, facts),
        output=_output_tokens(exchange, attempt, facts),
        gpu_us=_gpu_us(exchange, attempt, facts),
    )
    return cost_nano_usd(usage, facts.price)


def _output_tokens(exchange: "Exchange", attempt: AttemptRecord, facts: ArmFacts) -> int:
    return output_tokens(exchange.ask, facts, seconds=attempt.seconds, sent_max_tokens=exchange.sent_max_tokens)
