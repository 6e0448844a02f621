"""The body an arm is asked with: the client's, adapted, and for a tenant with a budget always with an output bound."""

from collections.abc import Mapping
from typing import Any

from policies.policy import ArmFacts
from router.ask import Ask
from router.config.schema import ModelConfig
from router.modes import Body, adapt, adapt_pinned, output_bound_key, rename_bound

CONTEXT_SLACK_TOKENS = 64
LEAST_TOKENS = 16


def outgoing(ask: Ask, facts: ArmFacts, *, model: str, prompt_tokens: int) -> Body:
    """The body for a deployment that knows the arm's model as ``model``.

    Where neither client nor mode bounds the answer of a tenant with a budget, the model's `max_output_tokens` does,
    less what the context has no room for: what may be charged must be bounded, and the endpoint must know the bound.
    """
    chat, arm = ask.chat, facts.arm
    model_config = ask.setup.config.models[arm.model]
    if ask.target.as_sent:
        body = adapt_pinned(chat.body, deployment_model=model)
    else:
        body = adapt(chat.body, arm, model_config, ask.setup.asking[facts.name], deployment_model=model)
    if ask.caller.windows:
        rename_bound(body, output_bound_key(model_config))
        if sent_max_tokens(body) is None:
            body[output_bound_key(model_config)] = _most_output(body, model_config, prompt_tokens)
    return body


def sent_max_tokens(body: Mapping[str, Any]) -> int | None:
    """The bound of one choice, with its thinking, as it goes out; None without one."""
    return max(
        (bound for name in ("max_completion_tokens", "max_tokens") if (bound := body.get(name)) is not None),
        default=None,
    )


def _most_output(body: Mapping[str, Any], model_config: ModelConfig, prompt_tokens: int) -> int:
    room = model_config.context_tokens - prompt_tokens - CONTEXT_SLACK_TOKENS
    thinking = body.get("thinking")
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    # Endpoints that take a thinking budget want the whole bound above it.
    least = LEAST_TOKENS + (budget if isinstance(budget, int) else 0)
    return max(min(model_config.max_output_tokens, room), least)
