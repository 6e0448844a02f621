"""Store URLs, read as redis-py reads them."""

from typing import Any

import pytest
from redis.connection import parse_url

from router.store.address import parse_address


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://db.example:7000/3",
        "redis://user:p%40ss@db/0",
        "redis://:secret@db:6380?db=2",
        "rediss://db:6380",
        "unix:///run/a%20b/v.sock",
        "unix://user:pw@/run/v.sock?db=1",
    ],
)
def test_an_address_is_what_redis_py_makes_of_it(url: str) -> None:
    ours, theirs = parse_address(url), dict[str, Any](parse_url(url))
    assert (ours.path, ours.db) == (theirs.get("path"), theirs.get("db", 0))
    assert (ours.username, ours.password) == (theirs.get("username"), theirs.get("password"))
    if ours.path is None:
        assert (ours.host, ours.port) == (theirs["host"], theirs.get("port", 6379))


@pytest.mark.parametrize("url", ["http://db", "embedded:", "redis://db/main"])
def test_another_url_is_refused_by_its_key_path(url: str) -> None:
    with pytest.raises(ValueError, match=r"^store\.url: "):
        parse_address(url)


def test_a_password_is_sent_and_not_shown() -> None:
    address = parse_address("redis://user:secret@db/1")
    assert address.hello() == [("AUTH", "user", "secret"), ("SELECT", "1")]
    assert "secret" not in repr(address)


def test_tls_verifies_unless_told_otherwise() -> None:
    strict, loose = parse_address("rediss://db"), parse_address("rediss://db?ssl_cert_reqs=none")
    assert parse_address("redis://db").tls_context() is None
    assert [address.tls_context().check_hostname for address in (strict, loose)] == [True, False]  # type: ignore[union-attr]
