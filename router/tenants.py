"""Who asks: keys are looked up by their HMAC, so neither the configuration in memory nor a log ever holds one."""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from time import monotonic

from policies.tradeoff import TradeOff
from router.config.budgets import windows_of
from router.config.caps import ALL_ALLOWED, Allowed, allowed_of, limits_of
from router.config.schema import Config, Tenant, TradeOffConfig
from router.directory.kept import NOTHING_KEPT, Kept, usable_tenants
from router.errors import StoreDown, TenantUnusable, Unauthorized
from router.store.ledger import Window
from router.store.limits import Limit

KEYLESS = "keyless"
KEY_ID_CHARS = 8  # of a key's HMAC, enough to name it in logs


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated tenant and which of its keys it used (`key_id`: first 8 hex digits of the key's HMAC).

    Attributes:
        windows: Budgets that every request of it must fit, its own and its organisation's; empty: it has none.
        paced: Those of them that set the pace of its spending.
        limits: Those that count each request: its own, its key's and its organisation's.
        allowed: What the three allow together.
    """

    tenant: str
    organisation: str
    key_id: str
    config: Tenant
    windows: tuple[Window, ...] = ()
    paced: tuple[Window, ...] = ()
    limits: tuple[Limit, ...] = ()
    allowed: Allowed = ALL_ALLOWED


def caller_of(config: Config, name: str, tenant: Tenant, *, key_id: str) -> Caller:
    """The tenant as a caller, with the budgets and caps that bind it."""
    windows = windows_of(config, name, tenant)
    return Caller(
        name,
        tenant.organisation,
        key_id,
        tenant,
        windows=windows,
        paced=tuple(window for window in windows if window.paced),
        limits=limits_of(config, name, tenant, key_id=key_id),
        allowed=allowed_of(config, tenant, key_id=key_id),
    )


def _with_key(config: Config, plain: Caller, key_id: str) -> Caller:
    """The caller by one of its keys. Keys may be many: what binds is found anew only where the key has caps."""
    if key_id in plain.config.key_caps:
        return caller_of(config, plain.tenant, plain.config, key_id=key_id)
    return replace(plain, key_id=key_id)


def key_hmac(secret: bytes, key: str) -> str:
    """HMAC-SHA256 of an API key, hex: what is stored and compared instead of the key."""
    return hmac.digest(secret, key.encode(), "sha256").hex()


def digest_of(secret: bytes, key: str) -> str:
    """The HMAC of a key as the configuration writes it: the key itself, or ``hmac:`` and that."""
    return key.removeprefix("hmac:") if key.startswith("hmac:") else key_hmac(secret, key)


@dataclass(frozen=True, slots=True)
class _Known:
    """A key that may be sent: whose it is, or why it is not served here.

    Attributes:
        until_s: Moment by our clock from which on it is valid no more.
    """

    digest: str
    caller: Caller | None
    tenant: str
    until_s: float = float("inf")


class Tenants:
    """Callers by key. Without any key the first tenant answers everybody; the configuration allows that on loopback.

    Args:
        kept: What the store keeps beside the configuration; None: it could not be asked yet, so a key that is not
            known may still be one.
        now: POSIX seconds of the store's clock, by which its keys end.
        clock: Seconds by our own, which measures how long that is from now on.

    Attributes:
        usable: Kept tenants that are served.
        problems: Of the other kept ones, by name, why not.
    """

    def __init__(
        self,
        config: Config,
        secret: bytes,
        *,
        kept: Kept | None = NOTHING_KEPT,
        now: float = 0.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._secret, self._clock, self._complete = secret, clock, kept is not None
        self._known: dict[str, list[_Known]] = {}
        tenants = dict(config.tenants) or {"default": Tenant()}
        for name, tenant in tenants.items():
            for key in tenant.keys:
                digest = digest_of(secret, key)
                self._add(_Known(digest, caller_of(config, name, tenant, key_id=digest[:KEY_ID_CHARS]), name))
        # `serve` puts answering first, also before the store could say that it keeps tenants.
        none_kept = not kept.tenants if kept is not None else config.store.when_down == "serve"
        open_to_all = not self._known and not config.server.require_key and none_kept
        name, tenant = next(((n, t) for n, t in tenants.items() if not t.keys), next(iter(tenants.items())))
        self._keyless = caller_of(config, name, tenant, key_id=KEYLESS) if open_to_all else None
        self.usable, self.problems = usable_tenants(config, kept or NOTHING_KEPT)
        self._keep(config, kept or NOTHING_KEPT, now)

    def _keep(self, config: Config, kept: Kept, now: float) -> None:
        plain = {name: caller_of(config, name, tenant, key_id="") for name, tenant in self.usable.items()}
        for key in kept.keys.values():
            caller = _with_key(config, plain[key.tenant], key.key_id) if key.tenant in plain else None
            until_s = float("inf") if key.expires_at is None else self._clock() + key.expires_at - now
            self._add(_Known(key.digest, caller, key.tenant, until_s))

    def _add(self, known: _Known) -> None:
        self._known.setdefault(known.digest[:KEY_ID_CHARS], []).append(known)

    def authenticate(self, headers: Mapping[bytes, bytes]) -> Caller:
        """The caller named by ``Authorization: Bearer`` or ``x-api-key``.

        Raises:
            Unauthorized: No key, or an unknown one.
            StoreDown: An unknown one, while the store could not be asked for the keys that it keeps.
            TenantUnusable: A key of a tenant whose settings do not fit this gateway's configuration.
        """
        if self._keyless is not None:
            return self._keyless
        key = sent_key(headers)
        if not key and (self._known or self._complete):
            raise Unauthorized("no API key: send 'Authorization: Bearer <key>' with a key of a configured tenant")
        digest = key_hmac(self._secret, key)
        for known in self._known.get(digest[:KEY_ID_CHARS], ()):
            if hmac.compare_digest(known.digest, digest) and self._clock() < known.until_s:
                if known.caller is None:
                    raise TenantUnusable(f"tenant {known.tenant!r} cannot be served here; the gateway's log says why")
                return known.caller
        if not self._complete:
            raise StoreDown("the store, which may know this key, could not be asked yet; try again", retry_after_s=1)
        raise Unauthorized("this API key is not known here; use a key of a configured tenant")


def sent_key(headers: Mapping[bytes, bytes]) -> str:
    """The key of ``Authorization: Bearer``, else of ``x-api-key``; empty for none."""
    token = headers.get(b"authorization", b"")
    key = token[7:] if token[:7].lower() == b"bearer " else headers.get(b"x-api-key", b"")
    return key.decode("latin-1").strip()


def trade_off_of(config: TradeOffConfig) -> TradeOff:
    """The numbers behind the words: λ is the inverse of what a correct answer is worth."""
    quality_per_usd = 1.0 / config.usd_per_correct_answer
    return TradeOff(
        quality_per_usd=quality_per_usd,
        quality_per_s=config.usd_per_s * quality_per_usd,
        quality_floor=config.quality_floor,
        max_usd=config.max_usd if config.max_usd is not None else float("inf"),
        max_s=config.max_s if config.max_s is not None else float("inf"),
    )
