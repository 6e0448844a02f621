"""Tenants and keys of the store in real gateways: two on one store, several workers each, changed from outside."""

import http.client
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from running import RunningGateway, free_port

SECRET = "a secret that both gateways share"
ADMIN_KEY = "an-admin-key-of-the-tests"
FILED_KEY = "a-tenants-key-of-the-file"
ENV = {"GEARSHIFT_KEY_SECRET": SECRET, "THE_ADMIN_KEY": ADMIN_KEY}
WITHIN_S = 1.5  # a look takes place every half second; the rest is for a busy machine


def config(**more: Any) -> dict[str, Any]:
    models = {"small": {"deployments": [{"upstream": "fake"}], "price": {"input": 0.1, "output": 0.4}}}
    return {"models": models, "encoder": {"name": "minilm"}, "server": {"require_key": True}, **more}


def ask(url: str, key: str) -> int:
    """Status of a chat request on a connection of its own, so that any worker may get it."""
    body = json.dumps({"model": "small", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}).encode()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json", "connection": "close"}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(f"{url}/v1/chat/completions", body, headers), timeout=20
        ) as r:
            return int(r.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def models(connection: http.client.HTTPConnection, key: str) -> int:
    """Status on a connection that stays open."""
    connection.request("GET", "/v1/models", headers={"authorization": f"Bearer {key}"})
    answer = connection.getresponse()
    answer.read()
    return int(answer.status)


def all_answer(gateways: list[RunningGateway], key: str, status: int) -> Callable[[], bool]:
    return lambda: all(ask(gateway.url, key) == status for gateway in gateways for _ in range(6))


def seconds_until(condition: Callable[[], bool]) -> float:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < 30
    return time.monotonic() - began


class Admin:
    """The admin API of a gateway, and the commands beside it."""

    def __init__(self, gateway: RunningGateway, port: int) -> None:
        self._gateway, self._url = gateway, f"http://127.0.0.1:{port}"

    def call(self, method: str, path: str, sent: Any = None) -> Any:
        headers = {"authorization": f"Bearer {ADMIN_KEY}", "content-type": "application/json"}
        data = None if sent is None else json.dumps(sent).encode()
        request = urllib.request.Request(self._url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read())

    def run(self, *words: str) -> str:
        command = [str(Path(sys.executable).parent / "python"), "-m", "policies.cli", *words]
        done = subprocess.run(
            [*command, "--config", str(self._gateway.config_file)],
            capture_output=True, env=self._gateway._env, cwd=self._gateway.folder, check=False, timeout=60, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def gateways(tmp_path: Path) -> Iterator[tuple[list[RunningGateway], Admin]]:
    """One that owns the store, and one that joins it with a data directory of its own."""
    port = free_port()
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    admin = {"port": port, "key": "${THE_ADMIN_KEY}"}
    with RunningGateway(tmp_path / "first", config(admin=admin), workers=2, env=ENV) as first:
        shared = {"url": f"unix://{first.store_dir}/valkey.sock"}
        with RunningGateway(tmp_path / "second", config(store=shared), workers=2, env=ENV) as second:
            yield [first, second], Admin(first, port)


@pytest.mark.accept
def test_every_worker_of_every_gateway_follows_within_seconds(
    gateways: tuple[list[RunningGateway], Admin], stack: ExitStack
) -> None:
    both, admin = gateways
    assert all_answer(both, "nothing", 401)()
    admin.call("POST", "/admin/v1/tenants", {"name": "acme", "settings": {"organisation": "globex"}})
    made = admin.call("POST", "/admin/v1/keys", {"tenant": "acme"})
    taken = {"made by the API": seconds_until(all_answer(both, made["key"], 200))}
    new = admin.run("keys", "rotate", made["key_id"], "--grace", "2s").strip()
    taken["made by the command"] = seconds_until(all_answer(both, new, 200))
    assert seconds_until(all_answer(both, made["key"], 401)) < 2 + WITHIN_S  # the grace runs out by itself
    opened = [http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20) for gateway in both * 6]
    kept_alive = [stack.enter_context(closing(connection)) for connection in opened]
    assert {models(connection, new) for connection in kept_alive} == {200}
    listed = json.loads(admin.run("keys", "list", "--json"))
    (key_id,) = [row["key_id"] for row in listed if row["state"] == "valid"]
    admin.call("DELETE", f"/admin/v1/keys/{key_id}")
    taken["revoked"] = seconds_until(all_answer(both, new, 401))
    assert {models(connection, new) for connection in kept_alive} == {401}  # no connection outlives its key
    assert all(seconds < WITHIN_S for seconds in taken.values()), taken
    assert [e["action"] for e in admin.call("GET", "/admin/v1/audit")["entries"]] == [
        "tenant.create", "key.create", "key.rotate", "key.revoke",
    ]  # fmt: skip
    assert "4 entries" in admin.run("audit", "verify")
    logs = both[0].log_file.read_text() + both[1].log_file.read_text()
    assert not any(key in logs for key in (made["key"], new, ADMIN_KEY))


@pytest.mark.accept
def test_a_tenant_is_erased_over_http_while_the_gateway_serves(gateways: tuple[list[RunningGateway], Admin]) -> None:
    (first, _), admin = gateways
    keys = {}
    for name in ("gone", "stays"):
        admin.call("POST", "/admin/v1/tenants", {"name": name})
        keys[name] = admin.call("POST", "/admin/v1/keys", {"tenant": name})["key"]
    seconds_until(all_answer([first], keys["stays"], 200))
    assert all(ask(first.url, keys["gone"]) == 200 for _ in range(5))
    begun = admin.call("POST", "/admin/v1/tenants/gone/erase")
    told = begun
    while told["state"] == "running":
        assert ask(first.url, keys["stays"]) == 200
        told = admin.call("GET", f"/admin/v1/erasures/{begun['id']}")
    assert (told["state"], told["n_rows"], told["is_compact"]) == ("done", 10, True)
    assert {row["tenant"] for row in first.export()} == {"stays"}
    statement = admin.call("GET", "/admin/v1/statement")
    assert [group["tenant"] for group in statement["groups"]] == ["stays"]
    with pytest.raises(urllib.error.HTTPError, match="404"):
        admin.call("GET", "/admin/v1/erasures/0011223344556677")


@pytest.mark.accept
def test_the_admin_api_comes_back_and_ends_with_its_gateway(tmp_path: Path) -> None:
    port = free_port()
    told = config(admin={"port": port, "key": "${THE_ADMIN_KEY}"}, tenants={"filed": {"keys": ["${THE_FILED_KEY}"]}})
    with RunningGateway(tmp_path, told, env={**ENV, "THE_FILED_KEY": FILED_KEY}) as gateway:
        admin = Admin(gateway, port)
        assert admin.call("GET", "/healthz") == {"status": "ok"}
        command_lines = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in gateway.family()}
        (pid,) = [pid for pid, line in command_lines.items() if b"router.admin.process" in line]
        environments = [Path(f"/proc/{each}/environ").read_bytes() for each in gateway.family() if each != gateway.pid]
        assert len(environments) >= 3  # worker, store, admin API
        for secret in (ADMIN_KEY, SECRET, FILED_KEY):
            assert not any(secret.encode() in text for text in (*command_lines.values(), *environments))
        subprocess.run(["kill", "-9", str(pid)], check=True)
        assert (
            admin.call("GET", "/admin/v1/tenants")[0]["kept_in"] == "file"
        )  # the socket is the supervisor's: it waited
        assert gateway.stop() == 0
        with pytest.raises(OSError, match="refused"):
            admin.call("GET", "/healthz")
