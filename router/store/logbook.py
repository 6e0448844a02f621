"""The whole log as people read it: one line per client request, from the archive and the live streams together."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from policies.archive_schema import ROWS, DamagedPartition, read_log
from router.store.archive import KINDS, entry, readable
from router.store.base import StoreUnavailable
from router.store.keys import SHARDS, log_key

if TYPE_CHECKING:
    import pyarrow as pa
    import redis

BATCH_ROWS = 8192
NANO = 1_000_000_000

# Name of a line's field -> column of `read_log`.
FROM_DECISION = (
    "client_request_id", "request_id", "decision_id", "organisation", "tenant", "key_id", "end_user", "session",
    "turn", "at",
)  # fmt: skip
FROM_OUTCOME = (
    "input_tokens", "output_tokens", "cached_input_tokens", "cache_write_tokens", "reasoning_tokens", "usage_source",
    "nano_usd", "seconds", "ttft_s", "overhead_s", "finish_reasons", "tool_calls", "fallback_reason", "error",
    "cache_write_1h_tokens", "audio_input_tokens", "audio_output_tokens", "gpu_us", "prices", "usage_flags",
)  # fmt: skip
LIVE_KINDS = tuple(ROWS)


def exact_usd(nano_usd: int | None) -> str | None:
    """A decimal string, exact to the nano-dollar: 1 -> ``0.000000001``."""
    if nano_usd is None:
        return None
    return f"{nano_usd // NANO}.{nano_usd % NANO:09d}"


def read_live(client: "redis.Redis", *, since: float | None = None) -> "dict[int, dict[str, list[pa.Table]]]":
    """Shard -> kind -> tables of the entries in the streams, as `read_log` takes them."""
    live: dict[int, dict[str, list[pa.Table]]] = {}
    for shard in range(SHARDS):
        after = "-" if since is None else str(int(since * 1000))
        while batch := _batch(client, shard, after):
            after = "(" + batch[-1][0].decode()
            for kind in LIVE_KINDS:
                entries = [entry(stream_id, fields) for stream_id, fields in batch if KINDS[fields[b"t"]] == kind]
                if entries:
                    live.setdefault(shard, {}).setdefault(kind, []).append(readable(kind, entries)[0])
    return live


def _batch(client: "redis.Redis", shard: int, after: str) -> list[Any]:
    found: Any = client.xrange(log_key(shard), min=after, count=BATCH_ROWS)
    return list(found)


def read_tables(
    store_url: str,
    directory: Path,
    *,
    since: float | None = None,
    until: float | None = None,
    columns: Iterable[str] | None = None,
) -> "Iterator[pa.Table]":
    """The whole log, joined as `read_log` joins it, with its options.

    Raises:
        StoreUnavailable: The store or a partition of the archive cannot be read.
    """
    import redis

    try:
        with redis.Redis.from_url(store_url, socket_timeout=30) as client:
            live = read_live(client, since=since)
    except redis.RedisError as error:
        raise StoreUnavailable(f"the store cannot be read: {error}") from error
    try:
        yield from read_log(directory, since=since, until=until, live=live, columns=columns)
    except DamagedPartition as damaged:
        raise StoreUnavailable(str(damaged)) from damaged


def read_requests(store_url: str, directory: Path, *, since: float | None = None) -> Iterator[dict[str, Any]]:
    """Every request of the log once, by shard and in the order they began; an open one has status ``open``.

    Raises:
        StoreUnavailable: The store or a partition of the archive cannot be read.
    """
    for table in read_tables(store_url, directory, since=since):
        for row in table.drop_columns(["embedding", "features"]).to_pylist():
            yield line(row)


def line(row: Mapping[str, Any]) -> dict[str, Any]:
    """One request as `gearshift log export` prints it. `prompt` is there when the tenant opted in to storing it."""
    shown: dict[str, Any] = {name: row[name] for name in FROM_DECISION}
    shown |= {
        "status": row["outcome_status"] or "open",
        "http_status": row["outcome_http_status"],
        "kind": row["kind"],
        "late": row["kind"] == "late",
        "far": row["far"],
        "policy": row["policy"],
        "state": row["state"],
        "config": row["config"],
        "requested_model": row["requested_model"],
        "arm": row["arm"],
        "propensity": _propensity(row),
        "served_arm": row["outcome_served_arm"],
        "usd": exact_usd(row["outcome_nano_usd"]),
    }
    shown |= {name: row[f"outcome_{name}"] for name in FROM_OUTCOME}
    shown["attempts"] = orjson.loads(row["outcome_attempts"] or "[]")
    shown["ended_at"] = row["outcome_at"]
    shown["feedback"] = dict(row["feedback"])
    shown["tags"] = dict(row["tags"] or ())
    shown["prompt"] = row["prompt"]
    return shown


def _propensity(row: Mapping[str, Any]) -> float | None:
    """The probability with which the drawn arm was drawn."""
    arms, propensities = row["arms"] or [], row["propensities"] or []
    if row["arm"] not in arms or len(propensities) != len(arms):
        return None
    return float(propensities[arms.index(row["arm"])])
