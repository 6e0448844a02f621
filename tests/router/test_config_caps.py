"""Caps in the configuration: what they mean together, and each mistake with its key path."""

from typing import Any

import pytest
from rig import Json, config_of, tree

from router.config.caps import allowed_of, limits_of
from router.config.problems import ConfigError
from router.store.limits import Limit

KEY = "0123abcd"


def placed(*, organisations: Json | None = None, local: bool = False, **tenant: Any) -> Json:
    """small is in eu, large says nothing of where it is."""
    plain = tree(tenants={"t": tenant}, organisations=organisations or {})
    plain["models"]["small"]["deployments"][0]["region"] = "eu"
    if local:
        plain["models"]["large"]["deployments"] = [{"upstream": "local"}]
    return plain


def problems(plain: Json) -> str:
    with pytest.raises(ConfigError) as error:
        config_of(plain)
    return str(error.value)


def test_tenant_key_and_organisation_each_have_their_limit() -> None:
    organisations = {"o": {"tokens_per_minute": 9, "mode_shares": {"reasoning": 0.2}, "share_window_s": 600}}
    caps = {KEY: {"concurrency": 2}}
    plain = placed(organisation="o", organisations=organisations, requests_per_minute=60, key_caps=caps)
    config = config_of(plain)
    tenant = config.tenants["t"]
    own = Limit("t1:t", "tenant 't'", requests=60)
    key = Limit(f"k:{KEY}", f"key {KEY} of tenant 't'", concurrency=2)
    shared = Limit("o", "organisation 'o'", tokens=9, shares=(("reasoning", 200_000),), share_window_s=600)
    assert limits_of(config, "t", tenant, key_id=KEY) == (own, key, shared)
    assert limits_of(config, "t", tenant, key_id="ffffffff") == (own, shared)


def test_without_caps_nothing_limits_and_all_is_allowed() -> None:
    config = config_of(placed())
    assert limits_of(config, "t", config.tenants["t"]) == ()
    allowed = allowed_of(config, config.tenants["t"])
    assert (allowed.models, allowed.modes, allowed.regions) == (None, None, None)


@pytest.mark.parametrize(
    ("tenant", "organisation", "regions"),
    [
        ({"regions": ["eu"]}, {}, {"eu"}),
        ({"residency": "local"}, {}, set()),
        ({"residency": "local", "regions": ["eu"]}, {}, {"eu"}),
        ({"regions": ["eu"]}, {"residency": "local"}, set()),
    ],
)
def test_residency_local_allows_no_region_that_is_not_named(
    tenant: Json, organisation: Json, regions: set[str]
) -> None:
    plain = placed(organisation="o", organisations={"o": organisation}, local=True, **tenant)
    config = config_of(plain)
    assert allowed_of(config, config.tenants["t"]).regions == regions


@pytest.mark.parametrize(
    ("tenant", "path", "reason"),
    [
        ({"requests_per_minute": 0}, "tenants.t.requests_per_minute", "at least 1"),
        ({"tokens_per_minute": 10**11}, "tenants.t.tokens_per_minute", "at most 1e+10"),
        ({"mode_shares": {"reasoning": 0}}, "tenants.t.mode_shares.reasoning", "above 0"),
        ({"mode_shares": {"thinking": 0.5}}, "tenants.t.mode_shares.thinking", "reasoning"),
        ({"share_window_s": 5}, "tenants.t.share_window_s", "at least 60"),
        ({"regions": ["ue"]}, "tenants.t.regions[0]", "got 'ue'; regions: eu"),
        ({"residency": "locl"}, "tenants.t.residency", "did you mean 'local'?"),
        ({"residency": "local"}, "tenants.t", "no allowed model stays in this gateway"),
        ({"models": ["large"], "regions": ["eu"]}, "tenants.t", "no allowed model stays in the regions eu"),
        ({"key_caps": {"my key": {}}}, "tenants.t.key_caps.my key", "8 hex digits"),
        ({"key_caps": {KEY: {"models": ["smal"]}}}, f"tenants.t.key_caps.{KEY}.models[0]", "did you mean 'small'?"),
        ({"key_caps": {KEY: {"modes": []}}}, f"tenants.t.key_caps.{KEY}.modes", "allows nothing"),
        ({"key_caps": {KEY: {"modes": ["reasoning"]}}}, f"tenants.t.key_caps.{KEY}", "no allowed model offers"),
        ({"models": ["large"], "key_caps": {KEY: {"models": ["small"]}}}, f"tenants.t.key_caps.{KEY}", "in common"),
        ({"key_caps": {KEY: {"budgets": []}}}, f"tenants.t.key_caps.{KEY}.budgets", "unknown key"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(tenant: Json, path: str, reason: str) -> None:
    told = problems(placed(**tenant))
    assert f"{path}: " in told
    assert reason in told


def test_an_organisations_lists_are_looked_at_too_and_all_at_once() -> None:
    organisations = {"o": {"models": ["none"], "regions": ["moon"], "modes": []}}
    told = problems(placed(organisation="o", organisations=organisations))
    for path in ("organisations.o.models[0]", "organisations.o.regions[0]", "organisations.o.modes"):
        assert f"{path}: " in told


def test_a_region_needs_every_deployment_of_the_model_to_be_there() -> None:
    plain = placed(models=["small"], regions=["eu"])
    plain["models"]["small"]["deployments"].append({"upstream": "fake"})
    assert "no allowed model stays in the regions eu with all its deployments" in problems(plain)
