"""The admin API: who may ask what, what each route does, and what it says when it cannot."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from admin_api import ADMIN, ADMIN_KEY, CONFIG, SECRET, Api, asked, ended, placed
from rig import Got, Wire
from starlette.routing import BaseRoute, Mount, Route

from router.admin.app import OPEN_PATHS, admin_api, create_admin_app
from router.admin.gate import Gate
from router.directory.directory import Directory
from router.http.boundary import ErrorBoundary
from router.store.keys import AUDIT_KEY, DIRECTORY_KEY
from router.tenants import Tenants, key_hmac

FILED_KEY_ID = key_hmac(SECRET, "key-of-the-file")[:8]


@pytest.fixture
def client(valkey_url: str) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(valkey_url) as client:
        yield client


@pytest.fixture
def api(client: "redis.Redis", valkey_url: str, tmp_path: Path) -> Api:
    return Api(client, placed(valkey_url, tmp_path))


def every_route() -> list[tuple[str, str]]:
    """Method and path of each route of the application itself, so that a new one is in the matrix by being there."""
    with redis.Redis() as nobody:
        routes = admin_api(CONFIG, client=nobody, secret=SECRET, version="1").routes
    assert all(isinstance(route, Route) for route in routes)
    return [
        (method, route.path) for route in routes if isinstance(route, Route) for method in sorted(route.methods or ())
    ]


@pytest.mark.parametrize(("method", "path"), every_route())
def test_each_route_with_no_key_a_tenants_key_and_the_admin_key(api: Api, method: str, path: str) -> None:
    made = Directory(api.client, config=CONFIG, secret=SECRET, by="x")
    made.create_tenant("acme", {})
    tenant_keys = ["key-of-the-file", made.create_key("acme").text]
    for key in tenant_keys:
        assert Tenants(CONFIG, SECRET, kept=made.read()).authenticate({b"x-api-key": key.encode()})
    filled = re.sub(r"\{\w+\}", "acme", path)
    before = made.read()
    strangers: list[dict[str, str]] = [{}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {ADMIN_KEY}"}]
    strangers += [{"authorization": f"Bearer {key}"} for key in tenant_keys]
    strangers += [{"x-api-key": key_hmac(SECRET, ADMIN_KEY)}, {"authorization": "Bearer \xff"}]
    refused = [api.ask(method, filled, {}, headers) for headers in strangers]
    if path in OPEN_PATHS:
        assert {got.status for got in refused} == {200}
        return
    assert [got.status for got in refused] == [401] * len(strangers)
    if method != "HEAD":
        assert {got.error["code"] for got in refused} == {"invalid_api_key"}
    assert made.read() == before
    got = api.ask(method, filled, {}, ADMIN)
    assert got.status != 401
    if got.status == 202:
        ended(api, got)
    assert api.ask("GET", "/admin/v1/keys", {}, {"x-api-key": ADMIN_KEY}).status == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/docs"),
        ("GET", "/redoc"),
        ("GET", "/admin/v1/nothing"),
        ("GET", "/healthz/"),
        ("GET", "//healthz"),
        ("GET", "/healthz/../admin/v1/keys"),
        ("POST", "/healthz"),
        ("OPTIONS", "/openapi.json"),
        ("DELETE", "/admin/v1/tenants"),
    ],
)
def test_what_leads_nowhere_needs_the_key_as_well(api: Api, method: str, path: str) -> None:
    assert api.ask(method, path, headers={}).status == 401
    with_key = api.ask(method, path)
    assert with_key.status in (404, 405)
    assert with_key.error["code"] in ("not_found", "method_not_allowed")


def test_a_route_that_nobody_named_open_is_closed() -> None:
    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    mounted, named = Mount("/files", app=answer), Route("/open", answer)
    twin = Route("/open", answer)
    routes: list[BaseRoute] = [mounted, named]
    app = ErrorBoundary(Gate(answer, routes=routes, key=ADMIN_KEY, secret=SECRET, open_routes=[named, twin]))
    statuses = [asyncio.run(asked(app, "GET", path, None, {})).status for path in ("/open", "/files", "/files/open")]
    assert statuses == [200, 401, 401]
    other = ErrorBoundary(Gate(answer, routes=routes, key=ADMIN_KEY, secret=SECRET, open_routes=[twin]))
    assert asyncio.run(asked(other, "GET", "/open", None, {})).status == 401  # an equal path is not the same route


def test_an_admin_key_may_stand_as_its_hmac(client: "redis.Redis") -> None:
    hashed = CONFIG.model_copy(
        update={"admin": CONFIG.admin.model_copy(update={"key": f"hmac:{key_hmac(SECRET, ADMIN_KEY)}"})}  # type: ignore[union-attr]
    )
    app = create_admin_app(hashed, client=client, secret=SECRET, version="1")
    assert asyncio.run(asked(app, "GET", "/admin/v1/keys", None, ADMIN)).status == 200


def test_from_a_tenant_to_a_revoked_key_and_its_log(api: Api, client: "redis.Redis") -> None:
    made = api.ask("POST", "/admin/v1/tenants", {"name": "acme", "settings": {"explore": 0.1}})
    assert (made.status, made.json["kept_in"], made.json["settings"]) == (200, "store", {"explore": 0.1})
    changed = api.ask("PATCH", "/admin/v1/tenants/acme", {"settings": {"explore": None, "trade_off": "cheap"}})
    assert changed.json["settings"] == {"trade_off": "cheap"}
    key = api.ask("POST", "/admin/v1/keys", {"tenant": "acme", "name": "ci"}).json
    assert key["key_id"] == key_hmac(SECRET, key["key"])[:8]
    new = api.ask("POST", f"/admin/v1/keys/{key['key_id']}/rotate", {"grace_s": 60}).json
    listed = api.ask("GET", "/admin/v1/keys?tenant=acme").json
    assert {row["key_id"]: row["state"] for row in listed} == {key["key_id"]: "ending", new["key_id"]: "valid"}
    assert api.ask("DELETE", f"/admin/v1/keys/{key['key_id']}").json["tenant"] == "acme"
    api.ask("PUT", "/admin/v1/tenants/acme/budget", {"per": "day", "usd": 5})
    budgets = api.ask("GET", "/admin/v1/budgets").json
    assert {name: told["limit_usd"] for name, told in budgets.items()} == {"of-the-file": 2.0, "acme": 5.0}
    assert api.ask("DELETE", "/admin/v1/tenants/acme").json == {"name": "acme"}
    page = api.ask("GET", "/admin/v1/audit?limit=4").json
    rest = api.ask("GET", f"/admin/v1/audit?after={page['next_after']}&limit=4").json
    entries = [*page["entries"], *rest["entries"]]
    assert [entry["action"] for entry in entries] == [
        "tenant.create", "tenant.set", "key.create", "key.rotate", "key.revoke", "budget.set", "tenant.delete",
    ]  # fmt: skip
    assert rest["next_after"] is None
    assert {entry["by"] for entry in entries} == {f"api:{key_hmac(SECRET, ADMIN_KEY)[:8]}@10.1.2.3"}
    told = api.ask("GET", "/admin/v1/audit").raw
    assert key["key"].encode() not in told
    assert new["key"].encode() not in told
    assert api.ask("GET", "/admin/v1/audit/verify").json == {"whole": True, "n_entries": 7, "problem": None}
    client.lset(AUDIT_KEY, 2, client.lindex(AUDIT_KEY, 2).replace(b"acme", b"ACME"))
    broken = api.ask("GET", "/admin/v1/audit/verify").json
    assert (broken["whole"], broken["problem"]) == (False, "entry 3 was changed after it was written")


@pytest.mark.parametrize(
    ("method", "path", "sent", "status", "code"),
    [
        ("POST", "/admin/v1/tenants", {"name": "of-the-file"}, 409, "read_only"),
        ("PATCH", "/admin/v1/tenants/of-the-file", {"settings": {"explore": 0}}, 409, "read_only"),
        ("DELETE", "/admin/v1/tenants/of-the-file", None, 409, "read_only"),
        ("PUT", "/admin/v1/tenants/of-the-file/budget", {"per": "day", "usd": 1}, 409, "read_only"),
        ("POST", "/admin/v1/keys", {"tenant": "of-the-file"}, 409, "read_only"),
        ("POST", "/admin/v1/tenants", {"name": "acme"}, 409, "conflict"),
        ("GET", "/admin/v1/tenants/nobody", None, 404, "unknown_tenant"),
        ("PATCH", "/admin/v1/tenants/nobody", {"settings": {}}, 404, "unknown_tenant"),
        ("DELETE", "/admin/v1/keys/00000000", None, 404, "unknown_key"),
        ("POST", "/admin/v1/keys/00000000/rotate", {}, 404, "unknown_key"),
        ("DELETE", f"/admin/v1/keys/{FILED_KEY_ID}", None, 409, "read_only"),
        ("POST", f"/admin/v1/keys/{FILED_KEY_ID}/rotate", {}, 409, "read_only"),
        ("POST", "/admin/v1/tenants", {"name": "a b"}, 400, "invalid_request"),
        ("POST", "/admin/v1/tenants", {"name": "b", "settings": {"exlpore": 1}}, 400, "invalid_request"),
        ("POST", "/admin/v1/tenants", {"name": "b", "settings": {"keys": ["k"]}}, 400, "invalid_request"),
        ("POST", "/admin/v1/tenants", {"name": "b", "organisation": "o"}, 400, "invalid_request"),
        ("POST", "/admin/v1/tenants", [], 400, "invalid_request"),
        ("PUT", "/admin/v1/tenants/acme/budget", {"per": "dya", "usd": 1}, 400, "invalid_request"),
        ("PUT", "/admin/v1/tenants/acme/budget", {"per": "day", "usd": -1}, 400, "invalid_request"),
        ("PUT", "/admin/v1/tenants/acme/budget", {"per": "day", "usd": 1e12}, 400, "invalid_request"),
        ("POST", "/admin/v1/keys/00000000/rotate", {"grace_s": -1}, 400, "invalid_request"),
        ("GET", "/admin/v1/audit?after=-1", None, 400, "invalid_request"),
    ],
)
def test_what_cannot_be_done_is_an_openai_error_and_changes_nothing(
    api: Api, client: "redis.Redis", method: str, path: str, sent: Any, status: int, code: str
) -> None:
    Directory(client, config=CONFIG, secret=SECRET, by="x").create_tenant("acme", {})
    got = api.ask(method, path, sent)
    assert (got.status, got.error["code"]) == (status, code)
    assert set(got.error) == {"message", "type", "param", "code"}
    assert client.llen(AUDIT_KEY) == 1


def test_a_body_that_is_no_json_is_refused(api: Api) -> None:
    async def send_garbage() -> Got:
        wire = Wire(b"{")
        scope = {
            "type": "http", "http_version": "1.1", "method": "POST", "path": "/admin/v1/tenants", "query_string": b"",
            "headers": [(b"x-api-key", ADMIN_KEY.encode()), (b"content-type", b"application/json")], "root_path": "",
        }  # fmt: skip
        await api.app(scope, wire.receive, wire.send)
        return wire.got

    got = asyncio.run(send_garbage())
    assert (got.status, got.error["code"], got.error["param"]) == (400, "invalid_request", "body")
    assert got.error["message"].startswith("the body is no JSON (at character 1)")


def test_a_store_that_is_away_or_unreadable_is_503(client: "redis.Redis") -> None:
    with redis.Redis(unix_socket_path="/nowhere/at/all.sock") as nobody:
        got = Api(nobody).ask("GET", "/admin/v1/tenants")
    assert (got.status, got.error["code"]) == (503, "store_unavailable")
    client.hset(DIRECTORY_KEY, mapping={"head": "1 x", "document": b'{"v": 9}'})
    got = Api(client).ask("POST", "/admin/v1/tenants", {"name": "acme"})
    assert (got.status, got.error["code"]) == (503, "unavailable")


def test_the_description_names_every_route_and_no_secret(api: Api) -> None:
    got = api.ask("GET", "/openapi.json", headers={})
    described = {(method.upper(), path) for path, item in got.json["paths"].items() for method in item}
    assert described == {(m, p) for m, p in every_route() if p != "/openapi.json"}
    for path, item in got.json["paths"].items():
        for told in item.values():
            assert ("security" in told) == (path not in OPEN_PATHS)  # so that generated clients send the key
            assert {"4XX", "5XX"} < set(told["responses"])
            assert "422" not in told["responses"]
    assert b"key-of-the-file" not in got.raw
    assert ADMIN_KEY.encode() not in got.raw
