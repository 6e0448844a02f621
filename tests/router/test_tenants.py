"""Who asks: by key, without ever holding one."""

import pytest
from rig import config_of, tree

from router.config.schema import Config, TradeOffConfig
from router.directory.kept import Kept, KeptKey
from router.errors import StoreDown, TenantUnusable, Unauthorized
from router.store.ledger import tenant_account
from router.store.limits import key_account
from router.tenants import KEYLESS, Tenants, key_hmac, trade_off_of

SECRET = b"tenants' secret"
KEYED = {"a": {"keys": ["key-a-1", "key-a-2"], "organisation": "o"}, "b": {"keys": ["key-b"]}, "open": {}}


def config(tenants: object) -> Config:
    return config_of(tree(tenants=tenants))


def tenants(given: object = KEYED) -> Tenants:
    return Tenants(config(given), SECRET)


@pytest.mark.parametrize(
    "headers",
    [
        {b"authorization": b"Bearer key-a-2"},
        {b"authorization": b"bearer key-a-2"},
        {b"authorization": b"BEARER  key-a-2 "},
        {b"x-api-key": b"key-a-2"},
        {b"authorization": b"Basic abc", b"x-api-key": b"key-a-2"},
    ],
)
def test_a_key_names_its_tenant(headers: dict[bytes, bytes]) -> None:
    caller = tenants().authenticate(headers)
    assert (caller.tenant, caller.organisation) == ("a", "o")
    assert caller.key_id == key_hmac(SECRET, "key-a-2")[:8]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"authorization": b""},
        {b"authorization": b"Bearer "},
        {b"authorization": b"key-b"},
        {b"authorization": b"Bearer key-c"},
        {b"authorization": b"Bearer \xff\xfe"},
        {b"authorization": b"Bearer key-c", b"x-api-key": b"key-b"},
        {b"x-api-key": b"key-"},
    ],
)
def test_anything_else_is_refused_without_repeating_it(headers: dict[bytes, bytes]) -> None:
    with pytest.raises(Unauthorized) as refused:
        tenants().authenticate(headers)
    assert refused.value.status == 401
    assert "key-c" not in refused.value.message


def test_a_key_may_stand_as_its_hmac() -> None:
    digest = key_hmac(SECRET, "a-real-key")
    found = tenants({"a": {"keys": [f"hmac:{digest}"]}}).authenticate({b"x-api-key": b"a-real-key"})
    assert (found.tenant, found.key_id) == ("a", digest[:8])
    with pytest.raises(Unauthorized):
        tenants({"a": {"keys": [f"hmac:{digest}"]}}).authenticate({b"x-api-key": digest.encode()})


def test_another_secret_knows_no_stored_key() -> None:
    digest = key_hmac(SECRET, "a-real-key")
    with pytest.raises(Unauthorized):
        Tenants(config({"a": {"keys": [f"hmac:{digest}"]}}), b"other").authenticate({b"x-api-key": b"a-real-key"})


def test_without_any_key_the_first_tenant_answers_everybody() -> None:
    caller = tenants({"one": {}, "two": {}}).authenticate({b"authorization": b"Bearer whatever"})
    assert (caller.tenant, caller.key_id) == ("one", KEYLESS)


def test_no_clear_key_stays_in_memory() -> None:
    assert "key-a-1" not in str(vars(tenants())["_known"])


def kept_key(text: str, tenant: str, expires_at: float | None = None) -> KeptKey:
    digest = key_hmac(SECRET, text)
    return KeptKey(digest[:8], tenant, digest, "", 0.0, expires_at)


def with_kept(*keys: KeptKey, given: object = KEYED, **settings: object) -> Tenants:
    kept = Kept("1 x", {"kept": settings}, {key.key_id: key for key in keys})
    return Tenants(config(given), SECRET, kept=kept, now=1000.0, clock=CLOCK)


class Clock:
    at = 50.0

    def __call__(self) -> float:
        return self.at


CLOCK = Clock()


def test_a_key_of_the_store_names_its_tenant_beside_those_of_the_file() -> None:
    found = with_kept(kept_key("key-k", "kept"), organisation="o", budgets=[{"per": "day", "usd": 1, "pace": True}])
    caller = found.authenticate({b"x-api-key": b"key-k"})
    assert (caller.tenant, caller.organisation, caller.key_id) == ("kept", "o", key_hmac(SECRET, "key-k")[:8])
    assert [window.limit for window in caller.windows] == [10**9]
    assert caller.paced == caller.windows
    assert found.authenticate({b"x-api-key": b"key-b"}).tenant == "b"
    with pytest.raises(Unauthorized):
        found.authenticate({b"x-api-key": b"key-c"})


