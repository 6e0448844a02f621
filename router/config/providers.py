"""Hosted providers a key in the environment opens, with the models that are registered for it.

Prices are USD per million tokens as their public price pages gave them in 2026; they change, so a configuration file
is the place for figures one pays by. All speak the OpenAI wire; `budget_tokens` is Anthropic's own field on it.
"""

from typing import Any

FULL = ["tools", "schema", "images"]
PLAIN = ["tools", "schema"]


def providers() -> dict[str, tuple[str, dict[str, dict[str, Any]]]]:
    """Environment variable -> (base URL, models as in the file, less their deployments)."""
    return {
        "OPENAI_API_KEY": (
            "https://api.openai.com/v1",
            {
                "gpt-5-mini": _model(
                    0.25, 2.00, cached=0.025, context=400_000, efforts=["low", "high"], least="minimal"
                ),
                "gpt-5.1": _model(1.25, 10.00, cached=0.125, context=400_000, efforts=["medium"]),
            },
        ),
        "ANTHROPIC_API_KEY": (
            "https://api.anthropic.com/v1",
            {
                "claude-haiku-4-5": _claude(1.00, 5.00),
                "claude-sonnet-4-5": _claude(3.00, 15.00),
            },
        ),
        "GEMINI_API_KEY": (
            "https://generativelanguage.googleapis.com/v1beta/openai",
            {"gemini-2.5-flash": _model(0.30, 2.50, cached=0.03, context=1_000_000, efforts=["low", "high"])},
        ),
        "MISTRAL_API_KEY": (
            "https://api.mistral.ai/v1",
            {
                "mistral-small-latest": _model(0.10, 0.30, context=128_000),
                "mistral-medium-latest": _model(0.40, 2.00, context=128_000),
            },
        ),
        "DEEPSEEK_API_KEY": (
            "https://api.deepseek.com/v1",
            {"deepseek-chat": _model(0.28, 0.42, cached=0.028, context=128_000, capabilities=PLAIN)},
        ),
        "GROQ_API_KEY": (
            "https://api.groq.com/openai/v1",
            {
                "llama-3.1-8b-instant": _model(0.05, 0.08, context=128_000, capabilities=["tools"]),
                "openai/gpt-oss-120b": {
                    **_model(0.15, 0.60, context=128_000, efforts=["low", "high"], capabilities=PLAIN),
                    "modes": ["reasoning"],
                },
            },
        ),
        "XAI_API_KEY": (
            "https://api.x.ai/v1",
            {"grok-4-fast-non-reasoning": _model(0.20, 0.50, cached=0.05, context=1_000_000)},
        ),
        "OPENROUTER_API_KEY": (
            "https://openrouter.ai/api/v1",
            {
                "openai/gpt-5-mini": _model(
                    0.25, 2.00, cached=0.025, context=400_000, efforts=["low", "high"], least="minimal"
                )
            },
        ),
    }


def _model(
    input_usd: float,
    output_usd: float,
    *,
    context: int,
    cached: float | None = None,
    efforts: list[str] | None = None,
    least: str = "off",
    capabilities: list[str] | None = None,
) -> dict[str, Any]:
    price = {"input": input_usd, "output": output_usd} | ({} if cached is None else {"cached_input": cached})
    entry: dict[str, Any] = {"price": price, "context_tokens": context, "capabilities": capabilities or FULL}
    if efforts:
        entry |= {"modes": ["instant", "reasoning"], "efforts": efforts, "thinking": "reasoning_effort"}
        entry["mode_overrides"] = {"instant": {"effort": least}}  # or they would reason at their default
    return entry


def _claude(input_usd: float, output_usd: float) -> dict[str, Any]:
    return {
        # Its cache: reads at a tenth of the input price, writes at 1.25 times for five minutes, twice for an hour.
        "price": {
            "input": input_usd,
            "output": output_usd,
            "cached_input": round(input_usd / 10, 6),
            "cache_write": round(input_usd * 1.25, 6),
            "cache_write_1h": 2 * input_usd,
        },
        "context_tokens": 200_000,
        # Its OpenAI wire ignores response_format, logprobs and n.
        "capabilities": ["tools", "images"],
        "modes": ["instant", "reasoning"],
        "efforts": ["4096"],
        "thinking": "budget_tokens",
    }
