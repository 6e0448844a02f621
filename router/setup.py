"""A validated configuration made ready to serve: immutable, swapped whole on SIGHUP, kept by requests in flight."""

from collections.abc import Mapping
from dataclasses import dataclass

from policies.policy import ArmFacts, Policy
from policies.prices import expected_output_price, prices_version
from policies.tradeoff import TradeOff
from router.config.arms import effective_prices, mode_config
from router.config.schema import Config, ModeConfig
from router.eligible import Candidate
from router.targets import virtual_models
from router.tenants import Tenants
from router.upstreams.dispatch import Deployments


@dataclass(frozen=True, slots=True)
class Setup:
    """What one configuration means.

    Attributes:
        arms: Every arm by name, cheapest first.
        standing_for: Registered model -> name of the arm that stands for it when a client names only the model.
        fallback: Name of the arm that answers when routing fails or is late.
        policy_label: ``name@version``, as logged and shown.
        policy_series: The same without what was learned while serving: the series' label, of which there are few.
        asking: How each arm's mode asks, by arm name.
        prices: Version of the prices in force, `policies.prices.prices_version` of the models' own.
    """

    config: Config
    config_hash: str
    arms: Mapping[str, ArmFacts]
    candidates: tuple[Candidate, ...]
    standing_for: Mapping[str, str]
    trade_offs: Mapping[str, TradeOff]
    tenants: Tenants
    policy: Policy
    policy_label: str
    policy_series: str
    encoder_id: str
    fallback: str
    deployments: Deployments
    asking: Mapping[str, ModeConfig]
    virtual: tuple[str, ...]
    prices: str


def _price_order(facts: ArmFacts) -> tuple[float, str]:
    price = facts.price
    # An unknown price comes last: it is never assumed to be cheap.
    if price is None:
        return float("inf"), facts.name
    per_output = expected_output_price(price, tokens_per_s=facts.tokens_per_s)
    return price.input + per_output * facts.output_tokens, facts.name


def build_setup(
    config: Config,
    *,
    config_hash: str,
    arms: Mapping[str, ArmFacts],
    trade_offs: Mapping[str, TradeOff],
    policy: Policy,
    encoder_id: str,
    deployments: Deployments,
    secret: bytes,
) -> Setup:
    """Wire one configuration; every part of it has been validated before."""
    ordered = {facts.name: facts for facts in sorted(arms.values(), key=_price_order)}
    modes = sorted({facts.mode for facts in ordered.values()})
    return Setup(
        config=config,
        config_hash=config_hash,
        arms=ordered,
        candidates=tuple(Candidate(facts, config.models[facts.arm.model]) for facts in ordered.values()),
        standing_for={facts.arm.model: facts.name for facts in reversed(ordered.values())},
        trade_offs=trade_offs,
        tenants=Tenants(config, secret),
        policy=policy,
        policy_label=f"{policy.name}@{policy.version}",
        policy_series=f"{policy.name}@{policy.version}",
        encoder_id=encoder_id,
        fallback=config.policy.fallback or next(iter(ordered)),
        deployments=deployments,
        asking={n: mode_config(config, model=f.arm.model, mode=f.mode) for n, f in ordered.items()},
        virtual=tuple(virtual_models(trade_offs, modes)),
        prices=prices_version(effective_prices(config)),
    )
