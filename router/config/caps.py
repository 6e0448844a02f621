"""Caps of the configuration: what binds a request of a tenant and key, and the mistakes no single field shows.

Organisation, tenant and key bind together: of lists the intersection is allowed, and every limit has to have room.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from router.config.problems import Path, Problem, did_you_mean, listed
from router.config.schema import Caps, Config, ModelConfig, Tenant
from router.store.ledger import ORGANISATION_ACCOUNT, tenant_account
from router.store.limits import MILLIONTHS, Limit, key_account

_KEY_ID = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class Allowed:
    """What may answer; None allows all.

    Attributes:
        regions: Where a prompt may go, beside this gateway's own processes; empty: nowhere else.
    """

    models: frozenset[str] | None = None
    modes: frozenset[str] | None = None
    regions: frozenset[str] | None = None


ALL_ALLOWED = Allowed()


def allowed_of(config: Config, tenant: Tenant, *, key_id: str = "") -> Allowed:
    """What organisation, tenant and key allow together."""
    caps = [each for _, _, each in _binding(config, "", tenant, key_id)]
    return Allowed(
        models=_together(each.models for each in caps),
        modes=_together(each.modes for each in caps),
        regions=_together(allowed_regions(each) for each in caps),
    )


def limits_of(config: Config, name: str, tenant: Tenant, *, key_id: str = "") -> tuple[Limit, ...]:
    """Every limit that a request of this tenant, made with this key, is counted by."""
    limits = (_limit(account, owner, each) for account, owner, each in _binding(config, name, tenant, key_id))
    return tuple(each for each in limits if each.requests or each.tokens or each.concurrency or each.shares)


def allowed_regions(caps: Caps) -> list[str] | None:
    """`residency: local` allows no region but those that are named."""
    return [] if caps.regions is None and caps.residency == "local" else caps.regions


def is_within(model: ModelConfig, regions: Collection[str] | None) -> bool:
    """Whether a prompt to this model stays in the regions: every deployment does, since any may be called."""
    if regions is None:
        return True
    return all(each.upstream == "local" or (each.region or "") in regions for each in model.deployments)


def _binding(config: Config, name: str, tenant: Tenant, key_id: str) -> Iterator[tuple[str, str, Caps]]:
    """(account, owner for people, caps) of all that binds."""
    yield tenant_account(name), f"tenant {name!r}", tenant
    if key_id in tenant.key_caps:
        yield key_account(key_id), f"key {key_id} of tenant {name!r}", tenant.key_caps[key_id]
    if tenant.organisation in config.organisations:
        owner = f"organisation {tenant.organisation!r}"
        yield ORGANISATION_ACCOUNT, owner, config.organisations[tenant.organisation]


def _limit(account: str, owner: str, caps: Caps) -> Limit:
    return Limit(
        account,
        owner,
        requests=caps.requests_per_minute,
        tokens=caps.tokens_per_minute,
        concurrency=caps.concurrency,
        shares=tuple((mode, round(share * MILLIONTHS)) for mode, share in caps.mode_shares.items()),
        share_window_s=caps.share_window_s,
    )


def _together(lists: Iterable[Iterable[str] | None]) -> frozenset[str] | None:
    sets = [frozenset(names) for names in lists if names is not None]
    return frozenset.intersection(*sets) if sets else None


def cap_problems(config: Config) -> Iterator[Problem]:
    """Names and regions nobody has, keys that cannot be meant, and caps that together leave no arm."""
    for name, organisation in config.organisations.items():
        yield from _lists(("organisations", name), organisation, config)
    for name, tenant in config.tenants.items():
        yield from caps_of(config, name, tenant)


def caps_of(config: Config, name: str, tenant: Tenant) -> Iterator[Problem]:
    """One tenant's mistakes of this kind."""
    path: Path = ("tenants", name)
    misplaced = list(_regions(path, tenant, config))
    yield from misplaced
    if not misplaced and tenant.models != [] and _offers_some(tenant, config):  # else it is told already
        yield from _leaves_an_arm(path, allowed_of(config, tenant), config)
    for key_id, caps in tenant.key_caps.items():
        key_path: Path = (*path, "key_caps", key_id)
        if not _KEY_ID.fullmatch(key_id):
            yield Problem(key_path, "expected a key's id, 8 hex digits: the log shows it as key_id")
        mistaken = list(_lists(key_path, caps, config))
        yield from mistaken or _leaves_an_arm(key_path, allowed_of(config, tenant, key_id=key_id), config)


def _lists(path: Path, caps: Caps, config: Config) -> Iterator[Problem]:
    """Of an organisation or a key; a tenant's models and modes are looked at with the rest of it."""
    for index, model in enumerate(caps.models or ()):
        if model not in config.models:
            hint = did_you_mean(model, config.models)
            message = f"no such model; got {model!r}{hint}; models: {listed(config.models)}"
            yield Problem((*path, "models", index), message)
    for field in ("models", "modes"):
        if getattr(caps, field) == []:
            yield Problem((*path, field), f"an empty list allows nothing; name {field}, or remove the key to allow all")
    yield from _regions(path, caps, config)


def _regions(path: Path, caps: Caps, config: Config) -> Iterator[Problem]:
    known = sorted({item.region for model in config.models.values() for item in model.deployments if item.region})
    for index, region in enumerate(caps.regions or ()):
        if region not in known:
            message = f"no deployment declares this region; got {region!r}{did_you_mean(region, known)}"
            yield Problem((*path, "regions", index), f"{message}; regions: {listed(known)}")


def _leaves_an_arm(path: Path, allowed: Allowed, config: Config) -> Iterator[Problem]:
    listed_models = [name for name in config.models if allowed.models is None or name in allowed.models]
    fitting = [name for name in listed_models if is_within(config.models[name], allowed.regions)]
    if listed_models and not fitting:
        where = f"the regions {listed(sorted(allowed.regions or ()))}" if allowed.regions else "this gateway"
        remedy = "set deployments[].region where it is true, add a model with upstream: local, or allow more"
        yield Problem(
            path, f"no allowed model stays in {where} with all its deployments, so nothing could answer; {remedy}"
        )
    elif fitting and not any(_offers(config.models[name], allowed) for name in fitting):
        yield Problem(path, "no allowed model offers an allowed mode, organisation, tenant and key taken together")
    elif not listed_models and allowed.models is not None and allowed.models <= config.models.keys():
        yield Problem(path, "the models of organisation, tenant and key have none in common, so nothing could answer")


def _offers_some(tenant: Tenant, config: Config) -> bool:
    own = Allowed(modes=_together([tenant.modes]))
    return any(_offers(config.models[name], own) for name in tenant.models or config.models if name in config.models)


def _offers(model: ModelConfig, allowed: Allowed) -> bool:
    return allowed.modes is None or any(mode in allowed.modes for mode in model.modes)
