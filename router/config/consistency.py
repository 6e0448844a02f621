"""Mistakes no single field can show: names that must exist, settings that exclude or need each other."""

import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.metadata import entry_points

from policies.arms import MODES, ArmSyntaxError, parse_arm
from policies.encoders.load import BUILT_IN as ENCODERS
from policies.errors import PolicyError
from policies.registry import BUILT_IN as POLICIES
from policies.settings import Condition
from policies.zoo.conditions import condition
from router.config import names
from router.config.admin import admin_problems
from router.config.arms import arms_of
from router.config.budgets import budget_problems, budgets_of
from router.config.caps import cap_problems, caps_of
from router.config.problems import Path, Problem, did_you_mean, listed
from router.config.schema import Config, Deployment, ModelConfig, PolicyConfig, Tenant

UNLEARNED = ("static", "uniform", "rules")  # every other built-in policy serves an artifact


@dataclass(frozen=True, slots=True)
class Known:
    """Names that may be referred to, taken from the file itself: an entry with a mistake inside still exists.

    Attributes:
        models: Registered names.
        doubtful: Those whose arms cannot be told, since their modes or efforts are mistaken.
        trade_offs: Declared names and the built-in ones.
        unset: Places of secrets that have no value, reported already.
    """

    models: Collection[str]
    doubtful: Collection[str]
    trade_offs: Collection[str]
    unset: Collection[Path]


def inconsistencies(config: Config, known: Known) -> Iterator[Problem]:
    """Every problem that shows only when the parts are seen together."""
    for name, model in config.models.items():
        yield from _model(name, model)
    for mode, asked in config.modes.items():
        if asked.effort is not None:
            yield from names.effort(("modes", mode, "effort"), asked.effort)
    yield from _policy(config, known)
    for name, tenant in config.tenants.items():
        yield from _tenant(name, tenant, known=known, models=config.models)
        if tenant.reference is not None:
            yield from _arm(("tenants", name, "reference"), tenant.reference, config=config, known=known)
    yield from _repeated_keys(config, known)
    yield from budget_problems(config)
    yield from cap_problems(config)
    yield from exposure(config)
    yield from admin_problems(config) if ("admin", "key") not in known.unset else ()
    yield from names.store_url(config.store.url) if ("store", "url") not in known.unset else ()
    for name in config.trade_offs:
        if name in MODES or not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            message = "is asked for as auto:<name>; name it with letters, digits, _ and -, and not as a mode is named"
            yield Problem(("trade_offs", name), message)
    for metric, (low, high) in config.feedback.items():
        if low >= high:
            yield Problem(("feedback", metric), f"expected [low, high] with low < high, got [{low:g}, {high:g}]")


def _model(name: str, model: ModelConfig) -> Iterator[Problem]:
    path: Path = ("models", name)
    yield from names.model_name(path, name)
    if "agentic" in model.modes:
        reason = (
            "agentic is not offered yet: no tool loop runs in this version, so it would answer like instant; remove it"
        )
        yield Problem((*path, "modes", model.modes.index("agentic")), reason)
    if model.efforts and "reasoning" not in model.modes:
        yield Problem(
            (*path, "efforts"), "has no effect without the reasoning mode; add reasoning to modes or remove efforts"
        )
    if "reasoning" in model.modes and model.thinking == "none":
        remedy = "set thinking to reasoning_effort, chat_template_kwargs, budget_tokens or prompt"
        yield Problem(
            (*path, "thinking"), f"the reasoning mode would ask exactly as instant does; {remedy}, or remove the mode"
        )
    if model.max_output_tokens > model.context_tokens:
        sizes = f"{model.max_output_tokens} exceeds context_tokens ({model.context_tokens})"
        yield Problem((*path, "max_output_tokens"), f"{sizes}; an answer must fit the context, lower it")
    for index, effort in enumerate(model.efforts):
        yield from names.effort((*path, "efforts", index), effort)
    for mode, asked in model.mode_overrides.items():
        if asked.effort is not None:
            yield from names.effort((*path, "mode_overrides", mode, "effort"), asked.effort)
    for field, values in (("modes", model.modes), ("efforts", model.efforts), ("capabilities", model.capabilities)):
        for value in _repeated(values):
            yield Problem((*path, field), f"{value!r} stands in it twice; keep one")
    for index, item in enumerate(model.deployments):
        yield from _deployment((*path, "deployments", index), item, name=name)


