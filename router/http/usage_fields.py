"""Token counts as the providers name them, read into one shape; nothing here decides whether a count is believed.

Sources, read for names and for what includes what: OpenAI "The chat completion object" and "The response object";
Anthropic "Messages", "Prompt caching" (`input_tokens` leaves the cache out; writes for five minutes and for an hour)
and "OpenAI SDK compatibility"; Google "GenerateContentResponse.UsageMetadata" (thoughts are no candidates) and
"OpenAI compatibility" (thoughts only in the total); DeepSeek "Create Chat Completion" (`prompt_cache_hit_tokens`);
xAI "Chat completions" (reasoning beside the completion); Mistral "Chat Completion"; OpenRouter "Usage Accounting";
vLLM "OpenAI-Compatible Server"; Ollama "API" and "OpenAI compatibility"; litellm's `Usage`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MAX_PLAUSIBLE = 100_000_000  # tokens of one attempt; more is a wrong unit or a broken counter

_CACHED = (
    "prompt_tokens_details.cached_tokens",
    "input_tokens_details.cached_tokens",
    "cache_read_input_tokens",
    "prompt_cache_hit_tokens",
    "cached_tokens",
)
_WRITTEN = (
    "prompt_tokens_details.cache_write_tokens",
    "prompt_tokens_details.cache_creation_tokens",
    "cache_creation_input_tokens",
)
_WRITTEN_5M = (
    "cache_creation.ephemeral_5m_input_tokens",
    "prompt_tokens_details.cache_creation_token_details.ephemeral_5m_input_tokens",
)
_WRITTEN_1H = (
    "cache_creation.ephemeral_1h_input_tokens",
    "prompt_tokens_details.cache_creation_token_details.ephemeral_1h_input_tokens",
)
_REASONING = (
    "completion_tokens_details.reasoning_tokens",
    "output_tokens_details.reasoning_tokens",
    "reasoning_tokens",
)
_AUDIO_IN = ("prompt_tokens_details.audio_tokens", "input_tokens_details.audio_tokens")
_AUDIO_OUT = ("completion_tokens_details.audio_tokens", "output_tokens_details.audio_tokens")


@dataclass(frozen=True, slots=True)
class Counts:
    """What was reported, each in its sense of `policies.prices.Usage`; None where there is no such count.

    Attributes:
        output: Every completion token the provider counts as one; reasoning may still be missing from it.
        reasoning_apart: The provider's own format leaves reasoning out of ``output``, whatever its total says.
        total: The reported sum.
    """

    input: int | None
    output: int | None
    cached_input: int
    cache_write: int
    cache_write_1h: int
    audio_input: int
    reasoning: int
    audio_output: int
    total: int | None
    reasoning_apart: bool = False


def read_counts(raw: Mapping[str, Any], flags: list[str]) -> Counts:
    """The counts of a `usage` object of any of the formats; what is no plausible count is flagged and absent."""
    read = _Fields(raw, flags)
    if "promptTokenCount" in raw or "candidatesTokenCount" in raw:
        return _gemini(read)
    if "prompt_eval_count" in raw or "eval_count" in raw:
        return Counts(read.count("prompt_eval_count"), read.count("eval_count"), 0, 0, 0, 0, 0, 0, None)
    return _openai(read)


class _Fields:
    """Reads counts by dotted name; anything but a plausible integer is flagged and read as absent."""

    def __init__(self, raw: Mapping[str, Any], flags: list[str]) -> None:
        self.raw, self._flags = raw, flags

    def count(self, *names: str) -> int | None:
        """The first of the names that is there and not null."""
        for name in names:
            value = self._at(name)
            if value is None:
                continue
            if type(value) is int and 0 <= value <= MAX_PLAUSIBLE:
                return value
            self._flags.append(f"bad_{name.rpartition('.')[2]}")
            return None
        return None

    def of_modality(self, name: str, modality: str) -> int:
        """Tokens of one modality in one of Gemini's lists."""
        entries = self.raw.get(name)
        found = [e for e in entries if type(e) is dict] if type(entries) is list else []
        counts = [_Fields(e, self._flags).count("tokenCount") for e in found if e.get("modality") == modality]
        return sum(count or 0 for count in counts)

    def _at(self, name: str) -> Any:
        held: Any = self.raw
        for part in name.split("."):
            held = held.get(part) if type(held) is dict else None
        return held


def _openai(read: _Fields) -> Counts:
    """OpenAI's names and their relatives', and Anthropic's own."""
    cached, written, written_1h = _cache(read)
    if "prompt_tokens" in read.raw or "input_tokens" not in read.raw:
        n_input = read.count("prompt_tokens")
    else:
        n_input = read.count("input_tokens")
        if n_input is not None and _cache_is_apart(read.raw):
            n_input += cached + written
    return Counts(
        input=n_input,
        output=read.count("completion_tokens", "output_tokens"),
        cached_input=cached,
        cache_write=written,
        cache_write_1h=written_1h,
        audio_input=read.count(*_AUDIO_IN) or 0,
        reasoning=read.count(*_REASONING) or 0,
        audio_output=read.count(*_AUDIO_OUT) or 0,
        total=read.count("total_tokens"),
    )


def _cache(read: _Fields) -> tuple[int, int, int]:
    """Tokens read from the cache, written to it, and of those the ones written for an hour."""
    written, for_5m, for_1h = (read.count(*names) for names in (_WRITTEN, _WRITTEN_5M, _WRITTEN_1H))
    by_time = (for_5m or 0) + (for_1h or 0)
    return read.count(*_CACHED) or 0, by_time if written is None else written, for_1h or 0


def _cache_is_apart(raw: Mapping[str, Any]) -> bool:
    """Anthropic's own format leaves cached tokens out of `input_tokens`; OpenAI's responses have the same name."""
    return any(name in raw for name in ("cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation"))


def _gemini(read: _Fields) -> Counts:
    """Google's own names. Protocol buffers leave a count of zero out."""
    prompt, tool_use = read.count("promptTokenCount"), read.count("toolUsePromptTokenCount") or 0
    candidates, thoughts = read.count("candidatesTokenCount"), read.count("thoughtsTokenCount") or 0
    total = read.count("totalTokenCount")
    n_input = None if prompt is None else prompt + tool_use
    n_output = 0 if candidates is None and "candidatesTokenCount" not in read.raw else candidates
    # Some versions count thoughts among the candidates; their total gives them away.
    inclusive = n_input is not None and n_output is not None and total == n_input + n_output
    return Counts(
        input=n_input,
        output=n_output,
        cached_input=read.count("cachedContentTokenCount") or 0,
        cache_write=0,
        cache_write_1h=0,
        audio_input=max(
            read.of_modality("promptTokensDetails", "AUDIO") - read.of_modality("cacheTokensDetails", "AUDIO"), 0
        ),
        reasoning=thoughts,
        audio_output=read.of_modality("candidatesTokensDetails", "AUDIO"),
        total=total,
        reasoning_apart=not inclusive,
    )


def reported_usd(raw: Any) -> float | None:
    """What the provider says that it charged (OpenRouter), with what a key of our own was charged besides; or None."""
    if type(raw) is not dict:
        return None
    parts: Sequence[Any] = [raw.get("cost")]
    if raw.get("is_byok") is True:
        details = raw.get("cost_details")
        parts = [*parts, details.get("upstream_inference_cost") if type(details) is dict else None]
    amounts = [float(part) for part in parts if type(part) in (int, float)]
    return sum(amounts) if len(amounts) == len(parts) else None
