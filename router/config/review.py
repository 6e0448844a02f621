"""What is allowed but probably not meant: warnings about a valid configuration, and what its arms would cost."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from policies.policy import ArmFacts
from policies.prices import NANO, Usage, cost_nano_usd
from router.config.arms import arm_table
from router.config.price_table import NoSuchPrice, entries_of, price_in, read_table, unheard_tiers
from router.config.problems import Problem, listed
from router.config.schema import Config, ModelConfig

TYPICAL_INPUT_TOKENS = 400  # with the arm's own expected output: what "a typical request" means in the price table


@dataclass(frozen=True, slots=True)
class ArmRow:
    """One line of the price table; ``usd_per_1k`` is None when the model has no price."""

    arm: str
    usd_per_1k: float | None
    output_tokens: int
    revision: str


def arm_rows(config: Config) -> list[ArmRow]:
    """Every arm with the USD that a thousand typical requests would cost."""
    return [
        ArmRow(name, _usd_per_1k(facts), facts.output_tokens, facts.revision)
        for name, facts in arm_table(config).items()
    ]


def _usd_per_1k(facts: ArmFacts) -> float | None:
    if facts.price is None:
        return None
    seconds = facts.seconds_of(facts.output_tokens)
    usage = Usage(input=TYPICAL_INPUT_TOKENS, output=facts.output_tokens, gpu_us=round(seconds * 1e6))
    return 1000 * cost_nano_usd(usage, facts.price) / NANO


def warnings_of(config: Config) -> Iterator[Problem]:
    """Everything `check` warns about that the configuration alone shows."""
    yield from _tenants(config)
    if config.policy.online.enabled and config.tenants and not any(t.training for t in config.tenants.values()):
        remedy = "set training: true for a tenant whose feedback may be learned from"
        yield Problem(("policy", "online"), f"nothing will be learned: every tenant has training: false; {remedy}")
    if config.policy.online.trials and config.policy.online.explore_share == 0:
        remedy = "set it to 0.05, say, or remove the trials"
        yield Problem(
            ("policy", "online", "explore_share"), f"0: arms on trial get no traffic to try them on; {remedy}"
        )
    for name, model in config.models.items():
        yield from _price(name, model)
    yield from unheard_tiers(config.models)
    if len(arm_table(config)) == 1:
        yield Problem(("models",), "one arm only: there is nothing to choose between, and nothing will be learned")
    yield from _files(config)


def _tenants(config: Config) -> Iterator[Problem]:
    owners = {tenant.organisation for tenant in config.tenants.values()}
    for name in config.organisations.keys() - owners:
        about = "no tenant of this file belongs to it; its budgets bind only tenants kept in the store, if any names it"
        yield Problem(("organisations", name), about)
    any_key = any(tenant.keys for tenant in config.tenants.values())
    for name, tenant in config.tenants.items():
        if tenant.explore == 0:
            remedy = "set it to 0.02, say, to be able to compare policies on the log"
            yield Problem(("tenants", name, "explore"), f"0: nothing can be evaluated off-policy; {remedy}")
        if tenant.store_prompts and tenant.retention_days is None:
            yield Problem(("tenants", name, "store_prompts"), "prompts are kept for ever; set retention_days to a term")
        if any_key and not tenant.keys:
            yield Problem(
                ("tenants", name, "keys"), "none, while other tenants have keys: nobody can act as this tenant"
            )
    keyless = [name for name, tenant in config.tenants.items() if not tenant.keys]
    if not any_key and len(keyless) > 1:
        yield Problem(("tenants",), f"without keys only the first is ever used ({keyless[0]}); give the others keys")


def _price(name: str, model: ModelConfig) -> Iterator[Problem]:
    if model.price is not None:
        return
    known = _in_table(name, model)
    about = f"litellm's table has {known}; " if known else ""
    remedy = "set it (USD per million tokens), or {input: 0, output: 0} if it is free"
    yield Problem(
        ("models", name, "price"), f"unknown: costs are not counted, and no trade-off applies; {about}{remedy}"
    )


def _in_table(name: str, model: ModelConfig) -> str:
    """The price in the table of an installed litellm, as it would stand in YAML; empty if there is none."""
    try:
        table = read_table()
    except NoSuchPrice:
        return ""
    for entry in entries_of(name, model.model_dump()):
        for key in (entry, entry.rpartition("/")[2]):
            with contextlib.suppress(NoSuchPrice):
                usd = price_in(table, key)
                return f"{{input: {usd['input']:g}, output: {usd['output']:g}}} (price: {{litellm: {key}}})"
    return ""


def _files(config: Config) -> Iterator[Problem]:
    artifact = config.policy.artifact
    if artifact is not None and not Path(artifact).expanduser().is_dir():
        yield Problem(("policy", "artifact"), f"no directory {artifact!r} here; train one, or correct the path")


def encoder_warnings(config: Config) -> Iterator[Problem]:
    """Whether the encoder's files are there; opens it, which takes half a second."""
    from policies.encoders.base import EncoderUnavailable
    from policies.encoders.load import load_encoder

    try:
        load_encoder(config.encoder.name, source=config.encoder.source)
    except EncoderUnavailable as error:
        yield Problem(("encoder", "name"), f"{config.encoder.name} cannot be opened yet: {error}")


def artifact_errors(config: Config) -> Iterator[Problem]:
    """Why the artifact that is there would not serve with this encoder and these arms; opens both."""
    from policies.encoders.base import EncoderError
    from policies.encoders.load import load_encoder
    from policies.errors import PolicyError
    from policies.registry import load_policy

    artifact = config.policy.artifact
    if artifact is None or not Path(artifact).expanduser().is_dir():
        return
    try:
        encoder = load_encoder(config.encoder.name, source=config.encoder.source)
        load_policy(config.policy, list(arm_table(config).values()), encoder)
    except EncoderError:
        return  # `encoder_warnings` tells of it; without an encoder there is nothing to compare
    except PolicyError as error:
        yield Problem(("policy", "artifact"), str(error).removeprefix("policy.artifact: "))


def local_warnings(config: Config) -> Iterator[Problem]:
    """Whether the packages of the built-in model are there, if it is used."""
    from router.local_model_server import LocalModelMissing, find_weights

    names = [n for n, m in config.models.items() if any(item.upstream == "local" for item in m.deployments)]
    if not names:
        return
    try:
        find_weights()
    except LocalModelMissing as error:
        yield Problem(("models", listed(names)), str(error))