def _deployment(path: Path, item: Deployment, *, name: str) -> Iterator[Problem]:
    if item.upstream == "openai" and not item.base_url:
        yield Problem((*path, "base_url"), "required for upstream openai, e.g. https://api.openai.com/v1")
    if item.upstream == "local":
        for field in ("base_url", "api_key", "model"):
            if getattr(item, field) is not None:
                yield Problem(
                    (*path, field), "upstream local is started and addressed by the gateway itself; remove this key"
                )
    elif item.base_url:
        check = names.script_url if item.upstream == "fake" else names.base_url
        yield from check((*path, "base_url"), item.base_url)
    if item.upstream == "litellm" and "/" not in (item.model or name):
        yield Problem((*path, "model"), "upstream litellm needs provider/model, e.g. anthropic/claude-sonnet-4-5")
    for header, value in item.headers.items():
        yield from names.header((*path, "headers", header), header, value)


def _policy(config: Config, known: Known) -> Iterator[Problem]:
    policy = config.policy
    yield from _registered(("policy", "name"), policy.name, kind="policies", built_in=tuple(POLICIES))
    yield from _registered(("encoder", "name"), config.encoder.name, kind="encoders", built_in=tuple(ENCODERS))
    learned = policy.name in POLICIES and policy.name not in UNLEARNED
    for needed, field in ((policy.name == "static", "arm"), (learned, "artifact")):
        if needed and getattr(policy, field) is None:
            yield Problem(("policy", field), f"required by the policy {policy.name!r}")
    for field in ("arm", "fallback"):
        text = getattr(policy, field)
        if text is not None:
            yield from _arm(("policy", field), text, config=config, known=known)
    yield from _rules(policy, config, known)
    yield from _online(config, known)


def _online(config: Config, known: Known) -> Iterator[Problem]:
    policy, online = config.policy, config.policy.online
    if online.enabled and policy.name != "default":
        about = f"only the policy 'default' learns while it serves; got {policy.name!r}"
        yield Problem(("policy", "online", "enabled"), f"{about}; set policy.name to default, or remove this key")
    for arm in online.trials:
        yield from _trial(arm, config=config, known=known)
    for metric in online.metrics or ():
        if metric not in config.feedback:
            hint = did_you_mean(metric, config.feedback)
            message = f"no such metric; got {metric!r}{hint}; feedback has: {listed(config.feedback)}"
            yield Problem(("policy", "online", "metrics", metric), message)


def _trial(arm: str, *, config: Config, known: Known) -> Iterator[Problem]:
    path: Path = ("policy", "online", "trials", arm)
    yield from _arm(path, arm, config=config, known=known)
    for name, model in config.models.items():
        if model.price is None and arm in [offered.name for offered in arms_of(name, model)]:
            remedy = f"set models.{name}.price, {{input: 0, output: 0}} if it is free"
            yield Problem(path, f"a trial ends when its money is spent, and {name!r} has no price; {remedy}")


def _registered(path: Path, name: str, *, kind: str, built_in: tuple[str, ...]) -> Iterator[Problem]:
    known = sorted({*built_in, *entry_points(group=f"gearshift.{kind}").names})
    if name not in known:
        yield Problem(path, f"expected one of {listed(known)}; got {name!r}{did_you_mean(name, known)}")


def _arm(path: Path, text: str, *, config: Config, known: Known) -> Iterator[Problem]:
    offered = _arm_names(config)
    if text in offered or any(text.startswith(f"{name}/") for name in known.doubtful):
        return
    try:
        parse_arm(text, known.models)
    except ArmSyntaxError:
        about = "expected an arm, written model/mode[:effort]"
    else:
        about = "no model of this file offers this arm"
    yield Problem(path, f"{about}; got {text!r}{did_you_mean(text, offered)}; arms: {_some(offered)}")


