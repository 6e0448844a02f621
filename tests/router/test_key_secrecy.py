"""Keys: refused on every route once they ended, compared in constant time, and written nowhere, whatever happens."""

import hmac
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import redis
from fastapi import FastAPI
from rig import CHAT, SECRET, Got, World, body, config_of, tree
from starlette.routing import Route

from router.admin.gate import Gate
from router.directory.directory import Directory
from router.directory.follower import DirectoryFollower
from router.errors import Unauthorized
from router.routes import Routes
from router.store.archive import archive_once
from router.store.keys import DIRECTORY_KEY
from router.tenants import Tenants, key_hmac

OF_THE_FILE = "gs-key-of-the-file-7d1f"
STRANGER = "gs-key-of-nobody-93ab"
CONFIG = tree(tenants={"filed": {"keys": [OF_THE_FILE], "store_prompts": True}})
EMBED = {"model": "encoder", "input": "hi"}
# Every route that takes a key, and a body that it takes.
GUARDED: list[tuple[str, str, Any]] = [
    ("POST", CHAT, body()),
    ("POST", CHAT, body(stream=True)),
    ("POST", CHAT, body(model="small")),
    ("GET", "/v1/models", None),
    ("GET", "/v1/models/{name:path}", None),
    ("POST", "/v1/embeddings", EMBED),
    ("POST", "/v1/decide", body()),
    ("POST", "/v1/feedback", {"response_id": "chatcmpl-none", "metric": "score", "value": 1}),
]
OPEN = {"/healthz", "/readyz", "/metrics", "/openapi.json"}


@pytest.fixture
def client(valkey_url: str) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(valkey_url) as client:
        yield client


async def ask(world: World, key: str, method: str, path: str, sent: Any) -> Got:
    headers = {"authorization": f"Bearer {key}", "x-client-request-id": "mine"}
    return await world.ask(path.replace("{name:path}", "auto"), sent, method=method, headers=headers)


def test_every_route_that_takes_a_key_is_tried_here(tmp_path: Path) -> None:
    api = FastAPI(docs_url=None, redoc_url=None)
    Routes(None, metrics_dir=tmp_path).install(api)  # type: ignore[arg-type]
    found = {route.path for route in api.routes if isinstance(route, Route)}
    assert found | {CHAT} == {path for _, path, _ in GUARDED} | OPEN


@pytest.mark.asyncio
@pytest.mark.parametrize("ended_by", ["revoked", "rotated", "tenant deleted", "grace over"])
async def test_a_key_that_ended_is_refused_on_every_route_from_the_next_look_on(
    valkey_url: str, tmp_path: Path, client: "redis.Redis", ended_by: str
) -> None:
    async with World(valkey_url, tmp_path, CONFIG) as world:
        directory = Directory(client, config=world.config, secret=SECRET, by="x")
        directory.create_tenant("acme", {})
        key = directory.create_key("acme")
        follower = DirectoryFollower(world.store, secret=SECRET)
        world.gateway.setup = follower.take(world.gateway.setup)
        await follower.look(world.gateway)
        before = [(await ask(world, key.text, *each)).status for each in GUARDED]
        if ended_by == "revoked":
            directory.revoke_key(key.key.key_id)
        elif ended_by == "rotated":
            directory.rotate_key(key.key.key_id, grace_s=0)
        elif ended_by == "tenant deleted":
            directory.delete_tenant("acme")
        else:
            directory.rotate_key(key.key.key_id, grace_s=1e-6)
        await follower.look(world.gateway)
        after = [await ask(world, key.text, *each) for each in GUARDED]
    assert 401 not in before
    assert [(got.status, got.error["code"]) for got in after] == [(401, "invalid_api_key")] * len(GUARDED)


@pytest.mark.asyncio
async def test_no_key_is_in_an_answer_a_log_the_store_or_the_archive(
    valkey_url: str, tmp_path: Path, client: "redis.Redis", caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with World(valkey_url, tmp_path, CONFIG) as world:
        directory = Directory(client, config=world.config, secret=SECRET, by="cli:ann@host")
        directory.create_tenant("acme", {"store_prompts": True, "key_caps": {}})
        made = directory.create_key("acme", name="ci")
        rotated = directory.rotate_key(made.key.key_id, grace_s=3600)
        follower = DirectoryFollower(world.store, secret=SECRET)
        world.gateway.setup = follower.take(world.gateway.setup)
        await follower.look(world.gateway)
        keys = (OF_THE_FILE, made.text, rotated.text, STRANGER)
        answers = [await ask(world, key, *each) for key in keys for each in GUARDED]
        answers += [await world.ask("/v1/nothing", method="GET", headers={"x-api-key": k}) for k in keys]
        directory.revoke_key(rotated.key.key_id)
        await follower.look(world.gateway)
        answers += [await ask(world, rotated.text, *each) for each in GUARDED]
    archive_once(valkey_url, tmp_path)
    statuses = {got.status for got in answers}
    assert statuses >= {200, 401, 404}
    rows = files(tmp_path)
    assert b"'client_request_id': 'mine'" in rows  # so what a request says is found there
    told = b"".join(got.raw + repr(got.headers).encode() for got in answers)
    for key in keys:
        for place in (told, caplog.text.encode(), everything(client), rows):
            assert key.encode() not in place
    # An HMAC is no key, but nobody needs it who does not compare: it stands in one place alone.
    digest = made.key.digest.encode()
    assert digest in client.hget(DIRECTORY_KEY, "document")
    client.hdel(DIRECTORY_KEY, "document")
    assert digest not in told + caplog.text.encode() + everything(client) + rows


def files(folder: Path) -> bytes:
    """All that any file holds, partitions as text."""
    found = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    for path in folder.rglob("*.parquet"):
        with pq.ParquetFile(path) as partition:
            found.append(repr(partition.read().to_pylist()).encode())
    return b"".join(found)


def everything(client: "redis.Redis") -> bytes:
    """All keys and values of the store as text."""
    read: dict[bytes, Any] = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1),
        b"stream": client.xrange,
    }
    found: list[Any] = [(key, read[client.type(key)](key)) for key in client.scan_iter()]
    return repr(found).encode()


@pytest.mark.parametrize("sent", [OF_THE_FILE, STRANGER])
def test_a_tenants_key_is_compared_as_a_whole_hmac_in_constant_time(sent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tenants, compared = Tenants(config_of(CONFIG), SECRET), list[tuple[str, str]]()
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((a, b)))  # and says: not equal
    with pytest.raises(Unauthorized):
        tenants.authenticate({b"x-api-key": sent.encode()})
    # What is looked up first is 8 digits of an HMAC, which say nothing of the key to who does not know the secret.
    digest = key_hmac(SECRET, OF_THE_FILE)
    assert compared == ([(digest, digest)] if sent == OF_THE_FILE else [])
    assert len(digest) == 64


@pytest.mark.asyncio
async def test_the_admin_key_is_compared_as_a_whole_hmac_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: Any) -> None:
        raise AssertionError("it was let through")

    key, compared = "an-admin-key-of-the-tests", list[tuple[str, str]]()
    gate = Gate(never, routes=[], key=key, secret=SECRET, open_routes=[])
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((a, b)))
    for sent in (key, STRANGER):
        scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"x-api-key", sent.encode())]}
        with pytest.raises(Unauthorized):
            await gate(scope, never, never)
    digest = key_hmac(SECRET, key)
    assert compared == [(digest, digest), (key_hmac(SECRET, STRANGER), digest)]
