"""Whatever the file and commands can say of a tenant, the admin API can: a new setting is in here by being there."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from admin_api import ADMIN_KEY, SECRET, Api
from commanding import run
from rig import config_of, tree

from router.commands.tenants import command as tenants
from router.config.schema import Caps, Tenant
from router.directory.directory import Directory
from router.tenants import Tenants

# A value other than the default for each setting, as JSON and YAML write it.
VALUES: dict[str, Any] = {
    "organisation": "globex",
    "trade_off": "cheap",
    "explore": 0.02,
    "key_caps": {"3f9c2a71": {"requests_per_minute": 60, "modes": ["instant"]}},
    "observe": True,
    "store_prompts": True,
    "retention_days": 30,
    "training": False,
    "reference": "small/instant",
    "budgets": [{"per": "day", "usd": 5.0, "pace": True}, {"per": "month", "usd": 50.0}],
    "when_spent": "cheapest",
    "outage_usd": 0.5,
    "requests_per_minute": 600,
    "tokens_per_minute": 200_000,
    "concurrency": 32,
    "models": ["small"],
    "modes": ["instant"],
    "regions": ["eu"],
    "residency": "local",
    "mode_shares": {"instant": 0.5},
    "share_window_s": 600,
}
# What must stand beside one for it to mean something: the check is that of the file.
BESIDE = {
    "when_spent": {"budgets": [{"per": "day", "usd": 1.0}]},
    "outage_usd": {"budgets": [{"per": "day", "usd": 1.0}]},
    "residency": {"regions": ["eu"]},
}
PLAIN = tree(admin={"key": ADMIN_KEY})
PLAIN["models"]["small"]["deployments"][0]["region"] = "eu"
CONFIG = config_of(PLAIN)


@pytest.fixture
def client(valkey_url: str) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(valkey_url) as client:
        yield client


@pytest.fixture
def api(client: "redis.Redis") -> Api:
    Directory(client, config=CONFIG, secret=SECRET, by="x").create_tenant("acme", {})
    return Api(client, CONFIG)


def served(client: "redis.Redis") -> Tenant:
    """The tenant as a worker has it, who knows only the store."""
    kept = Directory(client, config=CONFIG, secret=SECRET, by="x").read()
    return Tenants(CONFIG, SECRET, kept=kept).usable["acme"]


def test_every_setting_of_a_tenant_is_tried() -> None:
    assert set(VALUES) == set(Tenant.model_fields) - {"keys"}
    assert set(Caps.model_fields) < set(VALUES)


@pytest.mark.parametrize("field", VALUES)
def test_a_setting_is_made_changed_shown_and_taken_back(api: Api, client: "redis.Redis", field: str) -> None:
    default, beside = getattr(Tenant(), field), BESIDE.get(field, {})
    settings = {field: VALUES[field], **beside}
    made = api.ask("POST", "/admin/v1/tenants", {"name": "other", "settings": settings})
    assert made.json["settings"] == settings
    changed = api.ask("PATCH", "/admin/v1/tenants/acme", {"settings": settings})
    assert (changed.status, changed.json["settings"], changed.json["problem"]) == (200, settings, None)
    assert getattr(served(client), field) != default
    assert served(client).model_dump(mode="json", exclude_unset=True) == settings
    back = api.ask("PATCH", "/admin/v1/tenants/acme", {"settings": {field: None}})
    assert back.json["settings"] == beside
    assert getattr(served(client), field) == default


@pytest.mark.parametrize("field", VALUES)
def test_the_command_sets_what_the_api_sets(
    api: Api, client: "redis.Redis", tmp_path: Path, valkey_url: str, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEARSHIFT_KEY_SECRET", SECRET.decode())
    file = tmp_path / "gearshift.yaml"
    file.write_text(json.dumps({**PLAIN, "store": {"url": valkey_url, "dir": str(tmp_path)}}))
    settings = {field: VALUES[field], **BESIDE.get(field, {})}
    run(tenants, file, "set", "acme", *(f"{name}={json.dumps(value)}" for name, value in settings.items()))
    assert api.ask("GET", "/admin/v1/tenants/acme").json["settings"] == settings
    run(tenants, file, "set", "acme", f"{field}=")
    assert api.ask("GET", "/admin/v1/tenants/acme").json["settings"] == BESIDE.get(field, {})


def test_a_budget_that_is_set_anew_stays_paced_unless_told_otherwise(api: Api) -> None:
    def put(sent: dict[str, Any]) -> Any:
        return api.ask("PUT", "/admin/v1/tenants/acme/budget", sent).json["settings"]["budgets"]

    assert put({"per": "day", "usd": 5, "pace": True}) == [{"per": "day", "usd": 5.0, "pace": True}]
    assert put({"per": "day", "usd": 6}) == [{"per": "day", "usd": 6.0, "pace": True}]
    assert put({"per": "month", "usd": 50}) == [
        {"per": "day", "usd": 6.0, "pace": True},
        {"per": "month", "usd": 50.0},
    ]
    assert put({"per": "day", "usd": 6, "pace": False}) == [{"per": "month", "usd": 50.0}, {"per": "day", "usd": 6.0}]
    assert put({"per": "day", "usd": None}) == [{"per": "month", "usd": 50.0}]


def test_a_key_is_rotated_with_a_day_of_grace_where_nothing_is_said(api: Api) -> None:
    key = api.ask("POST", "/admin/v1/keys", {"tenant": "acme"}).json
    assert api.ask("POST", f"/admin/v1/keys/{key['key_id']}/rotate").status == 200
    (old,) = [row for row in api.ask("GET", "/admin/v1/keys?tenant=acme").json if row["state"] == "ending"]
    assert old["expires_at"] - key["created_at"] == pytest.approx(86_400, abs=60)
