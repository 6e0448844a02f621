"""Budgets in the configuration: what they mean for a tenant, and each mistake with its key path."""

from typing import Any

import pytest
from rig import Json, config_of, tree

from router.config.budgets import outage_holds, windows_of
from router.config.problems import ConfigError
from router.store.ledger import Hold

DAY = {"per": "day", "usd": 5.0}


def problems(**more: Any) -> str:
    with pytest.raises(ConfigError) as error:
        config_of(tree(**more))
    return str(error.value)


def of_tenant(**keys: Any) -> Json:
    return {"t": {**keys}}


def test_a_tenant_is_bound_by_its_own_windows_and_its_organisations() -> None:
    organisations = {"acme": {"budgets": [{"per": "month", "usd": 100}]}}
    config = config_of(tree(tenants=of_tenant(organisation="acme", budgets=[DAY]), organisations=organisations))
    windows = windows_of(config, "t", config.tenants["t"])
    assert [(each.account, each.per, each.limit) for each in windows] == [
        ("t1:t", "day", 5_000_000_000),
        ("o", "month", 100_000_000_000),
    ]


def test_what_is_set_aside_for_an_outage_is_reserved_in_all_windows_of_its_tenant() -> None:
    organisations = {"acme": {"budgets": [{"per": "month", "usd": 100}]}}
    tenants = {"u": {"budgets": [DAY]}, **of_tenant(organisation="acme", outage_usd=0.5)}
    config = config_of(tree(tenants=tenants, organisations=organisations))
    windows = windows_of(config, "t", config.tenants["t"])
    assert outage_holds(config) == {("acme", "t"): Hold(500_000_000, windows)}
    assert [each.account for each in windows] == ["o"]


@pytest.mark.parametrize(
    ("more", "path", "reason"),
    [
        ({"tenants": of_tenant(budgets=[{"per": "dya", "usd": 1}])}, "tenants.t.budgets[0].per", "hour"),
        ({"tenants": {"t\n": {}}}, "tenants.t", "printable"),
        ({"tenants": of_tenant(organisation="a\tb")}, "tenants.t.organisation", "printable"),
        (
            {"tenants": of_tenant(budgets=[{"per": "day", "usd": 9_000_001}])},
            "tenants.t.budgets[0].usd",
            "at most 9e+06",
        ),
        ({"tenants": of_tenant(budgets=[{"per": "day", "usd": 0}])}, "tenants.t.budgets[0].usd", "0"),
        ({"tenants": of_tenant(budgets=[DAY, DAY])}, "tenants.t.budgets[1].per", "keep one"),
        ({"tenants": of_tenant(when_spent="local")}, "tenants.t.when_spent", "has no effect without budgets"),
        ({"tenants": of_tenant(budgets=[DAY], when_spent="local")}, "tenants.t.when_spent", "free or local"),
        ({"tenants": of_tenant(outage_usd=1)}, "tenants.t.outage_usd", "has no effect without a budget"),
        ({"tenants": of_tenant(budgets=[DAY], outage_usd=0)}, "tenants.t.outage_usd", "0"),
        (
            {"tenants": of_tenant(budgets=[DAY], outage_usd=6)},
            "tenants.t.outage_usd",
            "6 USD are more than the budget of tenant 't', 5 USD per day, which every worker sets them aside from",
        ),
        (
            {
                "tenants": of_tenant(organisation="acme", budgets=[DAY], outage_usd=5),
                "organisations": {"acme": {"budgets": [{"per": "hour", "usd": 4}]}},
            },
            "tenants.t.outage_usd",
            "the budget of organisation 'acme', 4 USD per hour",
        ),
        (
            {"tenants": of_tenant(organisation="acme"), "organisations": {"acne": {"budgets": [DAY]}}},
            "organisations.acne",
            "no tenant belongs to this organisation (did you mean 'acme'?)",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place(more: Json, path: str, reason: str) -> None:
    told = problems(**more)
    assert path in told
    assert reason in told


def test_a_budget_without_any_price_is_a_mistake() -> None:
    plain = tree(tenants=of_tenant(budgets=[DAY]))
    for model in plain["models"].values():
        del model["price"]
    with pytest.raises(ConfigError, match=r"tenants\.t\.budgets: no model this tenant may use has a price"):
        config_of(plain)
