"""What budgets add to the two store calls of a request: CPU of the store and of the gateway, on and off in turn.

`python -m bench.budgets` starts a Valkey of its own, sends `begin` and `settle` the way a worker does, a row of usual
size each, without a budget and with budgets of one and of three windows, and prints medians of interleaved runs.
The bound itself, some arithmetic on the request's length, is not in these figures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median

import redis
from ulid import ULID

from bench.stats import spread
from router.store.base import End, Start
from router.store.embedded import EmbeddedValkey
from router.store.ledger import MAX_NANO_USD, ORGANISATION_ACCOUNT, Hold, Window, tenant_account
from router.store.valkey import StoreOptions, ValkeyStore

BAR_US = 40.0
CONCURRENT = 16
SLICES = 10
TENANT = tenant_account("acme")
# Name -> windows: without a budget, a tenant's day, and its hour and month beside its organisation's month.
KINDS: dict[str, tuple[Window, ...]] = {
    "none": (),
    "one": (Window(TENANT, "day", MAX_NANO_USD, "acme"),),
    "three": (
        Window(TENANT, "hour", MAX_NANO_USD, "acme"),
        Window(TENANT, "day", MAX_NANO_USD, "acme"),
        Window(TENANT, "month", MAX_NANO_USD, "acme"),
    ),
    "three of two owners": (
        Window(TENANT, "day", MAX_NANO_USD, "acme"),
        Window(TENANT, "month", MAX_NANO_USD, "acme"),
        Window(ORGANISATION_ACCOUNT, "month", MAX_NANO_USD, "globex"),
    ),
}


@dataclass(frozen=True)
class Cost:
    """CPU of one request's begin and settle, in microseconds: the store's, and this process's."""

    store_us: float
    gateway_us: float

    @property
    def total_us(self) -> float:
        return self.store_us + self.gateway_us

    @classmethod
    def mean(cls, slices: Sequence[Cost]) -> Cost:
        return cls(fmean(each.store_us for each in slices), fmean(each.gateway_us for each in slices))


def _start(hold: Hold | None) -> Start:
    """The size of a usual decision: eight arms with their numbers, and an embedding of 384 halves."""
    row = b'{"a":"' + b"x" * 2000 + b'"}'
    return Start("", "globex", stub=b'{"tenant": "acme"}', row=row, embedding=b"e" * 768, hold=hold)


def _end(hold: Hold | None) -> End:
    return End(
        "", "globex", row=b'{"a":"' + b"x" * 800 + b'"}', decision_id="d" * 30, tenant="acme", session="s" * 32,
        session_value=b"v" * 60, reserved=hold is not None, nano_usd=77_000 if hold is not None else None,
    )  # fmt: skip


async def _requests(store: ValkeyStore, windows: Sequence[Window], count: int) -> None:
    async def client(mine: int) -> None:
        for _ in range(mine):
            hold = Hold(123_000, windows) if windows else None
            request_id = f"chatcmpl-{ULID()}"
            await store.begin(replace(_start(hold), request_id=request_id))
            await store.settle(replace(_end(hold), request_id=request_id))

    await asyncio.gather(*(client(count // CONCURRENT) for _ in range(CONCURRENT)))


async def _cost(store: ValkeyStore, server: redis.Redis, windows: Sequence[Window], count: int) -> Cost:
    await _requests(store, windows, CONCURRENT)
    server.flushall()  # every run finds the same: no streams that grew, no table that resizes
    await _requests(store, windows, CONCURRENT)
    store_s, gateway_s = _server_cpu_s(server), time.process_time()
    await _requests(store, windows, count)
    gateway_s = time.process_time() - gateway_s
    store_s = _server_cpu_s(server) - store_s
    return Cost(store_s / count * 1e6, gateway_s / count * 1e6)


def _server_cpu_s(server: redis.Redis) -> float:
    """Of the thread that carries commands out and writes the append-only file."""
    told = server.info("cpu")
    return float(told["used_cpu_user_main_thread"]) + float(told["used_cpu_sys_main_thread"])


async def measured(folder: Path, *, rounds: int, requests: int) -> dict[str, list[Cost]]:
    """By kind of budget its cost in each round, shape (rounds,)."""
    with EmbeddedValkey(folder / "store") as server, redis.Redis.from_url(server.url) as client:
        store = ValkeyStore(server.url, StoreOptions(spool_dir=folder / "spool", high_water_rows=0))
        await store.start()
        out: dict[str, list[Cost]] = {kind: [] for kind in KINDS}
        for _ in range(rounds):
            slices: dict[str, list[Cost]] = {kind: [] for kind in KINDS}
            for _ in range(SLICES):  # a round takes seconds, in which a machine's mood changes; a slice does not
                for kind, windows in KINDS.items():
                    slices[kind].append(await _cost(store, client, windows, requests // SLICES))
            for kind, costs in slices.items():
                out[kind].append(Cost.mean(costs))
        await store.aclose()
    return out


def added(found: dict[str, list[Cost]]) -> dict[str, dict[str, float]]:
    """By kind what it adds to none, median over the pairs of each round, in microseconds, with the extremes in all."""
    out: dict[str, dict[str, float]] = {}
    for kind, costs in found.items():
        pairs = list(zip(costs, found["none"], strict=True))
        total = spread([on.total_us - off.total_us for on, off in pairs])
        out[kind] = {
            "store_us": median(on.store_us - off.store_us for on, off in pairs),
            "gateway_us": median(on.gateway_us - off.gateway_us for on, off in pairs),
            "total_us": total.median,
            "low_us": total.low,
            "high_us": total.high,
        }
    return {kind: figures for kind, figures in out.items() if kind != "none"}


def main(argv: Sequence[str]) -> int:
    """Exit status 1 when some kind of budget adds more than the bar."""
    parser = argparse.ArgumentParser(prog="python -m bench.budgets", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument("--requests", type=int, default=4000, help="requests of each kind in a round (default 4,000)")
    parser.add_argument("--json", action="store_true", dest="as_json", help="print one JSON object")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="bench-budgets-") as folder:
        found = asyncio.run(measured(Path(folder), rounds=options.rounds, requests=options.requests))
    more = added(found)
    base = {name: median(getattr(cost, name) for cost in found["none"]) for name in ("store_us", "gateway_us")}
    if options.as_json:
        sys.stdout.write(json.dumps({"without": base, "added": more, "bar_us": BAR_US}, indent=2) + "\n")
    else:
        sys.stdout.write(f"without a budget: store {base['store_us']:.0f} µs, gateway {base['gateway_us']:.0f} µs\n")
        for kind, by in more.items():
            sys.stdout.write(
                f"{kind + ':':24} store {by['store_us']:+.1f}, gateway {by['gateway_us']:+.1f}, "
                f"together {by['total_us']:+.1f} µs ({by['low_us']:+.1f} to {by['high_us']:+.1f})\n"
            )
    return 1 if any(by["total_us"] > BAR_US for by in more.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
