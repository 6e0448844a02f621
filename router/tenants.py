"""Who asks: keys are looked up by their HMAC, so neither the configuration in memory nor a log ever holds one."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from policies.tradeoff import TradeOff
from router.config.budgets import windows_of
from router.config.caps import ALL_ALLOWED, Allowed, allowed_of, limits_of
from router.config.schema import Config, Tenant, TradeOffConfig
from router.errors import Unauthorized
from router.store.ledger import Window
from router.store.limits import Limit

KEYLESS = "keyless"


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated tenant and which of its keys it used (`key_id`: first 8 hex digits of the key's HMAC).

    Attributes:
        windows: Budgets that every request of it must fit, its own and its organisation's; empty: it has none.
        limits: Those that count each request: its own, its key's and its organisation's.
        allowed: What the three allow together.
    """

    tenant: str
    organisation: str
    key_id: str
    config: Tenant
    windows: tuple[Window, ...] = ()
    limits: tuple[Limit, ...] = ()
    allowed: Allowed = ALL_ALLOWED


def caller_of(config: Config, name: str, tenant: Tenant, *, key_id: str) -> Caller:
    """The tenant as a caller, with the budgets and caps that bind it."""
    return Caller(
        name,
        tenant.organisation,
        key_id,
        tenant,
        windows_of(config, name, tenant),
        limits_of(config, name, tenant, key_id=key_id),
        allowed_of(config, tenant, key_id=key_id),
    )


def key_hmac(secret: bytes, key: str) -> str:
    """HMAC-SHA256 of an API key, hex: what is stored and compared instead of the key."""
    return hmac.digest(secret, key.encode(), "sha256").hex()


class Tenants:
    """Callers by key. Without any key the first tenant answers everybody; the configuration allows that on loopback."""

    def __init__(self, config: Config, secret: bytes) -> None:
        tenants = dict(config.tenants) or {"default": Tenant()}
        self._by_hmac: dict[str, Caller] = {}
        for name, tenant in tenants.items():
            for key in tenant.keys:
                digest = key.removeprefix("hmac:") if key.startswith("hmac:") else key_hmac(secret, key)
                self._by_hmac[digest] = caller_of(config, name, tenant, key_id=digest[:8])
        name, tenant = next(((n, t) for n, t in tenants.items() if not t.keys), next(iter(tenants.items())))
        self._keyless = None if self._by_hmac else caller_of(config, name, tenant, key_id=KEYLESS)
        self._secret = secret

    def authenticate(self, headers: Mapping[bytes, bytes]) -> Caller:
        """The caller named by ``Authorization: Bearer`` or ``x-api-key``.

        Raises:
            Unauthorized: No key, or an unknown one.
        """
        if self._keyless is not None:
            return self._keyless
        token = headers.get(b"authorization", b"")
        key = token[7:] if token[:7].lower() == b"bearer " else headers.get(b"x-api-key", b"")
        if not key:
            raise Unauthorized("no API key: send 'Authorization: Bearer <key>' with a key of a configured tenant")
        caller = self._by_hmac.get(key_hmac(self._secret, key.decode("latin-1").strip()))
        if caller is None:
            raise Unauthorized("this API key is not known here; use a key of a configured tenant")
        return caller


def trade_off_of(config: TradeOffConfig) -> TradeOff:
    """The numbers behind the words: λ is the inverse of what a correct answer is worth."""
    quality_per_usd = 1.0 / config.usd_per_correct_answer
    return TradeOff(
        quality_per_usd=quality_per_usd,
        quality_per_s=config.usd_per_s * quality_per_usd,
        quality_floor=config.quality_floor,
        max_usd=config.max_usd if config.max_usd is not None else float("inf"),
    )