def test_a_tenant_of_the_store_is_bound_by_all_that_binds_one_of_the_file() -> None:
    one, other = kept_key("key-k", "kept"), kept_key("key-l", "kept")
    found = with_kept(
        one, other, requests_per_minute=60, modes=["instant"], budgets=[{"per": "day", "usd": 1, "pace": True}],
        key_caps={other.key_id: {"concurrency": 2, "models": ["small"]}},
    )  # fmt: skip
    plain, capped = (found.authenticate({b"x-api-key": key}) for key in (b"key-k", b"key-l"))
    assert [(limit.requests, limit.concurrency) for limit in plain.limits] == [(60, None)]
    assert [(limit.account, limit.concurrency) for limit in capped.limits] == [
        (tenant_account("kept"), None),
        (key_account(other.key_id), 2),
    ]
    assert (plain.allowed.modes, plain.allowed.models) == (frozenset({"instant"}), None)
    assert (capped.allowed.modes, capped.allowed.models) == (frozenset({"instant"}), frozenset({"small"}))
    assert plain.paced == capped.paced == plain.windows
    assert (plain.key_id, capped.key_id) == (one.key_id, other.key_id)


def test_a_key_ends_by_the_stores_clock_though_ours_says_another_time() -> None:
    CLOCK.at = 50.0
    found = with_kept(kept_key("key-k", "kept", expires_at=1010.0))
    for at in (50.0, 59.9):
        CLOCK.at = at
        assert found.authenticate({b"x-api-key": b"key-k"}).tenant == "kept"
    CLOCK.at = 60.1
    with pytest.raises(Unauthorized):
        found.authenticate({b"x-api-key": b"key-k"})


def test_two_keys_whose_ids_are_alike_are_told_apart() -> None:
    real = kept_key("key-k", "kept")
    other = KeptKey(real.key_id, "b", real.digest[:8] + "0" * 56, "", 0.0)
    kept = Kept("1 x", {"kept": {}}, {"one": other, "two": real})
    assert Tenants(config(KEYED), SECRET, kept=kept).authenticate({b"x-api-key": b"key-k"}).tenant == "kept"


def test_while_the_store_was_not_asked_an_unknown_key_is_told_to_come_again_and_a_known_one_is_served() -> None:
    found = Tenants(config(KEYED), SECRET, kept=None)
    assert found.authenticate({b"x-api-key": b"key-b"}).tenant == "b"
    with pytest.raises(StoreDown):
        found.authenticate({b"x-api-key": b"key-k"})
    with pytest.raises(Unauthorized, match="no API key"):
        found.authenticate({})
    with pytest.raises(StoreDown):
        Tenants(config({"one": {}}), SECRET, kept=None).authenticate({})


def test_before_the_store_was_asked_serve_answers_without_a_key_unless_one_is_required() -> None:
    def found(**server: object) -> Tenants:
        plain = tree(tenants={"one": {}}, store={"when_down": "serve"}, server=server)
        return Tenants(config_of(plain), SECRET, kept=None)

    assert found().authenticate({b"x-api-key": b"whatever"}).tenant == "one"
    with pytest.raises(StoreDown):
        found(require_key=True).authenticate({b"x-api-key": b"whatever"})


def test_the_first_tenant_of_the_store_ends_the_service_without_a_key() -> None:
    with pytest.raises(Unauthorized):
        with_kept(given={"one": {}}).authenticate({})
    assert Tenants(config({"one": {}}), SECRET, kept=Kept()).authenticate({}).tenant == "one"


def test_where_a_key_is_required_nobody_is_served_without_one() -> None:
    closed = config_of(tree(tenants={"one": {}}, server={"require_key": True, "host": "0.0.0.0"}))
    with pytest.raises(Unauthorized):
        Tenants(closed, SECRET).authenticate({})


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"models": ["gone"]}, "no such model"),
        ({"invented": 1}, "invented: unknown key"),
        ({"regions": ["eu"]}, "tenants.kept.regions[0]: no deployment declares this region"),
        ({"key_caps": {"no id": {}}}, "expected a key's id, 8 hex digits"),
    ],
)
def test_a_tenant_that_does_not_fit_is_refused_not_guessed(settings: dict[str, object], why: str) -> None:
    found = with_kept(kept_key("key-k", "kept"), **settings)
    assert why in found.problems["kept"]
    with pytest.raises(TenantUnusable, match="the gateway's log says why"):
        found.authenticate({b"x-api-key": b"key-k"})


def test_the_file_wins_over_a_tenant_of_the_same_name() -> None:
    found = with_kept(kept_key("key-k", "kept"), given={"kept": {"keys": ["key-f"]}})
    assert found.authenticate({b"x-api-key": b"key-f"}).tenant == "kept"
    with pytest.raises(TenantUnusable):
        found.authenticate({b"x-api-key": b"key-k"})


def test_the_worth_of_a_correct_answer_is_the_inverse_of_lambda() -> None:
    found = trade_off_of(TradeOffConfig(usd_per_correct_answer=0.5, usd_per_s=0.01, quality_floor=0.9, max_usd=0.2))
    assert (found.quality_per_usd, found.quality_per_s) == (2.0, pytest.approx(0.02))
    assert (found.quality_floor, found.max_usd) == (0.9, 0.2)
    assert trade_off_of(TradeOffConfig(usd_per_correct_answer=1)).max_usd == float("inf")
