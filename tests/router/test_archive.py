"""The archiver: a crash after any step, followed by another pass, loses and doubles nothing."""

import threading
from pathlib import Path

import orjson
import pytest
import redis
from crashing import Killed, killed_after

from policies.archive_schema import partitions, read_log
from router.config.schema import StoreConfig
from router.store.archive import archive_once
from router.store.archiver import Archiver, archive_in_child
from router.store.base import End, Start
from router.store.keys import log_key, shard_of
from router.store.valkey import StoreOptions, ValkeyStore

LOG = log_key(shard_of("acme"))


async def fill(url: str, directory: Path, requests: range) -> None:
    store = ValkeyStore(url, StoreOptions(spool_dir=directory / "spool"))
    await store.start()
    for n in requests:
        decision = orjson.dumps({"request_id": f"r{n}", "decision_id": f"d{n}", "kind": "drawn"})
        outcome = orjson.dumps({"request_id": f"r{n}", "decision_id": f"d{n}", "status": "ok"})
        feedback = orjson.dumps({"feedback_id": f"f{n}", "decision_id": f"d{n}", "metric": "score", "value": n})
        await store.begin(Start(f"r{n}", "acme", b"{}", decision, b"\x01\x02"))
        await store.settle(End(f"r{n}", "acme", outcome, f"d{n}", "t"))
        await store.feedback("acme", row=feedback, idempotency_key="")
    await store.aclose()


def archived(directory: Path) -> list[tuple[str, str, list[tuple[str, float]]]]:
    rows = [row for table in read_log(directory) for row in table.to_pylist()]
    return [(row["request_id"], row["outcome_status"], row["feedback"]) for row in rows]


def unreadable(directory: Path) -> bytes:
    (kept,) = directory.glob("archive/outcomes/shard=62/*.unreadable")
    return kept.read_bytes()


def expected(requests: range) -> list[tuple[str, str, list[tuple[str, float]]]]:
    return [(f"r{n}", "ok", [("score", float(n))]) for n in requests]


@pytest.mark.asyncio
async def test_everything_is_archived_and_trimmed(valkey_url: str, tmp_path: Path) -> None:
    await fill(valkey_url, tmp_path, range(10))
    assert archive_once(valkey_url, tmp_path, batch_rows=7) == 30
    assert archived(tmp_path) == expected(range(10))
    assert redis.Redis.from_url(valkey_url).xlen(LOG) == 0
    assert archive_once(valkey_url, tmp_path) == 0


@pytest.mark.parametrize("step", range(1, 17))  # two batches of two steps per kind, acknowledge and trim
@pytest.mark.asyncio
async def test_a_crash_after_any_step_loses_and_doubles_nothing(valkey_url: str, tmp_path: Path, step: int) -> None:
    await fill(valkey_url, tmp_path, range(4))
    with pytest.raises(Killed):
        archive_once(valkey_url, tmp_path, batch_rows=6, step=killed_after(step))
    await fill(valkey_url, tmp_path, range(4, 6))
    archive_once(valkey_url, tmp_path, batch_rows=6)
    assert archived(tmp_path) == expected(range(6))
    assert redis.Redis.from_url(valkey_url).xlen(LOG) == 0


@pytest.mark.asyncio
async def test_partitions_are_named_by_their_first_and_last_stream_id(valkey_url: str, tmp_path: Path) -> None:
    await fill(valkey_url, tmp_path, range(2))
    ids = [stream_id.decode() for stream_id, _ in redis.Redis.from_url(valkey_url).xrange(LOG)]
    archive_once(valkey_url, tmp_path)
    for kind in ("decisions", "outcomes", "feedback"):
        ((path,),) = partitions(tmp_path, kind).values()
        assert path.name == f"{ids[0]}-{ids[-1]}.parquet"


@pytest.mark.asyncio
async def test_only_what_every_reader_acknowledged_is_trimmed(valkey_url: str, tmp_path: Path) -> None:
    await fill(valkey_url, tmp_path, range(2))
    server = redis.Redis.from_url(valkey_url)
    second = server.xrange(LOG)[1][0]
    server.hset("gs:{s62}:ack", "another", second)
    archive_once(valkey_url, tmp_path)
    assert server.xrange(LOG)[0][0] > second
    assert server.xlen(LOG) == 4


@pytest.mark.asyncio
async def test_a_shared_store_is_archived_to_one_place(valkey_url: str, tmp_path: Path) -> None:
    await fill(valkey_url, tmp_path, range(1))
    assert archive_once(valkey_url, tmp_path / "one") == 3
    await fill(valkey_url, tmp_path, range(1, 2))
    assert archive_once(valkey_url, tmp_path / "two") == 0
    assert archive_once(valkey_url, tmp_path / "one") == 3


@pytest.mark.asyncio
async def test_a_row_that_fits_no_schema_is_kept_beside_the_others(valkey_url: str, tmp_path: Path) -> None:
    await fill(valkey_url, tmp_path, range(1))
    redis.Redis.from_url(valkey_url).xadd(LOG, {"t": "o", "at": "1.0", "j": '{"input_tokens": "many"}'})
    archive_once(valkey_url, tmp_path)
    assert archived(tmp_path) == expected(range(1))
    assert unreadable(tmp_path).endswith(b' {"input_tokens": "many"}\n')


@pytest.mark.asyncio
async def test_a_pass_in_a_child_archives_and_a_failed_one_is_no_harm(valkey_url: str, tmp_path: Path) -> None:
    await fill(valkey_url, tmp_path, range(2))
    gone = f"unix://{tmp_path}/nowhere.sock"
    assert archive_in_child(gone, tmp_path, stop=threading.Event()) == 0
    assert archive_in_child(valkey_url, tmp_path, stop=threading.Event()) == 6
    assert archived(tmp_path) == expected(range(2))


@pytest.mark.asyncio
async def test_the_archiver_ends_with_a_last_pass(valkey_url: str, tmp_path: Path) -> None:
    archiver = Archiver(StoreConfig(url=valkey_url, dir=str(tmp_path), archive_s=3600.0))
    archiver.start()
    await fill(valkey_url, tmp_path, range(2))
    archiver.stop()
    assert "archiver" not in {thread.name for thread in threading.enumerate()}
    assert archived(tmp_path) == expected(range(2))
