"""kill -9 under load: what a client saw complete has one outcome, what was begun has one, and there is none besides."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

from router.config.schema import StoreConfig
from router.store.logbook import read_requests
from router.store.place import open_store_for_cli

GATEWAY = """
import asyncio, sys
import orjson
from router.config.schema import StoreConfig
from router.store.base import End, Start
from router.store.embedded import EmbeddedValkey
from router.store.place import data_dir, make_store, recover_embedded

async def begin(store, request_id):
    row = {"request_id": request_id, "decision_id": "d", "organisation": "acme"}
    stub = orjson.dumps({"decision_id": "d", "tenant": "t"})
    await store.begin(Start(request_id, "acme", stub, orjson.dumps(row), b""))
    print("begun", request_id, flush=True)
    return row

async def ask(store, request_id):
    row = orjson.dumps({**await begin(store, request_id), "status": "ok"})
    assert await store.settle(End(request_id, "acme", row, "d", "t"))
    print("closed", request_id, flush=True)

async def serve(config, cycle):
    store = make_store(config)
    await store.start()
    await begin(store, f"{cycle}-never-ends")  # whatever the others are at, one is open when the kill comes
    async def client(k):
        for n in range(1_000_000):
            await ask(store, f"{cycle}-{k}-{n}")
    await asyncio.gather(*(client(k) for k in range(16)))

config = StoreConfig(dir=sys.argv[1])
with EmbeddedValkey(data_dir(config)):
    asyncio.run(recover_embedded(config))
    asyncio.run(serve(config, sys.argv[2]))
"""


def killed_under_load(directory: Path, cycle: int) -> list[tuple[str, str]]:
    """What a gateway said before it was killed: (begun or closed, request id)."""
    with subprocess.Popen(
        [sys.executable, "-c", GATEWAY, str(directory), str(cycle)], stdout=subprocess.PIPE, text=True
    ) as gateway:
        assert gateway.stdout is not None
        said = [gateway.stdout.readline() for _ in range(500 + 100 * cycle)]
        gateway.kill()
        said += gateway.stdout.readlines()
    return [(words[0], words[1]) for line in said if line.endswith("\n") and (words := line.split())]


def test_kill_9_loses_no_outcome_and_doubles_none(tmp_path: Path) -> None:
    said = [word for cycle in range(4) for word in killed_under_load(tmp_path, cycle)]
    begun, closed = ({request for what, request in said if what == wanted} for wanted in ("begun", "closed"))
    with open_store_for_cli(StoreConfig(dir=str(tmp_path))) as url:
        rows = list(read_requests(url, tmp_path))
    assert max(Counter(row["request_id"] for row in rows).values()) == 1
    statuses = {row["request_id"]: row["status"] for row in rows}
    assert {statuses[request] for request in closed} == {"ok"}
    assert {statuses.get(request) for request in begun} <= {"ok", "unknown_after_crash"}
    # Begun or ended, but killed before it could say so: at most one per client and cycle.
    assert len(set(statuses) - begun) <= 4 * 16
    assert {statuses[f"{cycle}-never-ends"] for cycle in range(4)} == {"unknown_after_crash"}
