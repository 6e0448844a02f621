"""The built-in tiny model as a configuration entry: what it can do and how its two modes ask."""

from typing import Any

from router.config.schema import Config, Deployment

# llama-server shares its context between its slots; this is what one request can use.
CONTEXT_TOKENS = 4096
INSTANT_TOKENS = 160
REASONING_TOKENS = 512


def local_defaults() -> dict[str, Any]:
    """Settings of a model served by ``upstream: local``, as they would stand in YAML; the file may override each."""
    return {
        "modes": ["instant", "reasoning"],
        "thinking": "prompt",
        "capabilities": ["schema", "logprobs"],
        "price": {"input": 0.0, "output": 0.0},
        "context_tokens": CONTEXT_TOKENS,
        "max_output_tokens": 1024,
        "first_token_s": 0.3,
        "tokens_per_s": 60.0,
        "mode_overrides": {
            "instant": {
                "max_tokens": INSTANT_TOKENS,
                "system": "Answer briefly and directly, in at most three sentences.",
            },
            "reasoning": {
                "max_tokens": REASONING_TOKENS,
                "system": "Work step by step, then give the final answer on a line that begins with 'Answer:'.",
            },
        },
    }


def local_entry() -> dict[str, Any]:
    """The whole entry of ``models.local``."""
    return {"deployments": [{"upstream": "local"}], **local_defaults()}


def fill_local(tree: Any) -> Any:
    """Add ``local_defaults`` to each model of the tree whose deployments are all ``upstream: local``."""
    models = tree.get("models") if isinstance(tree, dict) else None
    if not isinstance(models, dict):
        return tree
    filled = {name: {**local_defaults(), **entry} if _is_local(entry) else entry for name, entry in models.items()}
    return {**tree, "models": filled}


def _is_local(entry: Any) -> bool:
    deployments = entry.get("deployments") if isinstance(entry, dict) else None
    return bool(
        isinstance(deployments, list)
        and deployments
        and all(isinstance(item, dict) and item.get("upstream") == "local" for item in deployments)
    )


def uses_local(config: Config) -> bool:
    """Whether any deployment asks for the built-in model, so that its process must be started."""
    return any(item.upstream == "local" for model in config.models.values() for item in model.deployments)


def with_local_url(config: Config, url: str) -> Config:
    """The configuration with ``url`` as base_url of every ``upstream: local`` deployment."""

    def placed(item: Deployment) -> Deployment:
        return item.model_copy(update={"base_url": url}) if item.upstream == "local" else item

    models = {
        name: model.model_copy(update={"deployments": [placed(item) for item in model.deployments]})
        for name, model in config.models.items()
    }
    return config.model_copy(update={"models": models})
