"""What the store keeps of tenants and keys: one document, read and written whole, so that readers see one moment.

Keys are in it as their HMAC alone. `head` is the number and hash of the audit log's last entry, so it changes with
every change and never comes back: whoever holds a document asks for `head` to learn whether it is still in force.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import ValidationError

from router.config.consistency import tenant_problems
from router.config.schema import Config, Tenant
from router.config.wording import translate
from router.store.keys import DIRECTORY_KEY

if TYPE_CHECKING:
    import redis

FORMAT = 1
FIELDS = ("head", "document")  # of the store's hash
SECRET_FIELD = "secret"  # `router.secret.secret_id` of the secret behind its keys


class DirectoryUnreadable(Exception):
    """The store's document was written by a newer version, or damaged."""


@dataclass(frozen=True, slots=True)
class KeptKey:
    """A key without the key: `digest` is its HMAC in hex, times are POSIX seconds by the store's clock.

    Attributes:
        key_id: First 8 hex digits of `digest`, as the log's `key_id`; unique in the store.
        name: What its owner calls it.
        expires_at: When it stops being valid, for one that was rotated; None: never.
    """

    key_id: str
    tenant: str
    digest: str
    name: str
    created_at: float
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """The document: settings by tenant as they were given, and keys by id."""

    head: str = ""
    tenants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    keys: Mapping[str, KeptKey] = field(default_factory=dict)

    def dump(self) -> bytes:
        """As the store keeps it; `head` is a field of its own."""
        keys = {key_id: asdict(key) for key_id, key in self.keys.items()}
        return orjson.dumps({"v": FORMAT, "tenants": dict(self.tenants), "keys": keys})


NOTHING_KEPT = Kept()


def read_kept(head: bytes | None, document: bytes | None) -> Kept:
    """The inverse of `Kept.dump`; nothing where nothing was ever kept.

    Raises:
        DirectoryUnreadable: It is none that this version can read.
    """
    if head is None or document is None:
        return NOTHING_KEPT
    try:
        told = orjson.loads(document)
        if told["v"] != FORMAT:
            raise DirectoryUnreadable(
                f"the store's tenants and keys have format {told['v']}, this version reads {FORMAT}: upgrade gearshift"
            )
        keys = {key_id: KeptKey(**key) for key_id, key in told["keys"].items()}
        return Kept(head.decode(), told["tenants"], keys)
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise DirectoryUnreadable(
            f"the store's tenants and keys cannot be read ({type(problem).__name__}); restore the store from a backup"
        ) from problem


def usable_tenants(config: Config, kept: Kept) -> tuple[dict[str, Tenant], dict[str, str]]:
    """The kept tenants that this configuration can serve, and for each of the others why it cannot."""
    usable, problems = dict[str, Tenant](), dict[str, str]()
    for name, settings in kept.tenants.items():
        if name in config.tenants:
            problems[name] = "the configuration file names a tenant like this, and the file is in force"
            continue
        try:
            tenant = Tenant.model_validate(settings)
        except ValidationError as error:
            found = translate(error, below=("tenants", name))
            problems[name] = "; ".join(f"{problem.place}: {problem.message}" for problem in found)
            continue
        if found := list(tenant_problems(config, name, tenant)):
            problems[name] = "; ".join(f"{problem.place}: {problem.message}" for problem in found)
        else:
            usable[name] = tenant
    return usable, problems


def with_tenants(config: Config, kept: Mapping[str, Tenant]) -> Config:
    """The configuration with these tenants beside its own."""
    return config.model_copy(update={"tenants": {**config.tenants, **kept}}) if kept else config


def with_kept(config: Config, client: "redis.Redis") -> Config:
    """With the usable tenants of the store beside its own. Raises redis.RedisError, DirectoryUnreadable."""
    found: Any = client.hmget(DIRECTORY_KEY, FIELDS)
    return with_tenants(config, usable_tenants(config, read_kept(*found))[0])
