"""What budgets, limits and pacing add to the two store calls of a request: CPU of store and gateway, on and off.

`python -m bench.budgets` starts a Valkey of its own, sends `begin` and `settle` the way a worker does, a row of usual
size each, and prints medians of interleaved runs. Where a kind is paced it also does what pacing does beside the two
calls. The bound itself, some arithmetic on the request's length, is not in these figures.
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
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import numpy as np
import redis
from ulid import ULID

from bench.stats import spread
from policies.predictions import Predictions
from policies.tradeoff import TradeOff
from router.config.schema import Tenant
from router.pacing import Pacing
from router.store.base import End, Start
from router.store.embedded import EmbeddedValkey
from router.store.ledger import MAX_NANO_USD, ORGANISATION_ACCOUNT, Hold, Window, tenant_account
from router.store.limits import Claim, Limit, key_account
from router.store.valkey import StoreOptions, ValkeyStore
from router.tenants import Caller

if TYPE_CHECKING:
    from router.exchange import Exchange

BAR_US = 40.0
CONCURRENT = 16
SLICES = 10
TENANT = tenant_account("acme")
DAY, HOUR, MONTH = (Window(TENANT, per, MAX_NANO_USD, "acme", paced=per == "day") for per in ("day", "hour", "month"))
OF_ORGANISATION = Window(ORGANISATION_ACCOUNT, "month", MAX_NANO_USD, "globex")
LIMIT = Limit(TENANT, "acme", requests=10**9, tokens=10**10, concurrency=10**6)
OF_KEY = Limit(key_account("0a1b2c3d"), "its key", requests=10**9)


@dataclass(frozen=True)
class Kind:
    """What binds the requests of a run."""

    windows: tuple[Window, ...] = ()
    limits: tuple[Limit, ...] = ()
    is_paced: bool = False


OFF = "off"
TOGETHER = "budget, limits and pacing"  # what the bar is of
KINDS = {
    OFF: Kind(),
    "budget: a tenant's day": Kind((DAY,)),
    "budgets: its hour, day and month": Kind((HOUR, DAY, MONTH)),
    "budgets: day, month, organisation's": Kind((DAY, MONTH, OF_ORGANISATION)),
    "limits: requests, tokens, open": Kind(limits=(LIMIT,)),
    TOGETHER: Kind((DAY,), (LIMIT,), is_paced=True),
    "all, of tenant, organisation and key": Kind((DAY, MONTH, OF_ORGANISATION), (LIMIT, OF_KEY), is_paced=True),
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


def _start(kind: Kind) -> Start:
    """The size of a usual decision: eight arms with their numbers, and an embedding of 384 halves."""
    row = b'{"a":"' + b"x" * 2000 + b'"}'
    hold = Hold(123_000, kind.windows) if kind.windows else None
    claim = Claim(kind.limits, tokens=3000, mode="instant") if kind.limits else None
    return Start("", "globex", stub=b'{"tenant": "acme"}', row=row, embedding=b"e" * 768, hold=hold, claim=claim)


def _end(kind: Kind) -> End:
    return End(
        "", "globex", row=b'{"a":"' + b"x" * 800 + b'"}', decision_id="d" * 30, tenant="acme", session="s" * 32,
        session_value=b"v" * 60, reserved=bool(kind.windows), nano_usd=77_000 if kind.windows else None,
        limited=bool(kind.limits), tokens=1200,
    )  # fmt: skip


def _exchange(kind: Kind) -> Exchange:
    """As much of a request as pacing looks at."""
    caller = Caller("acme", "globex", "", Tenant(), paced=tuple(each for each in kind.windows if each.paced))
    eight = np.full(8, 0.5)
    scores = SimpleNamespace(predictions=Predictions(eight, eight, eight, eight))
    seen = SimpleNamespace(
        caller=caller,
        ask=SimpleNamespace(trade_off=TradeOff(quality_per_usd=10.0), multiplier=1.0),
        ruling=SimpleNamespace(decision=SimpleNamespace(scores=scores)),
        hold=Hold(123_000, kind.windows),
        nano_usd=77_000,
    )
    return cast("Exchange", seen)


async def _requests(store: ValkeyStore, kind: Kind, count: int) -> None:
    pacing, exchange, rng = Pacing(), _exchange(kind), np.random.default_rng(0)

    async def client(mine: int) -> None:
        for _ in range(mine):
            request_id = f"chatcmpl-{ULID()}"
            if kind.is_paced:
                pacing.multiplier(exchange.caller, rng)
            await store.begin(replace(_start(kind), request_id=request_id))
            if kind.is_paced:
                pacing.decided(exchange)
            await store.settle(replace(_end(kind), request_id=request_id))
            if kind.is_paced:
                pacing.ended(exchange)

    await asyncio.gather(*(client(count // CONCURRENT) for _ in range(CONCURRENT)))


async def _cost(store: ValkeyStore, server: redis.Redis, kind: Kind, count: int) -> Cost:
    await _requests(store, kind, CONCURRENT)
    server.flushall()  # every run finds the same: no streams that grew, no table that resizes
    await _requests(store, kind, CONCURRENT)
    store_s, gateway_s = _server_cpu_s(server), time.process_time()
    await _requests(store, kind, count)
    gateway_s = time.process_time() - gateway_s
    store_s = _server_cpu_s(server) - store_s
    return Cost(store_s / count * 1e6, gateway_s / count * 1e6)


def _server_cpu_s(server: redis.Redis) -> float:
    """Of the thread that carries commands out and writes the append-only file."""
    told = server.info("cpu")
    return float(told["used_cpu_user_main_thread"]) + float(told["used_cpu_sys_main_thread"])


async def measured(folder: Path, *, rounds: int, requests: int) -> dict[str, list[Cost]]:
    """By kind its cost in each round, shape (rounds,)."""
    with EmbeddedValkey(folder / "store") as server, redis.Redis.from_url(server.url) as client:
        store = ValkeyStore(server.url, StoreOptions(spool_dir=folder / "spool", high_water_rows=0))
        await store.start()
        out: dict[str, list[Cost]] = {name: [] for name in KINDS}
        for _ in range(rounds):
            slices: dict[str, list[Cost]] = {name: [] for name in KINDS}
            for _ in range(SLICES):  # a round takes seconds, in which a machine's mood changes; a slice does not
                for name, kind in KINDS.items():
                    slices[name].append(await _cost(store, client, kind, requests // SLICES))
            for name, costs in slices.items():
                out[name].append(Cost.mean(costs))
        await store.aclose()
    return out


def added(found: dict[str, list[Cost]]) -> dict[str, dict[str, float]]:
    """By kind what it adds, median over the pairs of each round, in microseconds, with the extremes in all."""
    out: dict[str, dict[str, float]] = {}
    for kind, costs in found.items():
        pairs = list(zip(costs, found[OFF], strict=True))
        total = spread([on.total_us - off.total_us for on, off in pairs])
        out[kind] = {
            "store_us": median(on.store_us - off.store_us for on, off in pairs),
            "gateway_us": median(on.gateway_us - off.gateway_us for on, off in pairs),
            "total_us": total.median,
            "low_us": total.low,
            "high_us": total.high,
        }
    return {kind: figures for kind, figures in out.items() if kind != OFF}


def main(argv: Sequence[str]) -> int:
    """Exit status 1 when budget, limits and pacing together add more than the bar."""
    parser = argparse.ArgumentParser(prog="python -m bench.budgets", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument("--requests", type=int, default=4000, help="requests of each kind in a round (default 4,000)")
    parser.add_argument("--json", action="store_true", dest="as_json", help="print one JSON object")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="bench-budgets-") as folder:
        found = asyncio.run(measured(Path(folder), rounds=options.rounds, requests=options.requests))
    more = added(found)
    base = {name: median(getattr(cost, name) for cost in found[OFF]) for name in ("store_us", "gateway_us")}
    if options.as_json:
        sys.stdout.write(json.dumps({"without": base, "added": more, "bar_us": BAR_US}, indent=2) + "\n")
    else:
        sys.stdout.write(f"off: store {base['store_us']:.0f} µs, gateway {base['gateway_us']:.0f} µs\n")
        for kind, by in more.items():
            sys.stdout.write(
                f"{kind + ':':40} store {by['store_us']:+.1f}, gateway {by['gateway_us']:+.1f}, "
                f"together {by['total_us']:+.1f} µs ({by['low_us']:+.1f} to {by['high_us']:+.1f})\n"
            )
    return 1 if more[TOGETHER]["total_us"] > BAR_US else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