def _rules(policy: PolicyConfig, config: Config, known: Known) -> Iterator[Problem]:
    offered = _arm_names(config)
    for number, rule in enumerate(policy.rules):
        for key, value in rule.when.items():
            yield from _condition(("policy", "rules", number, "when", key), key, value)
        if not rule.prefer:
            yield Problem(
                ("policy", "rules", number, "prefer"), "expected at least one arm or pattern, e.g. '*/reasoning*'"
            )
        if known.doubtful:
            continue
        for index, pattern in enumerate(rule.prefer):
            if not any(fnmatchcase(name, pattern) for name in offered):
                path: Path = ("policy", "rules", number, "prefer", index)
                yield Problem(
                    path, f"matches no arm; got {pattern!r}{did_you_mean(pattern, offered)}; arms: {_some(offered)}"
                )


def _condition(path: Path, key: str, value: Condition) -> Iterator[Problem]:
    try:
        condition(key, value)
    except PolicyError as error:
        yield Problem(path, str(error))


def _arm_names(config: Config) -> list[str]:
    return [arm.name for name, model in config.models.items() for arm in arms_of(name, model)]


def _some(arms: list[str]) -> str:
    return listed(arms[:8]) + (f" and {len(arms) - 8} more" if len(arms) > 8 else "")


def _tenant(name: str, tenant: Tenant, *, known: Known, models: dict[str, ModelConfig]) -> Iterator[Problem]:
    path: Path = ("tenants", name)
    if tenant.trade_off not in known.trade_offs:
        hint = did_you_mean(tenant.trade_off, known.trade_offs)
        yield Problem(
            (*path, "trade_off"), f"expected one of {listed(known.trade_offs)}; got {tenant.trade_off!r}{hint}"
        )
    for index, model in enumerate(tenant.models or ()):
        if model not in known.models:
            hint = did_you_mean(model, known.models)
            message = f"no such model; got {model!r}{hint}; models: {listed(known.models)}"
            yield Problem((*path, "models", index), message)
    if tenant.models == []:
        yield Problem((*path, "models"), "an empty list allows nothing; name models, or remove the key to allow all")
    allowed = [models[model] for model in tenant.models or models if model in models]
    for index, mode in enumerate(tenant.modes or ()):
        if allowed and not any(mode in model.modes for model in allowed):
            yield Problem((*path, "modes", index), f"no model this tenant may use offers the mode {mode}; remove it")
    if tenant.modes == []:
        yield Problem((*path, "modes"), "an empty list allows nothing; name modes, or remove the key to allow all")
    for index, key in enumerate(tenant.keys):
        if (*path, "keys", index) not in known.unset:
            yield from names.tenant_key((*path, "keys", index), key)


def tenant_problems(config: Config, name: str, tenant: Tenant) -> Iterator[Problem]:
    """What keeps a tenant that the file does not name from being served as the rest of it says."""
    known = Known(models=tuple(config.models), doubtful=(), trade_offs=tuple(config.trade_offs), unset=())
    yield from _tenant(name, tenant, known=known, models=config.models)
    if tenant.reference is not None:
        yield from _arm(("tenants", name, "reference"), tenant.reference, config=config, known=known)
    yield from budgets_of(config, name, tenant)
    yield from caps_of(config, name, tenant)


def _repeated_keys(config: Config, known: Known) -> Iterator[Problem]:
    owners: dict[str, str] = {}
    for name, tenant in config.tenants.items():
        for index, key in enumerate(tenant.keys):
            path: Path = ("tenants", name, "keys", index)
            if path in known.unset:
                continue
            if key in owners:
                yield Problem(path, f"the same key belongs to tenant {owners[key]!r} already; give each tenant its own")
            owners.setdefault(key, name)


def exposure(config: Config) -> Iterator[Problem]:
    """A gateway that others can reach must ask for a key."""
    host, asks = config.server.host, config.server.require_key
    if not names.is_loopback(host) and not asks and not any(tenant.keys for tenant in config.tenants.values()):
        remedy = (
            "add a key to a tenant (tenants.<name>.keys: ['${MY_KEY}']), set server.require_key: true for keys that "
            "are kept in the store (gearshift keys create), or bind 127.0.0.1"
        )
        yield Problem(("server", "host"), f"{host!r} is open to others and no tenant has a key; {remedy}")


def _repeated(values: Collection[str]) -> list[str]:
    return [value for value, count in Counter(values).items() if count > 1]
