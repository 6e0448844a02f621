"""The admin listener's own mistakes: a key that could be guessed, or that tenants know."""

from collections.abc import Iterator

from router.config import names
from router.config.problems import Path, Problem
from router.config.schema import Config

LEAST_KEY_CHARS = 16


def admin_problems(config: Config) -> Iterator[Problem]:
    """What is wrong with the `admin` section."""
    if config.admin is None:
        return
    path: Path = ("admin", "key")
    key = config.admin.key
    yield from names.tenant_key(path, key)
    if not key.startswith("hmac:") and len(key) < LEAST_KEY_CHARS:
        yield Problem(path, f"shorter than {LEAST_KEY_CHARS} characters; use a random one: openssl rand -hex 32")
    if any(key in tenant.keys for tenant in config.tenants.values()):
        yield Problem(path, "is also a tenant's key; give the admin API one of its own")
    if (config.admin.host, config.admin.port) == (config.server.host, config.server.port):
        yield Problem(("admin", "port"), f"{config.admin.port} is the gateway's own; take another")
