"""A worker takes up what the store keeps, and holds to it while the store is away."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from rig import SECRET, World, body, tree

from router.directory.directory import Directory
from router.directory.follower import DirectoryFollower
from router.store.keys import DIRECTORY_KEY

pytestmark = pytest.mark.asyncio
FILE = {"of-the-file": {"keys": ["key-of-the-file"]}}


@pytest.fixture
def client(valkey_url: str) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(valkey_url) as client:
        yield client


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def followed(world: World) -> DirectoryFollower:
    follower = DirectoryFollower(world.store, secret=SECRET, interval_s=0.05)
    world.gateway.setup = follower.take(world.gateway.setup)
    return follower


async def test_a_key_works_once_it_is_made_and_no_more_once_revoked(
    valkey_url: str, tmp_path: Path, client: "redis.Redis"
) -> None:
    async with World(valkey_url, tmp_path, tree(tenants=FILE)) as world:
        directory = Directory(client, config=world.config, secret=SECRET, by="cli:ann@host")
        follower = followed(world)
        await follower.look(world.gateway)
        directory.create_tenant("acme", {"organisation": "globex", "trade_off": "cheap"})
        made = directory.create_key("acme")
        assert (await world.chat(body(), **bearer(made.text))).status == 401
        await follower.look(world.gateway)
        served = await world.chat(body(), **bearer(made.text))
        directory.revoke_key(made.key.key_id)
        await follower.look(world.gateway)
        refused = await world.chat(body(), **bearer(made.text))
        assert (await world.chat(body(), **bearer("key-of-the-file"))).status == 200
        (row,) = [row for row in world.rows(b"d") if row["tenant"] == "acme"]
    assert (served.status, refused.status, refused.error["code"]) == (200, 401, "invalid_api_key")
    assert (row["organisation"], row["key_id"]) == ("globex", made.key.key_id)


async def test_a_changed_budget_binds_from_the_next_look_on(
    valkey_url: str, tmp_path: Path, client: "redis.Redis"
) -> None:
    async with World(valkey_url, tmp_path, tree(tenants=FILE)) as world:
        directory = Directory(client, config=world.config, secret=SECRET, by="cli:ann@host")
        directory.create_tenant("acme", {})
        key = directory.create_key("acme").text
        follower = followed(world)
        await follower.look(world.gateway)
        before = await world.chat(body(), **bearer(key))
        directory.set_budget("acme", "day", 1e-9)
        await follower.look(world.gateway)
        after = await world.chat(body(), **bearer(key))
        assert world.gateway.setup.config.tenants["acme"].budgets[0].usd == 1e-9
    assert (before.status, after.status, after.error["code"]) == (200, 429, "budget_exceeded")


async def test_it_looks_by_itself_and_asks_for_nothing_else_while_nothing_changes(
    valkey_url: str, tmp_path: Path, client: "redis.Redis"
) -> None:
    async with World(valkey_url, tmp_path, tree(tenants=FILE)) as world:
        asked: list[tuple[str, ...]] = []
        real = world.store.fields

        async def counted(key: str, *names: str) -> list[bytes | None]:
            asked.append(names)
            found: list[bytes | None] = await real(key, *names)
            return found

        world.store.fields = counted  # type: ignore[method-assign]
        follower = followed(world)
        task = asyncio.create_task(follower.follow(world.gateway))
        async with asyncio.timeout(10):
            while len(asked) < 6:  # noqa: ASYNC110 - the follower's own pace
                await asyncio.sleep(0.01)
        assert asked.count(("head", "document")) == 1
        Directory(client, config=world.config, secret=SECRET, by="x").create_tenant("acme", {})
        async with asyncio.timeout(10):
            while "acme" not in world.gateway.setup.tenants.usable:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        task.cancel()


async def test_what_is_known_stays_while_the_store_is_away_or_cannot_be_read(
    valkey_url: str, tmp_path: Path, client: "redis.Redis", caplog: pytest.LogCaptureFixture
) -> None:
    async with World(valkey_url, tmp_path, tree(tenants=FILE)) as world:
        directory = Directory(client, config=world.config, secret=SECRET, by="x")
        directory.create_tenant("acme", {})
        made = directory.create_key("acme")
        follower = followed(world)
        await follower.look(world.gateway)
        client.hset(DIRECTORY_KEY, mapping={"head": "9 x", "document": b'{"v": 99}'})
        for _ in range(3):
            await follower.look(world.gateway)
        assert (await world.chat(body(), **bearer(made.text))).status == 200
        await world.store._link.aclose()
        world.store._link._connection = None
        await follower.look(world.gateway)
        assert world.gateway.setup.tenants.authenticate({b"x-api-key": made.text.encode()}).tenant == "acme"
    (told,) = [record.message for record in caplog.records if "stay as they are" in record.message]  # once
    assert "have format 99, this version reads 1: upgrade gearshift" in told


async def test_a_reload_keeps_what_the_store_keeps_and_says_what_no_longer_fits(
    valkey_url: str, tmp_path: Path, client: "redis.Redis", caplog: pytest.LogCaptureFixture
) -> None:
    async with World(valkey_url, tmp_path, tree("small", "large", tenants=FILE)) as world:
        directory = Directory(client, config=world.config, secret=SECRET, by="x")
        for name, model in (("acme", "small"), ("beta", "large")):
            directory.create_tenant(name, {"models": [model]})
        keys = {name: directory.create_key(name).text for name in ("acme", "beta")}
        follower = followed(world)
        await follower.look(world.gateway)
        fewer = world.config.model_copy(update={"models": {"small": world.config.models["small"]}})
        world.gateway.setup = follower.take(world.setup_of(fewer))
        got = {name: await world.chat(body(), **bearer(key)) for name, key in keys.items()}
    assert (got["acme"].status, got["beta"].status, got["beta"].error["code"]) == (200, 403, "tenant_unusable")
    assert "tenant 'beta' of the store is not served here: tenants.beta.models[0]: no such model" in caplog.text


async def test_keys_made_under_another_secret_are_told(
    valkey_url: str, tmp_path: Path, client: "redis.Redis", caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    async with World(valkey_url, tmp_path, tree(tenants=FILE)) as world:
        other = Directory(client, config=world.config, secret=b"another secret", by="x")
        other.compare_secret()
        other.create_tenant("acme", {})
        await followed(world).look(world.gateway)
    assert "made under another key secret" in caplog.text
