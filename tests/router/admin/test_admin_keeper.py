"""The supervisor's hold on the admin API: where it listens, and what a changed configuration does to it."""

import http.client
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rig import config_of, tree

from router.admin.brief import AdminBrief
from router.admin.keeper import KeptAdmin
from router.config.problems import ConfigError
from router.config.schema import Config
from router.listening import PortTaken

FIRST, SECOND = "the-first-admin-key", "the-second-admin-key"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def config(folder: Path, port: int, key: str = FIRST) -> Config:
    return config_of(
        tree(store={"url": "unix:///nowhere/at/all.sock", "dir": str(folder)}, admin={"port": port, "key": key})
    )


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[KeptAdmin]:
    admin = KeptAdmin(tmp_path, secret=b"the tests' secret", version="1")
    yield admin
    admin.close()


def status(port: int, key: str) -> int:
    """Of a route that needs the key and the store, which is not there; the first answer waits until it serves."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/admin/v1/tenants", headers={"authorization": f"Bearer {key}"})
    found = connection.getresponse().status
    connection.close()
    return found


def test_a_new_key_is_in_force_with_the_next_configuration_and_the_old_one_is_not(
    kept: KeptAdmin, tmp_path: Path
) -> None:
    port = free_port()
    kept.listen(config(tmp_path, port))
    kept.take(config(tmp_path, port))
    assert (status(port, FIRST), status(port, SECOND)) == (503, 401)
    kept.take(config(tmp_path, port, SECOND))
    assert (status(port, FIRST), status(port, SECOND)) == (401, 503)


def test_without_the_section_nothing_runs_and_nothing_listens(kept: KeptAdmin, tmp_path: Path) -> None:
    port = free_port()
    kept.take(config(tmp_path, port))
    assert kept.pid is not None
    kept.take(config_of(tree()))
    assert kept.pid is None
    with socket.socket() as again:
        again.bind(("127.0.0.1", port))


def test_a_port_that_is_taken_ends_the_start_but_only_costs_a_reload_the_api(
    kept: KeptAdmin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        began = time.monotonic()
        with pytest.raises(PortTaken, match=r"set another admin\.port"):
            kept.listen(config(tmp_path, taken))
        assert time.monotonic() - began < 20
        kept.take(config(tmp_path, taken))
    assert kept.pid is None
    assert "there is no admin API: cannot listen on" in caplog.text


def test_a_brief_survives_its_pipe(tmp_path: Path) -> None:
    brief = AdminBrief(config(tmp_path, 4001), b"secret", 7, "1")
    assert AdminBrief.load(brief.dump()) == brief
    assert brief.dump().count(b"\n") == 1


@pytest.mark.parametrize(
    ("admin", "told"),
    [
        ({"key": "short"}, "shorter than 16 characters"),
        ({"key": "key-of-the-only-tenant"}, "is also a tenant's key"),
        ({"key": "hmac:12"}, "64 lower-case hex digits"),
        ({"key": "with a space in its text"}, "printable ASCII"),
        ({"key": FIRST, "port": 4000}, "is the gateway's own"),
        ({}, "admin.key"),
    ],
)
def test_a_section_that_would_not_guard_is_refused(admin: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config_of(tree(tenants={"t": {"keys": ["key-of-the-only-tenant"]}}, admin=admin))
    assert told in str(refused.value)
    assert "key-of-the-only-tenant" not in str(refused.value)
