"""The admin API over a store, asked in this process."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import redis
from rig import Got, Wire, config_of, tree

from router.admin.app import create_admin_app
from router.config.schema import Config

SECRET = b"the tests' secret"
ADMIN_KEY = "an-admin-key-of-the-tests"
CONFIG = config_of(
    tree(
        tenants={"of-the-file": {"keys": ["key-of-the-file"], "budgets": [{"per": "day", "usd": 2}]}},
        admin={"key": ADMIN_KEY},
    )
)
ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}


class Api:
    """The application over a store, asked one request at a time."""

    def __init__(self, client: "redis.Redis", config: Config = CONFIG) -> None:
        self.client = client
        self.app = create_admin_app(config, client=client, secret=SECRET, version="1")

    def ask(self, method: str, path: str, sent: Any = None, headers: Mapping[str, str] = ADMIN) -> Got:
        return asyncio.run(asked(self.app, method, path, sent, headers))


async def asked(app: Any, method: str, path: str, sent: Any, headers: Mapping[str, str]) -> Got:
    wire = Wire(b"" if sent is None else orjson.dumps(sent))
    path, _, query = path.partition("?")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": path,
        "raw_path": path.encode(), "query_string": query.encode(), "scheme": "http", "server": ("127.0.0.1", 4001),
        "client": ("10.1.2.3", 5), "root_path": "",
        "headers": [
            (name.encode(), value.encode()) for name, value in {"content-type": "application/json", **headers}.items()
        ],
    }  # fmt: skip
    await asyncio.wait_for(app(scope, wire.receive, wire.send), 20)
    return wire.got


def placed(url: str, directory: Path) -> Config:
    """`CONFIG` with its store there."""
    return CONFIG.model_copy(update={"store": CONFIG.store.model_copy(update={"url": url, "dir": str(directory)})})


def ended(api: Api, erasure: Got) -> dict[str, Any]:
    """What became of an erasure."""
    path = erasure.headers["location"]
    for _ in range(2000):
        told: dict[str, Any] = api.ask("GET", path).json
        if told["state"] != "running":
            return told
        time.sleep(0.01)
    raise AssertionError(f"{path} still runs")
