"""What an attempt used, believed only as far as it makes sense: a bill must never hang on an upstream's typo."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from policies.prices import Usage
from router.http.usage_fields import MAX_PLAUSIBLE, Counts, read_counts

__all__ = ["MAX_PLAUSIBLE", "Source", "believed", "bounded", "client_usage", "read_usage"]

Source = Literal["upstream", "counted"]
_OVER_BOUND = 1.5  # a side that is longer than this times its bound is not believed
_FAR_UNDER = 16  # nor one that this many times over is less than what we counted ourselves
_SLACK = 64


def read_usage(
    raw: Any,
    *,
    prompt_estimate: int,
    generated_estimate: int,
    max_tokens: int | None,
    max_prompt: int | None = None,
    prompt_count: Callable[[], int] | None = None,
) -> tuple[Usage, Source, tuple[str, ...]]:
    """Validate reported usage; never raises.

    Args:
        raw: The upstream's `usage`, of any JSON type.
        prompt_estimate: Prompt tokens that were surely there: far less is not believed.
        generated_estimate: Our own count of completion tokens (see `Generated.token_estimate`).
        max_tokens: Bound of the whole completion (all choices) that was sent upstream, if any.
        max_prompt: Tokens that the prompt cannot exceed, if that is known.
        prompt_count: Our own count of the prompt, billed where theirs makes no sense; None: `prompt_estimate`.

    Returns:
        The usage; ``upstream`` if both totals are theirs, else ``counted``; and a flag for everything that was odd.
    """
    own_prompt = prompt_count or (lambda: prompt_estimate)
    if type(raw) is not dict:
        flag = "usage_missing" if raw is None else "usage_not_an_object"
        return Usage(input=own_prompt(), output=generated_estimate), "counted", (flag,)
    flags: list[str] = []
    counts = read_counts(raw, flags)
    n_input = believed(counts.input, prompt_estimate, "prompt_tokens", flags)
    n_output = believed(counts.output, generated_estimate, "completion_tokens", flags)
    counts.input = n_input  # a total beside a senseless prompt tells nothing
    source: Source = "counted" if n_input is None or n_output is None else "upstream"
    n_input = own_prompt() if n_input is None else bounded(n_input, max_prompt, "prompt", flags)
    if n_output is None:
        n_output, reasoning = _own_output(counts, generated_estimate, max_tokens), counts.reasoning
    else:
        n_output, reasoning = _with_hidden(counts, n_output, max_tokens, flags)
        n_output = max(bounded(n_output, max_tokens, "completion", flags), _seen(generated_estimate, flags))
    if counts.cached_input + counts.cache_write > n_input:
        # One of them is wrong. The prompt we can count ourselves, so it is not billed for less than that.
        flags.append("cache_over_prompt")
        n_input = max(n_input, prompt_estimate)
        counts.cached_input = counts.cache_write = counts.cache_write_1h = 0
    if reasoning > n_output:
        flags.append("reasoning_over_total")
        n_output, reasoning = max(n_output, generated_estimate), 0
    return _with_parts(counts, n_input, n_output, reasoning, flags), source, tuple(dict.fromkeys(flags))


def client_usage(usage: Usage | None, raw: Any, *, cost_usd: float | None) -> dict[str, Any] | None:
    """The `usage` object for the client; None when neither we nor the upstream know of any.

    Args:
        usage: What is billed; None shows the upstream's own numbers.
        raw: What the upstream reported; its further members are kept.
        cost_usd: Shown as `cost`; None for an unknown price.
    """
    kept: dict[str, Any] = dict(raw) if type(raw) is dict else {}
    if usage is not None:
        kept |= _shown_counts(usage, kept)
    if not kept:
        return None
    if cost_usd is not None:
        kept["cost"] = cost_usd
    return kept


def _shown_counts(usage: Usage, kept: Mapping[str, Any]) -> dict[str, Any]:
    parts = {
        "prompt_tokens_details": {"cached_tokens": usage.cached_input},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }
    for name, counts in parts.items():
        if type(kept.get(name)) is dict:
            counts |= {key: value for key, value in kept[name].items() if key not in counts}
    total = usage.input + usage.output
    return {"prompt_tokens": usage.input, "completion_tokens": usage.output, "total_tokens": total, **parts}


def believed(given: int | None, estimate: int, name: str, flags: list[str]) -> int | None:
    """The reported total unless it is absent, or zero or next to nothing where we saw that there was something."""
    if given is None:
        if f"bad_{name}" not in flags:
            flags.append(f"missing_{name}")
        return None
    if given == 0 and estimate > 0:
        flags.append(f"zero_{name}")
        return None
    if given * _FAR_UNDER + _SLACK < estimate:
        flags.append(f"low_{name}")
        return None
    return given


def _own_output(counts: Counts, generated_estimate: int, max_tokens: int | None) -> int:
    """Our own count, or what the total leaves for the completion: of hidden thinking we saw nothing."""
    if counts.total is None or counts.input is None:
        return generated_estimate
    left = counts.total - counts.input
    return generated_estimate if _is_far_over(left, max_tokens) else max(generated_estimate, left)


def _with_hidden(counts: Counts, n_output: int, max_tokens: int | None, flags: list[str]) -> tuple[int, int]:
    """Completion and reasoning tokens with those that only the total tells of: some leave thinking out of the rest."""
    reasoning = counts.reasoning
    if counts.reasoning_apart:
        n_output += reasoning
    if counts.total is None or counts.input is None:
        return n_output, reasoning
    hidden = counts.total - counts.input - n_output
    if hidden == 0:
        return n_output, reasoning
    if hidden < 0 or _is_far_over(n_output + hidden, max_tokens):
        flags.append("total_differs")  # the parts say more, or the total cannot be: the parts are billed
        return n_output, reasoning
    flags.append("total_differs" if reasoning not in (0, hidden) else "reasoning_added")
    return n_output + hidden, reasoning or hidden


def bounded(tokens: int, bound: int | None, side: str, flags: list[str]) -> int:
    """More than its bound is charged as reported; far more than that is not believed, and the bound is charged."""
    if bound is None or tokens <= bound:
        return tokens
    flags.append(f"{side}_over_bound")
    if not _is_far_over(tokens, bound):
        return tokens
    flags.append(f"implausible_{side}_tokens")
    return bound


def _seen(generated_estimate: int, flags: list[str]) -> int:
    """What is billed at least of a completion that was said to be far longer than its bound: what came is no typo."""
    return generated_estimate if "implausible_completion_tokens" in flags else 0


def _is_far_over(tokens: int, bound: int | None) -> bool:
    return tokens > MAX_PLAUSIBLE if bound is None else tokens > bound * _OVER_BOUND + _SLACK


def _with_parts(counts: Counts, n_input: int, n_output: int, reasoning: int, flags: list[str]) -> Usage:
    """The usage with the smaller parts, each within the whole it belongs to; sound may also lie in the cache."""
    audio_input = min(counts.audio_input, n_input - counts.cached_input - counts.cache_write)
    audio_output = min(counts.audio_output, n_output - reasoning)
    if counts.audio_input > n_input or counts.audio_output > n_output:
        flags.append("audio_over_total")
    if counts.cache_write_1h > counts.cache_write:
        flags.append("cache_1h_over_written")
    return Usage(
        input=n_input,
        output=n_output,
        cached_input=counts.cached_input,
        cache_write=counts.cache_write,
        reasoning=reasoning,
        cache_write_1h=min(counts.cache_write_1h, counts.cache_write),
        audio_input=audio_input,
        audio_output=audio_output,
    )
