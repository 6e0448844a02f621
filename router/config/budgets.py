"""Budgets of the configuration: the windows they mean for a tenant, and the mistakes no single field shows."""

from collections.abc import Iterable, Iterator
from dataclasses import astuple

from policies.prices import NANO
from router.config.arms import price_of
from router.config.problems import Path, Problem, did_you_mean, listed
from router.config.schema import Budget, Config, ModelConfig, Tenant
from router.store.ledger import ORGANISATION_ACCOUNT, Hold, Window, tenant_account


def windows_of(config: Config, name: str, tenant: Tenant) -> tuple[Window, ...]:
    """Every window that a request of this tenant must fit: its own and its organisation's."""
    organisation = config.organisations.get(tenant.organisation)
    shared = organisation.budgets if organisation is not None else ()
    return (
        *_windows(tenant.budgets, account=tenant_account(name), owner=f"tenant {name!r}"),
        *_windows(shared, account=ORGANISATION_ACCOUNT, owner=f"organisation {tenant.organisation!r}"),
    )


def _windows(budgets: Iterable[Budget], *, account: str, owner: str) -> Iterable[Window]:
    return (Window(account, each.per, round(each.usd * NANO), owner, each.pace) for each in budgets)


def all_windows(config: Config) -> list[tuple[str, Window]]:
    """Every budget once, with the organisation among whose keys its windows are."""
    owned = [(each.organisation, w) for name, each in config.tenants.items() for w in windows_of(config, name, each)]
    return list(dict.fromkeys(owned))


def outage_holds(config: Config) -> dict[tuple[str, str], Hold]:
    """By organisation and tenant, what each worker keeps reserved to spend while the store is down."""
    return {
        (tenant.organisation, name): Hold(round(tenant.outage_usd * NANO), windows_of(config, name, tenant))
        for name, tenant in config.tenants.items()
        if tenant.outage_usd is not None
    }


def is_free(model: ModelConfig) -> bool:
    """Whether its price is declared and nothing of it costs anything."""
    price = price_of(model.price)
    return price is not None and not any(astuple(price))


def is_local(model: ModelConfig) -> bool:
    """Whether all its deployments are processes of this gateway."""
    return all(each.upstream == "local" for each in model.deployments)


def budget_problems(config: Config) -> Iterator[Problem]:
    """Windows named twice, owners nobody belongs to, and budgets under which no request could ever be answered."""
    for place, owner in _names(config):
        if not owner.isprintable():
            yield Problem(place, "a name holds printable characters alone: budgets and leases are lines in the store")
    if config.alerts.webhook is not None and not all_windows(config):
        yield Problem(("alerts", "webhook"), "has no effect without budgets; add budgets or remove this key")
    owners = sorted({tenant.organisation for tenant in config.tenants.values()})
    for name, organisation in config.organisations.items():
        yield from _repeated(("organisations", name, "budgets"), organisation.budgets)
        # One that no tenant of the file belongs to may be that of tenants kept in the store; a near name is a slip.
        if name not in owners and (hint := did_you_mean(name, owners)):
            message = f"no tenant belongs to this organisation{hint}; organisations: {listed(owners)}"
            yield Problem(("organisations", name), message)
    for name, tenant in config.tenants.items():
        yield from budgets_of(config, name, tenant)


def budgets_of(config: Config, name: str, tenant: Tenant) -> Iterator[Problem]:
    """One tenant's mistakes of this kind."""
    path: Path = ("tenants", name)
    windows = windows_of(config, name, tenant)
    yield from _repeated((*path, "budgets"), tenant.budgets)
    yield from _answerable(path, tenant, config=config, budgeted=bool(windows))
    if tenant.outage_usd is not None:
        yield from _in_advance((*path, "outage_usd"), tenant.outage_usd, windows)


def _in_advance(path: Path, usd: float, windows: tuple[Window, ...]) -> Iterator[Problem]:
    if not windows:
        yield Problem(path, "has no effect without a budget of the tenant or its organisation; add one or remove this")
    for window in windows:
        if usd * NANO > window.limit:
            limit = f"the budget of {window.owner}, {window.limit / NANO:g} USD per {window.per}"
            yield Problem(path, f"{usd:g} USD are more than {limit}, which every worker sets them aside from; lower it")


def _names(config: Config) -> Iterator[tuple[Path, str]]:
    for name, tenant in config.tenants.items():
        yield ("tenants", name), name
        yield ("tenants", name, "organisation"), tenant.organisation


def _repeated(path: Path, budgets: list[Budget]) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, budget in enumerate(budgets):
        if budget.per in seen:
            yield Problem((*path, index, "per"), f"a budget per {budget.per} stands above already; keep one")
        seen.add(budget.per)


def _answerable(path: Path, tenant: Tenant, *, config: Config, budgeted: bool) -> Iterator[Problem]:
    if not budgeted:
        if tenant.when_spent != "reject":
            yield Problem((*path, "when_spent"), "has no effect without budgets; add budgets or remove this key")
        return
    allowed = [config.models[name] for name in tenant.models or config.models if name in config.models]
    if not allowed:
        return  # told elsewhere
    if all(model.price is None for model in allowed):
        yield Problem(
            (*path, "budgets"),
            "no model this tenant may use has a price, and an unknown price is not spent from a budget; "
            "set models.<name>.price, {input: 0, output: 0} for a free one",
        )
    elif tenant.when_spent == "local" and not any(
        model.price is not None and (is_free(model) or is_local(model)) for model in allowed
    ):
        yield Problem(
            (*path, "when_spent"),
            "no model this tenant may use is free or local; add one, or set when_spent to reject or cheapest",
        )
