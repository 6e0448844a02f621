"""What an attempt used, believed only as far as it makes sense: a bill must never hang on an upstream's typo."""

from collections.abc import Mapping
from typing import Any, Literal

from policies.prices import Usage

Source = Literal["upstream", "counted"]
MAX_PLAUSIBLE = 100_000_000  # tokens of one attempt; more is a wrong unit or a broken counter
_OVER_BOUND = 1.5  # completions longer than this times their bound are not believed
_SLACK = 64


def read_usage(
    raw: Any, *, prompt_estimate: int, generated_estimate: int, max_tokens: int | None
) -> tuple[Usage, Source, tuple[str, ...]]:
    """Validate reported usage; never raises.

    Args:
        raw: The upstream's `usage`, of any JSON type.
        prompt_estimate: Our own count of prompt tokens, used where theirs makes no sense.
        generated_estimate: Our own count of completion tokens (see `Generated.token_estimate`).
        max_tokens: Bound of the whole completion (all choices) that was sent upstream, if any.

    Returns:
        The usage; ``upstream`` if both totals are theirs, else ``counted``; and a flag for everything that was odd.
    """
    if type(raw) is not dict:
        flag = "usage_missing" if raw is None else "usage_not_an_object"
        return Usage(input=prompt_estimate, output=generated_estimate), "counted", (flag,)
    flags: list[str] = []
    read = _Fields(raw, flags)
    given_input, given_output = _totals(read)
    reasoning = read.count("completion_tokens_details.reasoning_tokens", "output_tokens_details.reasoning_tokens") or 0
    if given_output is not None and _reasoning_is_apart(read, given_input, given_output, reasoning):
        given_output += reasoning
        flags.append("reasoning_added")
    n_input = _believed(given_input, prompt_estimate, "prompt_tokens", flags)
    n_output = _believed(given_output, generated_estimate, "completion_tokens", flags)
    counted = n_input is None or n_output is None
    n_input = prompt_estimate if n_input is None else n_input
    n_output = generated_estimate if n_output is None else _bounded(n_output, max_tokens, flags)
    cached, written = _cache_parts(read, n_input, flags)
    if reasoning > n_output:
        reasoning = 0
        flags.append("reasoning_over_total")
    usage = Usage(input=n_input, output=n_output, cached_input=cached, cache_write=written, reasoning=reasoning)
    return usage, "counted" if counted else "upstream", tuple(flags)


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


class _Fields:
    """Reads counts by dotted name; anything but a plausible integer is flagged and read as absent."""

    def __init__(self, raw: Mapping[str, Any], flags: list[str]) -> None:
        self._raw, self._flags = raw, flags

    def has(self, name: str) -> bool:
        return name in self._raw

    def count(self, *names: str) -> int | None:
        """The first of the names that is there and not null."""
        for name in names:
            outer, _, inner = name.rpartition(".")
            holder = self._raw.get(outer) if outer else self._raw
            value = holder.get(inner) if isinstance(holder, dict) else None
            if value is None:
                continue
            if type(value) is int and 0 <= value <= MAX_PLAUSIBLE:
                return value
            self._flags.append(f"bad_{inner}")
            return None
        return None


def _totals(read: _Fields) -> tuple[int | None, int | None]:
    """Prompt and completion tokens. Anthropic's own names leave cached tokens out of `input_tokens`."""
    if read.has("prompt_tokens") or not read.has("input_tokens"):
        return read.count("prompt_tokens"), read.count("completion_tokens", "output_tokens")
    n_input = read.count("input_tokens")
    if n_input is not None and (read.has("cache_read_input_tokens") or read.has("cache_creation_input_tokens")):
        n_input += (read.count("cache_read_input_tokens") or 0) + (read.count("cache_creation_input_tokens") or 0)
    return n_input, read.count("output_tokens", "completion_tokens")


def _reasoning_is_apart(read: _Fields, n_input: int | None, n_output: int, reasoning: int) -> bool:
    """Some providers leave hidden reasoning out of `completion_tokens`; their total gives them away."""
    return reasoning > 0 and n_input is not None and read.count("total_tokens") == n_input + n_output + reasoning


def _believed(given: int | None, estimate: int, name: str, flags: list[str]) -> int | None:
    """The reported total unless it is absent, or zero where we saw that there was something."""
    if given is None:
        if f"bad_{name}" not in flags:
            flags.append(f"missing_{name}")
        return None
    if given == 0 and estimate > 0:
        flags.append(f"zero_{name}")
        return None
    return given


def _bounded(n_output: int, max_tokens: int | None, flags: list[str]) -> int:
    """A completion over its bound is charged as reported; far over it, the bound is charged."""
    if max_tokens is None or n_output <= max_tokens:
        return n_output
    flags.append("over_bound")
    if n_output <= max_tokens * _OVER_BOUND + _SLACK:
        return n_output
    flags.append("implausible_completion_tokens")
    return max_tokens


def _cache_parts(read: _Fields, n_input: int, flags: list[str]) -> tuple[int, int]:
    """Prompt tokens read from and written to the provider's cache; both 0 (full price) when they exceed the prompt."""
    cached = read.count(
        "prompt_tokens_details.cached_tokens",
        "input_tokens_details.cached_tokens",
        "cache_read_input_tokens",
        "prompt_cache_hit_tokens",
    )
    written = read.count(
        "prompt_tokens_details.cache_write_tokens",
        "prompt_tokens_details.cache_creation_tokens",
        "cache_creation_input_tokens",
    )
    if (cached or 0) + (written or 0) > n_input:
        flags.append("cache_over_prompt")
        return 0, 0
    return cached or 0, written or 0
