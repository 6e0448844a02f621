"""All arms of a configuration with what is known of each before anything was learned."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from policies.arms import Arm, Mode, arm_revision
from policies.policy import ArmFacts
from policies.prices import NANO, Price, nano_usd_per_mtok
from router.config.schema import Config, ModeConfig, ModelConfig, PriceConfig

ANSWER_TOKENS = 256
# What an effort is taken to spend on thinking until the log says better; LiteLLM's budgets for the same words.
THINKING_TOKENS = {"off": 0, "minimal": 128, "low": 1024, "medium": 2048, "high": 4096, "": 2048}


def arms_of(name: str, model: ModelConfig) -> Iterator[Arm]:
    """Arms of one model: a mode each, the reasoning mode once per effort."""
    for mode in model.modes:
        efforts = model.efforts if mode == "reasoning" and model.efforts else [""]
        for effort in efforts:
            yield Arm(model=name, mode=mode, effort=effort)


def arm_table(config: Config) -> dict[str, ArmFacts]:
    """Every arm by its name, in the order of the file."""
    return {
        arm.name: _facts(config, model, arm) for name, model in config.models.items() for arm in arms_of(name, model)
    }


def mode_config(config: Config, *, model: str, mode: Mode) -> ModeConfig:
    """How this model is asked in this mode: the model's own setting where it has one, else the shared one.

    Raises:
        KeyError: No such model.
    """
    shared, own = config.modes.get(mode, ModeConfig()), config.models[model].mode_overrides.get(mode)
    return shared if own is None else shared.model_copy(update=own.model_dump(exclude_unset=True))


def price_of(price: PriceConfig | None) -> Price | None:
    """The price as integers; None stays unknown."""
    if price is None:
        return None

    def part(usd: float | None) -> int | None:
        return None if usd is None else nano_usd_per_mtok(usd)

    return Price(
        input=nano_usd_per_mtok(price.input),
        output=nano_usd_per_mtok(price.output),
        cached_input=part(price.cached_input),
        cache_write=part(price.cache_write),
        reasoning=part(price.reasoning),
        cache_write_1h=part(price.cache_write_1h),
        audio_input=part(price.audio_input),
        audio_output=part(price.audio_output),
        gpu_second=round(price.usd_per_gpu_second * NANO),
    )


def effective_prices(config: Config) -> dict[str, Price | None]:
    """What each model costs, None where nobody said; `policies.prices.prices_version` of it names the whole."""
    return {name: price_of(model.price) for name, model in config.models.items()}


def most_seconds(model: ModelConfig) -> float:
    """Seconds after which any attempt at this model is given up."""
    return max((item.timeouts or model.timeouts).total_s for item in model.deployments)


def _facts(config: Config, model: ModelConfig, arm: Arm) -> ArmFacts:
    asked = mode_config(config, model=arm.model, mode=arm.mode)
    return ArmFacts(
        arm=arm,
        price=price_of(model.price),
        output_tokens=_output_tokens(model, asked, arm),
        first_token_s=model.first_token_s,
        tokens_per_s=model.tokens_per_s,
        revision=_revision(model, asked, arm),
    )


def _output_tokens(model: ModelConfig, asked: ModeConfig, arm: Arm) -> int:
    thinking = 0
    if arm.mode == "reasoning":
        thinking = int(arm.effort) if arm.effort.isdecimal() else THINKING_TOKENS[arm.effort]
    return min(ANSWER_TOKENS + thinking, asked.max_tokens or model.max_output_tokens, model.max_output_tokens)


def _revision(model: ModelConfig, asked: ModeConfig, arm: Arm) -> str:
    providers = sorted(
        {f"{item.upstream} {_host(item.base_url) if item.upstream == 'openai' else ''}" for item in model.deployments}
    )
    served = sorted({item.model or arm.model for item in model.deployments})
    parameters = {
        "mode": arm.mode,
        "effort": arm.effort,
        "options": arm.options,
        "thinking": model.thinking,
        "asked": asked.model_dump(exclude_none=True),
    }
    return arm_revision(" | ".join(providers), " | ".join(served), parameters)


def _host(base_url: str | None) -> str:
    return urlsplit(base_url or "").netloc
