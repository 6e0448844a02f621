"""Changes to the tenants and keys that the store keeps: each with its entry in the audit log, in one transaction.

For people's hands, not for requests: a change reads the whole document, writes it anew and succeeds only where nobody
else's came between. Two administrators at once, on one host or on several, never lose a change of each other.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from router.config.consistency import tenant_problems
from router.config.schema import Config
from router.directory.audit import Change, sealed
from router.directory.kept import FIELDS, SECRET_FIELD, Kept, KeptKey, read_kept
from router.directory.settings import checked_name, checked_settings, in_words, merged
from router.errors import BadRequest, Conflict, NotFound
from router.secret import VARIABLE, secret_id
from router.store.keys import AUDIT_KEY, DIRECTORY_KEY
from router.tenants import KEY_ID_CHARS, digest_of, key_hmac

if TYPE_CHECKING:
    import redis

KEY_PREFIX = "gs-"
KEY_BYTES = 32
MOST_GRACE_S = 365 * 86_400
Edit = Callable[[Kept, float], tuple[Kept, Change]]  # of what is kept, at a time by the store's clock


class OtherSecret(Exception):
    """Keys made here would be unknown to the gateways."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made; `text` is the key itself, here for the only time."""

    key: KeptKey
    text: str


class Directory:
    """The store's tenants and keys, and the log of their changes.

    Args:
        config: Its tenants are read-only here, and what it declares is what a tenant may name.
        by: Who makes the changes, as the audit log names them.
    """

    def __init__(self, client: "redis.Redis", *, config: Config, secret: bytes, by: str) -> None:
        self._client, self._config, self._secret, self._by = client, config, secret, by

    def compare_secret(self) -> None:
        """Make sure that a gateway would know the keys made here. Raises OtherSecret."""
        mine = secret_id(self._secret).encode()
        self._client.hsetnx(DIRECTORY_KEY, SECRET_FIELD, mine)
        if self._client.hget(DIRECTORY_KEY, SECRET_FIELD) != mine:
            raise OtherSecret(
                f"the gateways of this store use another key secret than this command found: set {VARIABLE} as it is "
                "set for them (if it was changed for good, start a gateway with the new one before any key is made)"
            )

    def read(self) -> Kept:
        """What is kept now. Raises DirectoryUnreadable, redis.RedisError."""
        found: Any = self._client.hmget(DIRECTORY_KEY, FIELDS)
        return read_kept(*found)

    def now(self) -> float:
        """POSIX seconds by the store's clock."""
        seconds, micros = self._client.time()
        return float(seconds) + float(micros) / 1e6

    def create_tenant(self, name: str, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """Keep a new tenant; its settings.

        Raises:
            Conflict: There is one of this name, here or in the file.
            BadRequest: The settings do not fit the configuration.
        """
        checked_name(name)

        def edit(kept: Kept, at: float) -> tuple[Kept, Change]:
            if name in kept.tenants:
                raise Conflict(f"tenant {name!r} exists already; change it with gearshift tenants set", param="name")
            return self._with_tenant(kept, name, settings, action="tenant.create")

        return self._change(edit).tenants[name]

    def change_tenant(self, name: str, changes: Mapping[str, Any]) -> Mapping[str, Any]:
        """Set some settings of a kept tenant, None for their defaults; all its settings then.

        Raises:
            NotFound: There is none of this name.
            Conflict, BadRequest: As `create_tenant`.
        """

        def edit(kept: Kept, at: float) -> tuple[Kept, Change]:
            settings = merged(self._tenant(kept, name), changes)
            return self._with_tenant(kept, name, settings, action="tenant.set")

        return self._change(edit).tenants[name]

    def set_budget(self, name: str, per: str, usd: float | None, *, pace: bool | None = None) -> Mapping[str, Any]:
        """Let a kept tenant spend `usd` in each `per`, None for as much as it likes; all its settings then.

        Args:
            pace: Whether to make it last its window; None: as it was.

        Raises:
            NotFound, Conflict, BadRequest: As `change_tenant`.
        """

        def edit(kept: Kept, at: float) -> tuple[Kept, Change]:
            settings = self._tenant(kept, name)
            standing = {budget["per"]: budget for budget in settings.get("budgets", ())}
            was = standing.pop(per, {})
            paced = was.get("pace", False) if pace is None else pace
            more = [] if usd is None else [{"per": per, "usd": usd, **({"pace": True} if paced else {})}]
            budgets = [*standing.values(), *more]
            return self._with_tenant(kept, name, {**settings, "budgets": budgets}, action="budget.set")

        return self._change(edit).tenants[name]

    def delete_tenant(self, name: str) -> None:
        """Forget a kept tenant and its keys; what it left in the log stays. Raises NotFound, Conflict."""

        def edit(kept: Kept, at: float) -> tuple[Kept, Change]:
            # Also one that the file has come to name as well: else nobody could.
            before = kept.tenants[name] if name in kept.tenants else self._tenant(kept, name)
            tenants = {each: settings for each, settings in kept.tenants.items() if each != name}
            keys = {key_id: key for key_id, key in kept.keys.items() if key.tenant != name}
            gone = sorted(kept.keys.keys() - keys.keys())
            change = self._did("tenant.delete", name, before={"settings": before, "keys": gone})
            return replace(kept, tenants=tenants, keys=keys), change

        self._change(edit)

    def create_key(self, tenant: str, *, name: str = "") -> NewKey:
        """Make a key of a kept tenant. Raises NotFound, Conflict: the tenant stands in the file."""
        if name:
            checked_name(name, what="key")

        def edit(kept: Kept, at: float) -> tuple[Kept, Change]:
            self._tenant(kept, tenant)
            made.append(self._new_key(kept, tenant, name, at))
            key = made[-1].key
            return _with_keys(kept, key, at=at), self._did("key.create", key.key_id, after=shown_key(key))

        made: list[NewKey] = []
        self._change(edit)
        return made[-1]

    def rotate_key(self, key_id: str, *, grace_s: float) -> NewKey:
        """Make a key in place of another, which stays valid for `grace_s` seconds more, or ends at once for 0.

        Raises:
            NotFound: There is no such key.
            Conflict: It was rotated already, or stands in the file.
            BadRequest: The grace is negative or longer than 365 days.
        """
        if not 0 <= grace_s <= MOST_GRACE_S:
            raise BadRequest(
                f"a rotated key stays valid for 0 s to 365 days, got {grace_s / 86_400:g} days; for longer, make a "
                "second key and revoke the first when it is no longer needed",
                param="grace_s",
            )

        def edit(kept: Kept, at: float) -> tuple[Kept, Change]:
            old = self._key(kept, key_id)
            self._tenant(kept, old.tenant)
            if old.expires_at is not None:
                raise Conflict(f"key {key_id} was rotated already and is valid no longer than its grace; see keys list")
            made.append(self._new_key(kept, old.tenant, old.name, at))
            key, ending = made[-1].key, replace(old, expires_at=at + grace_s)
            capped = _capped_alike(kept, old, key)
            before, after = shown_key(old), {"new": shown_key(key), "old": shown_key(ending) if grace_s > 0 else None}
            if capped is not kept:
                before["key_caps"] = kept.tenants[old.tenant]["key_caps"]
                after["key_caps"] = capped.tenants[old.tenant]["key_caps"]
            return _with_keys(capped, ending, key, at=at), self._did("key.rotate", key_id, before=before, after=after)

        made: list[NewKey] = []
        self._change(edit)
        return made[-1]

    def revoke_key(self, key_id: str) -> KeptKey:
        """End a key now. Raises NotFound, Conflict: it stands in the file."""

        def edit(kept: Kept, at: float) -> tuple[Kept, Change]:
            old = self._key(kept, key_id)
            gone.append(old)
            keys = {each: key for each, key in kept.keys.items() if each != key_id}
            return replace(kept, keys=keys), self._did("key.revoke", key_id, before=shown_key(old))

        gone: list[KeptKey] = []
        self._change(edit)
        return gone[-1]

    def note(self, action: str, target: str, *, before: Any = None, after: Any = None) -> None:
        """Log what was done elsewhere; tenants and keys stay."""
        self._change(lambda kept, at: (kept, self._did(action, target, before=before, after=after)))

    def _change(self, edit: Edit) -> Kept:
        """Carry out an edit, or raise what it raises, DirectoryUnreadable or redis.RedisError and change nothing."""
        import redis

        with self._client.pipeline() as pipe:
            while True:
                try:
                    pipe.watch(DIRECTORY_KEY)  # type: ignore[no-untyped-call]
                    found: Any = pipe.hmget(DIRECTORY_KEY, FIELDS)
                    seconds, micros = pipe.time()
                    at = float(seconds) + float(micros) / 1e6
                    before = read_kept(*found)
                    after, change = edit(before, at)
                    document = after.dump()
                    line, head = sealed(change, head=before.head, at=at, document=document, secret=self._secret)
                    pipe.multi()
                    pipe.hset(DIRECTORY_KEY, mapping={"head": head, "document": document})
                    pipe.rpush(AUDIT_KEY, line)
                    pipe.execute()
                    return replace(after, head=head)
                except redis.WatchError:
                    continue  # somebody else's change came first: look again

    def _did(self, action: str, target: str, *, before: Any = None, after: Any = None) -> Change:
        return Change(self._by, action, target, before, after)

    def _tenant(self, kept: Kept, name: str) -> Mapping[str, Any]:
        if name in self._config.tenants:
            raise Conflict(
                f"tenant {name!r} stands in the configuration file: change it there, and send the gateway SIGHUP",
                code="read_only",
            )
        if name not in kept.tenants:
            raise NotFound(f"no tenant is called {name!r}; gearshift tenants list names all", code="unknown_tenant")
        return kept.tenants[name]

    def _key(self, kept: Kept, key_id: str) -> KeptKey:
        if key_id in kept.keys:
            return kept.keys[key_id]
        for name, tenant in self._config.tenants.items():
            if any(digest_of(self._secret, key)[:KEY_ID_CHARS] == key_id for key in tenant.keys):
                raise Conflict(
                    f"key {key_id} of tenant {name!r} stands in the configuration file: take it out there, and send "
                    "the gateway SIGHUP",
                    code="read_only",
                )
        raise NotFound(f"the store keeps no key {key_id[:80]!r}; gearshift keys list names all", code="unknown_key")

    def _with_tenant(self, kept: Kept, name: str, settings: Mapping[str, Any], *, action: str) -> tuple[Kept, Change]:
        if name in self._config.tenants:
            raise Conflict(f"tenant {name!r} stands in the configuration file already", code="read_only")
        tenant = checked_settings(settings)
        if problems := list(tenant_problems(self._config, name, tenant)):
            raise BadRequest(in_words(problems, f"tenant {name!r}"), param="settings")
        after = tenant.model_dump(mode="json", exclude_unset=True)
        change = self._did(action, name, before=kept.tenants.get(name), after=after)
        return replace(kept, tenants={**kept.tenants, name: after}), change

    def _new_key(self, kept: Kept, tenant: str, name: str, at: float) -> NewKey:
        while True:
            text = KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)
            digest = key_hmac(self._secret, text)
            key_id = digest[:KEY_ID_CHARS]
            if key_id not in kept.keys:  # else two keys could not be told apart
                return NewKey(KeptKey(key_id, tenant, digest, name, at), text)


def shown_key(key: KeptKey) -> dict[str, Any]:
    """What people and the log may see of it."""
    told = asdict(key)
    del told["digest"]
    return told


def _capped_alike(kept: Kept, old: KeptKey, new: KeptKey) -> Kept:
    """What binds a key binds the one in its place: caps go by a key's id, and the new one has another."""
    settings = kept.tenants[old.tenant]
    caps = settings.get("key_caps", {})
    if old.key_id not in caps:
        return kept
    settings = {**settings, "key_caps": {**caps, new.key_id: caps[old.key_id]}}
    return replace(kept, tenants={**kept.tenants, old.tenant: settings})


def _with_keys(kept: Kept, *keys: KeptKey, at: float) -> Kept:
    """With these keys, and without those that have ended."""
    every = {**kept.keys, **{key.key_id: key for key in keys}}
    return replace(kept, keys={i: key for i, key in every.items() if key.expires_at is None or key.expires_at > at})
