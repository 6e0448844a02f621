"""Tenants and keys of the file and of the store side by side, as commands and the admin API list them."""

from typing import Any

from router.config.schema import Config, Tenant
from router.directory.directory import shown_key
from router.directory.kept import Kept, usable_tenants
from router.errors import NotFound
from router.tenants import KEY_ID_CHARS, digest_of


def listed_tenants(config: Config, kept: Kept) -> list[dict[str, Any]]:
    """Each with its settings but for defaults, where it is kept, how many keys it has, and why it is not served."""
    problems = usable_tenants(config, kept)[1]
    of_file = [
        {
            "name": name,
            "kept_in": "file",
            "settings": tenant.model_dump(mode="json", exclude_defaults=True, exclude={"keys"}),
            "n_keys": len(tenant.keys),
            "problem": None,
        }
        for name, tenant in config.tenants.items()
    ]
    of_store = [
        {
            "name": name,
            "kept_in": "store",
            "settings": dict(settings),
            "n_keys": sum(key.tenant == name for key in kept.keys.values()),
            "problem": problems.get(name),
        }
        for name, settings in sorted(kept.tenants.items())
    ]
    return [*of_file, *of_store]


def organisation_of(name: str, config: Config, kept: Kept) -> str:
    """Whose tenant this is now. Raises NotFound."""
    if name in config.tenants:
        return config.tenants[name].organisation
    if name in kept.tenants:
        return str(kept.tenants[name].get("organisation", Tenant().organisation))
    raise NotFound(
        f"no tenant is called {name!r}; for one that was deleted, name its organisation (--organisation)",
        code="unknown_tenant",
    )


def listed_keys(config: Config, kept: Kept, *, secret: bytes, now: float) -> list[dict[str, Any]]:
    """Each without the key; `state` is ``valid``, ``ending`` after a rotation, or ``ended``."""
    of_file = [
        {
            "key_id": digest_of(secret, key)[:KEY_ID_CHARS],
            "tenant": name,
            "name": "",
            "created_at": None,
            "expires_at": None,
            "state": "valid",
            "kept_in": "file",
        }
        for name, tenant in config.tenants.items()
        for key in tenant.keys
    ]
    every = sorted(kept.keys.values(), key=lambda key: (key.tenant, key.created_at))
    of_store = [{**shown_key(key), "state": _state(key.expires_at, now), "kept_in": "store"} for key in every]
    return [*of_file, *of_store]


def _state(expires_at: float | None, now: float) -> str:
    if expires_at is None:
        return "valid"
    return "ending" if expires_at > now else "ended"
