"""Token counts as the providers name them, read into one shape; nothing here decides whether a count is believed.

Sources, read for names and for what includes what: OpenAI "The chat completion object" and "The response object";
Anthropic "Messages", "Prompt caching" (`input_tokens` leaves the cache out; writes for five minutes and for an hour)
and "OpenAI SDK compatibility"; Google "GenerateContentResponse.UsageMetadata" (thoughts are no candidates) and
"OpenAI compatibility" (thoughts only in the total); DeepSeek "Create Chat Completion" (`prompt_cache_hit_tokens`);
xAI "Chat completions" (reasoning beside the completion); Mistral "Chat Completion"; OpenRouter "Usage Accounting";
vLLM "OpenAI-Compatible Server"; Ollama "API" and "OpenAI compatibility"; litellm's `Usage`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from policies.prices import NANO

MAX_PLAUSIBLE = 100_000_000  # tokens of one attempt; more is a wrong unit or a broken counter
_MOST_USD = 1e9  # that one answer may be said to have cost
_NOTHING: Mapping[str, Any] = {}
# Anthropic's own format leaves cached tokens out of `input_tokens`; OpenAI's responses have the same name.
_APART = frozenset(("cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation"))


@dataclass(slots=True)  # not frozen: one is made for every answer, and freezing triples the time
class Counts:
    """What was reported, each in its sense of `policies.prices.Usage`; None where there is no such count.

    Attributes:
        output: Every completion token the provider counts as one; reasoning may still be missing from it.
        reasoning_apart: The provider's own format leaves reasoning out of ``output``, whatever its total says.
        total: The reported sum.
    """

    input: int | None
    output: int | None
    cached_input: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    audio_input: int = 0
    reasoning: int = 0
    audio_output: int = 0
    total: int | None = None
    reasoning_apart: bool = False


def read_counts(raw: Mapping[str, Any], flags: list[str]) -> Counts:
    """The counts of a `usage` object of any of the formats; what is no plausible count is flagged and absent."""
    if "promptTokenCount" in raw or "candidatesTokenCount" in raw:
        return _gemini(raw, flags)
    if "prompt_eval_count" in raw or "eval_count" in raw:
        return Counts(_count(flags, (raw, "prompt_eval_count")), _count(flags, (raw, "eval_count")))
    return _openai(raw, flags)


def _count(flags: list[str], *places: tuple[Mapping[str, Any], str]) -> int | None:
    """The first count that is there and not null; None, and a flag, if it is no plausible one."""
    for holder, name in places:
        value = holder.get(name)
        if value is None:
            continue
        if type(value) is int and 0 <= value <= MAX_PLAUSIBLE:
            return value
        flags.append(f"bad_{name}")
        return None
    return None


def _object(holder: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """The first of the names that holds an object, or an empty one."""
    for name in names:
        value = holder.get(name)
        if type(value) is dict:
            return value
    return _NOTHING


def _openai(raw: Mapping[str, Any], flags: list[str]) -> Counts:
    """OpenAI's names and their relatives', and Anthropic's own."""
    prompt = _object(raw, "prompt_tokens_details", "input_tokens_details")
    completion = _object(raw, "completion_tokens_details", "output_tokens_details")
    cached = _count(
        flags,
        (prompt, "cached_tokens"),
        (raw, "cache_read_input_tokens"),
        (raw, "prompt_cache_hit_tokens"),
        (raw, "cached_tokens"),
    )
    written, written_1h = _written(raw, prompt, flags)
    if "prompt_tokens" in raw or "input_tokens" not in raw:
        n_input = _count(flags, (raw, "prompt_tokens"))
    else:
        n_input = _count(flags, (raw, "input_tokens"))
        if n_input is not None and not _APART.isdisjoint(raw):
            n_input += (cached or 0) + written
    return Counts(
        input=n_input,
        output=_count(flags, (raw, "completion_tokens"), (raw, "output_tokens")),
        cached_input=cached or 0,
        cache_write=written,
        cache_write_1h=written_1h,
        audio_input=_count(flags, (prompt, "audio_tokens")) or 0,
        reasoning=_count(flags, (completion, "reasoning_tokens"), (raw, "reasoning_tokens")) or 0,
        audio_output=_count(flags, (completion, "audio_tokens")) or 0,
        total=_count(flags, (raw, "total_tokens")),
    )


def _written(raw: Mapping[str, Any], prompt: Mapping[str, Any], flags: list[str]) -> tuple[int, int]:
    """Tokens written to the cache, and of those the ones written for an hour."""
    written = _count(
        flags, (prompt, "cache_write_tokens"), (prompt, "cache_creation_tokens"), (raw, "cache_creation_input_tokens")
    )
    times = _object(raw, "cache_creation") or _object(prompt, "cache_creation_token_details")
    if not times:
        return written or 0, 0
    for_5m = _count(flags, (times, "ephemeral_5m_input_tokens")) or 0
    for_1h = _count(flags, (times, "ephemeral_1h_input_tokens")) or 0
    return for_5m + for_1h if written is None else written, for_1h


def _gemini(raw: Mapping[str, Any], flags: list[str]) -> Counts:
    """Google's own names. Protocol buffers leave a count of zero out."""
    prompt, candidates = _count(flags, (raw, "promptTokenCount")), _count(flags, (raw, "candidatesTokenCount"))
    tool_use = _count(flags, (raw, "toolUsePromptTokenCount")) or 0
    total = _count(flags, (raw, "totalTokenCount"))
    n_input = None if prompt is None else prompt + tool_use
    n_output = 0 if candidates is None and "candidatesTokenCount" not in raw else candidates
    # Some versions count thoughts among the candidates; their total gives them away.
    inclusive = n_input is not None and n_output is not None and total == n_input + n_output
    audio = _audio_in(raw, "promptTokensDetails", flags) - _audio_in(raw, "cacheTokensDetails", flags)
    return Counts(
        input=n_input,
        output=n_output,
        cached_input=_count(flags, (raw, "cachedContentTokenCount")) or 0,
        audio_input=max(audio, 0),
        reasoning=_count(flags, (raw, "thoughtsTokenCount")) or 0,
        audio_output=_audio_in(raw, "candidatesTokensDetails", flags),
        total=total,
        reasoning_apart=not inclusive,
    )


def _audio_in(raw: Mapping[str, Any], name: str, flags: list[str]) -> int:
    """Tokens of sound in one of Gemini's lists by modality."""
    entries = raw.get(name)
    sounds = [e for e in entries if type(e) is dict and e.get("modality") == "AUDIO"] if type(entries) is list else ()
    return sum(_count(flags, (sound, "tokenCount")) or 0 for sound in sounds)


def reported_usd(raw: Any) -> float | None:
    """What the provider says that it charged (OpenRouter), with what a key of our own was charged besides; or None."""
    if type(raw) is not dict or raw.get("cost") is None:
        return None
    parts = [raw["cost"]]
    if raw.get("is_byok") is True:
        details = raw.get("cost_details")
        parts = [*parts, details.get("upstream_inference_cost") if type(details) is dict else None]
    amounts = [float(part) for part in parts if type(part) in (int, float) and abs(part) <= _MOST_USD]
    return sum(amounts) if len(amounts) == len(parts) else None


def costs_differ(told_usd: float, nano_usd: int) -> bool:
    """Whether a provider charged something else than our price comes to: then the price is out of date.

    By more than 5 %, or 1,000 nano-USD where that is more: providers round, and OpenRouter takes a fee on a key of
    one's own.
    """
    told = told_usd * NANO
    return abs(told - nano_usd) > max(0.05 * max(told, nano_usd), 1_000)
