"""How an arm's mode and effort are told to the endpoint that answers: the client's body, adapted."""

from collections.abc import Mapping
from typing import Any

from policies.arms import Arm
from router.config.schema import ModeConfig, ModelConfig

Body = dict[str, Any]

# Members by which aggregators (OpenRouter, a LiteLLM proxy) answer with another model than the one that was chosen,
# reserved for and allowed: which that is, is decided here.
_OTHER_MODELS = ("models", "fallbacks", "route", "preset")
HINTS = "gearshift"  # the gateway's own field: meant for us, never sent on
# Tokens an effort stands for where the endpoint wants a budget; 1024 is the least Anthropic accepts.
BUDGETS = {"": 2048, "minimal": 1024, "low": 1024, "medium": 2048, "high": 4096}
LEAST_BUDGET = 1024
BUDGET_LEVELS = ((512, "minimal"), (1024, "low"), (2048, "medium"))


def adapt(
    body: Mapping[str, Any],
    arm: Arm,
    model_config: ModelConfig,
    mode_config: ModeConfig | None,
    *,
    deployment_model: str,
) -> Body:
    """The body that asks `deployment_model` to answer as the arm says. The input is not changed.

    By the model's `thinking` family:
        none: nothing is told.
        reasoning_effort: the top-level field, when the arm or its mode has an effort (``off`` is written ``none``).
        chat_template_kwargs: ``enable_thinking`` (vLLM with Qwen3, GLM): off for instant.
        budget_tokens: ``thinking`` with a budget, or disabled for instant; the output bound grows by the budget.
        prompt: the mode's system text goes before the client's own.

    The client's output bound stays; without one the mode's is set. Fields we do not know are sent on, but
    those that name other models.
    """
    out = adapt_pinned(body, deployment_model=deployment_model)
    family = model_config.thinking
    _bound(out, mode_config, output_bound_key(model_config))
    if family == "reasoning_effort":
        _tell_effort(out, arm.effort or (mode_config.effort if mode_config is not None else None) or "")
    elif family == "chat_template_kwargs":
        given = out.get("chat_template_kwargs")
        out["chat_template_kwargs"] = {**(given if isinstance(given, dict) else {}), "enable_thinking": thinks(arm)}
    elif family == "budget_tokens":
        _tell_budget(out, arm)
    elif family == "prompt" and mode_config is not None and mode_config.system:
        out["messages"] = with_system(out["messages"], mode_config.system)
    return out


def adapt_pinned(body: Mapping[str, Any], *, deployment_model: str) -> Body:
    """The client's body as it is, for the model it named: only the name, our own field and the usage request change.

    What would have an aggregator answer with yet another model is left out.
    """
    out = {name: value for name, value in body.items() if name != HINTS and name not in _OTHER_MODELS}
    out["model"] = deployment_model
    if out.get("stream"):
        # Without it there is nothing to bill; the relay drops the usage event again for a client who did not ask.
        out["stream_options"] = {**(out.get("stream_options") or {}), "include_usage": True}
    return out


def output_bound_key(model_config: ModelConfig) -> str:
    """The name under which the endpoint knows the output bound; the models that reason refuse `max_tokens`."""
    return "max_completion_tokens" if model_config.thinking == "reasoning_effort" else "max_tokens"


def thinks(arm: Arm) -> bool:
    """Whether the arm lets the model reason before it answers."""
    return arm.mode != "instant" and arm.effort != "off"


def budget_tokens(arm: Arm) -> int:
    """Reasoning tokens the arm's effort stands for."""
    return max(int(arm.effort), LEAST_BUDGET) if arm.effort.isdecimal() else BUDGETS[arm.effort]


def with_system(messages: list[Any], text: str) -> list[Any]:
    """The messages with a system text first; merged into a system message that is there.

    Many chat templates take one system message, at the start, and no second.
    """
    first = messages[0] if messages else None
    if not isinstance(first, dict) or first.get("role") not in ("system", "developer"):
        return [{"role": "system", "content": text}, *messages]
    content = first.get("content")
    if isinstance(content, list):
        merged: object = [{"type": "text", "text": text}, *content]
    else:
        merged = f"{text}\n\n{content}" if content else text
    return [{**first, "content": merged}, *messages[1:]]


def _bound(out: Body, mode_config: ModeConfig | None, key: str) -> None:
    """One output bound under the name the endpoint knows: the client's, else the mode's."""
    rename_bound(out, key)
    bound = mode_config.max_tokens if mode_config is not None else None
    if bound is not None and out.get(key) is None:
        out[key] = bound


def rename_bound(out: Body, key: str) -> None:
    """An endpoint that is told a bound under a name it does not know writes as much as it likes."""
    newer, older = out.pop("max_completion_tokens", None), out.pop("max_tokens", None)
    asked = older if newer is None else newer
    if asked is not None:
        out[key] = asked


def _tell_effort(out: Body, effort: str) -> None:
    if effort.isdecimal():
        effort = next((level for most, level in BUDGET_LEVELS if int(effort) <= most), "high")
    if effort:
        out["reasoning_effort"] = "none" if effort == "off" else effort


def _tell_budget(out: Body, arm: Arm) -> None:
    if not thinks(arm):
        out["thinking"] = {"type": "disabled"}
        return
    budget = budget_tokens(arm)
    out["thinking"] = {"type": "enabled", "budget_tokens": budget}
    for key in ("max_tokens", "max_completion_tokens"):
        # The bound covers thinking and answer there; the client meant the answer.
        if isinstance(out.get(key), int):
            out[key] += budget
