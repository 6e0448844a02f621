"""Who asks: by key, without ever holding one."""

import pytest
from rig import config_of, tree

from router.config.schema import Config, TradeOffConfig
from router.errors import Unauthorized
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
    assert "key-a-1" not in str(vars(tenants())["_by_hmac"].keys())


def test_the_worth_of_a_correct_answer_is_the_inverse_of_lambda() -> None:
    found = trade_off_of(TradeOffConfig(usd_per_correct_answer=0.5, usd_per_s=0.01, quality_floor=0.9, max_usd=0.2))
    assert (found.quality_per_usd, found.quality_per_s) == (2.0, pytest.approx(0.02))
    assert (found.quality_floor, found.max_usd) == (0.9, 0.2)
    assert trade_off_of(TradeOffConfig(usd_per_correct_answer=1)).max_usd == float("inf")
