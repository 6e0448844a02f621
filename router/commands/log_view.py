"""How `gearshift log tail` looks: a table of the latest requests, live with --follow."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table

from router.store.base import StoreUnavailable
from router.store.keys import SHARDS, log_key
from router.store.logbook import line

if TYPE_CHECKING:
    import redis

Row = Mapping[str, Any]
LOOK_BACK = 1000  # entries of a stream in which the decisions of requests under way are looked for
PIPED_WIDTH = 160
COLOURS = {
    "ok": "green",
    "error": "red",
    "cancelled": "yellow",
    "upstream_cut": "red",
    "unknown_after_crash": "magenta",
}


def table_of(rows: Iterable[Row]) -> Table:
    """The requests as a table, oldest first. Names from the log are shown as they are, never as markup."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("ended (UTC)", "status", "tenant", "kind", "arm", "p", "tokens", "USD", "s", "request"):
        table.add_column(name, justify="right" if name in ("p", "tokens", "USD", "s") else "left", no_wrap=True)
    for row in rows:
        status = row["status"]
        table.add_row(
            datetime.fromtimestamp(row["ended_at"], tz=UTC).strftime("%m-%d %H:%M:%S"),
            f"[{COLOURS.get(status, 'default')}]{status}[/]",
            *(_plain(text) for text in (row["tenant"], row["kind"], _arm(row))),
            "" if row["propensity"] is None else f"{row['propensity']:.3f}",
            f"{row['input_tokens']}+{row['output_tokens']}",
            row["usd"] or "?",
            f"{row['seconds']:.2f}",
            _plain(row["request_id"]),
        )
    return table


def _plain(text: str | None) -> str:
    return (text or "–").replace("[", r"\[")


def _arm(row: Row) -> str:
    """The drawn arm, and the one that served when another had to."""
    action, served = row["arm"] or "", row["served_arm"] or ""
    return action if served in ("", action) else f"{action} → {served}"


def show(rows: Iterable[Row]) -> None:
    """Print the table."""
    _console().print(table_of(rows))


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=PIPED_WIDTH)


def follow(store_url: str, latest: list[dict[str, Any]], lines: int) -> None:
    """Keep the table current until interrupted; plain lines where there is no terminal.

    Raises:
        StoreUnavailable: The store went away.
    """
    import redis

    shown: deque[Row] = deque(latest, maxlen=lines)
    console = _console()
    try:
        with (
            redis.Redis.from_url(store_url) as client,
            Live(table_of(shown), console=console, auto_refresh=False) as live,
        ):
            for row in ended(client):
                shown.append(row)
                live.update(table_of(shown), refresh=True)
    except redis.RedisError as error:
        raise StoreUnavailable(f"the store went away: {error}") from error


def ended(client: "redis.Redis", *, block_ms: int = 1000) -> Iterator[dict[str, Any]]:
    """Lines of `router.store.logbook` for requests as they end, from now on."""
    begun: dict[str, dict[str, Any]] = {}
    reached: dict[Any, Any] = {log_key(shard).encode(): _newest(client, shard, begun) for shard in range(SHARDS)}
    while True:
        found: Any = client.xread(reached, block=block_ms)
        for key, entries in found.items() if isinstance(found, dict) else found or ():
            for stream_id, fields in entries:
                reached[key] = stream_id
                row = _row(fields)
                if fields[b"t"] == b"d":
                    begun[row["request_id"]] = row
                elif fields[b"t"] == b"o":
                    yield line(_Joined(begun.pop(row["request_id"], {}), row))


def _newest(client: "redis.Redis", shard: int, begun: dict[str, dict[str, Any]]) -> str:
    """The stream's last id; decisions that may still end go to `begun`."""
    newest: Any = client.xrevrange(log_key(shard), count=LOOK_BACK)
    begun |= {row["request_id"]: row for _, fields in newest if fields[b"t"] == b"d" for row in [_row(fields)]}
    return newest[0][0].decode() if newest else "0-0"


def _row(fields: Mapping[bytes, bytes]) -> dict[str, Any]:
    return {"at": float(fields[b"at"]), **orjson.loads(fields[b"j"])}


class _Joined(dict[str, Any]):
    """A decision and its outcome under the names of `policies.archive_schema.read_log`; what is not there is None."""

    def __init__(self, decision: Row, outcome: Row) -> None:
        ended_as = {f"outcome_{name}": value for name, value in outcome.items()}
        super().__init__({**outcome, **decision, **ended_as, "feedback": {}})
        self["outcome_attempts"] = orjson.dumps(outcome["attempts"])

    def __missing__(self, name: str) -> None:
        return None
