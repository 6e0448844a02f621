"""Measures one gateway once: every figure of one round, as a flat mapping from the figure's name to its value."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from bench import proc
from bench.fake import FakeUpstream
from bench.gateways.base import Gateway, GatewayFailed, Running, running
from bench.gateways.gearshift import Decisions, Gearshift, decisions
from bench.load import Load, LoadFailed, Run, Target, require_clean, run_load, run_wrk
from bench.prompts import VARIANTS, Workload
from bench.stats import per_event_us, percentile

Figures = dict[str, float]
CONNECTIONS = 16
PROBE_REQUESTS = 200
LATE_SHARE_ALLOWED = 0.001
EVENTS_LONG, EVENTS_SHORT = 100, 1


@dataclass(frozen=True)
class Cores:
    """Where things run: the gateway alone on one core, upstream and load generator on the other."""

    gateway: int
    load: int


@dataclass(frozen=True)
class Effort:
    """How long each measurement takes and how much load it sends."""

    seconds: float = 3.0
    min_requests: int = 300
    paced_streams: int = 32
    first_event_streams: int = 50
    with_wrk: bool = False


@dataclass(frozen=True)
class Row:
    """One line of the report: a gateway with prompts of one length, new ones (cold) or repeated ones (warm)."""

    words: int
    unique: bool
    streams: bool = False

    @property
    def label(self) -> str:
        return f"{self.words} words, {'cold' if self.unique else 'warm'}"


@dataclass(frozen=True)
class Bench:
    """What every measurement of a run shares. `nonces` gives each load run numbers that no other run has used."""

    upstream: FakeUpstream
    cores: Cores
    effort: Effort
    nonces: Iterator[int]

    def load(self, target: Target, work: Workload, load: Load) -> Run:
        """One run of the generator, all of it answered well.

        Raises:
            LoadFailed: A request failed or was left without an answer.
        """
        run = run_load(target, work, load, nonce=next(self.nonces), core=self.cores.load)
        return require_clean(run, what=f"port {target.port}, {dict(work.fields)['model']}")


def nonces() -> Iterator[int]:
    """Starting points ten million apart."""
    return count(0, 10_000_000)


def workload(gateway: Gateway, row: Row, answer: str = "bench-plain") -> Workload:
    """The row's prompts in the gateway's words, asking the upstream for this answer."""
    fields = tuple(gateway.fields(answer).items())
    return Workload(fields, row.words, row.unique, stream=answer != "bench-plain")


@contextmanager
def _all_served(bench: Bench, requests: int) -> Iterator[None]:
    """Fails when the upstream served another number of answers: something was cached, retried or dropped."""
    before = bench.upstream.served()
    yield
    after = bench.upstream.served()
    served = sum(after[kind] - before[kind] for kind in ("plain", "burst", "paced"))
    if served != requests:
        raise LoadFailed(f"{requests} requests were answered but the upstream served {served}")


def _made(it: Running, gateway: Gateway) -> Decisions:
    return decisions(it.target.port) if isinstance(gateway, Gearshift) else Decisions(0, 0)


def busiest(bench: Bench, it: Running, gateway: Gateway, work: Workload) -> tuple[int, Figures]:
    """How many connections saturate the core without late decisions, and what 16 connections would have made late.

    A decision that is late skips its encoder: at such a load CPU per request would be the price of not routing. So we
    take the largest of 16, 8, 4, 2, 1 at which at most one decision in a thousand is late; peers have none.
    """
    shares: list[float] = []
    for connections in (16, 8, 4, 2, 1):
        before = _made(it, gateway)
        bench.load(it.target, work, Load(PROBE_REQUESTS, connections))
        made = _made(it, gateway) - before
        shares.append(made.late / made.total if made.total else 0.0)
        if shares[-1] <= LATE_SHARE_ALLOWED:
            break
    figures = {"connections": float(connections)}
    return connections, figures | ({"late_share_c16": shares[0]} if isinstance(gateway, Gearshift) else {})


def cpu_and_rate(bench: Bench, it: Running, work: Workload, *, connections: int) -> Figures:
    """CPU per request and requests per second of the saturated core, over a fixed number of requests."""
    probe = bench.load(it.target, work, Load(PROBE_REQUESTS, connections))
    rate = PROBE_REQUESTS / probe.elapsed_s
    number = max(bench.effort.min_requests, round(rate * bench.effort.seconds))
    with _all_served(bench, number):
        before = proc.cpu_s(it.pid)
        run = bench.load(it.target, work, Load(number, connections))
        used = proc.cpu_s(it.pid) - before
    per_request = {"cpu_ms": used.total, "cpu_gateway_ms": used.gateway, "cpu_store_ms": used.store}
    return {name: value / number * 1e3 for name, value in per_request.items()} | {
        "rps": number / run.elapsed_s,
        "requests": float(number),
    }


def latency_at_half(bench: Bench, it: Running, work: Workload, *, rps: float) -> Figures:
    """Latency from the scheduled arrival at half of the measured capacity, less the direct median at the same rate."""
    rate = rps / 2
    load = Load(max(100, round(rate * bench.effort.seconds)), connections=256, rate_per_s=rate)
    before = proc.cpu_s(it.pid)
    through = bench.load(it.target, work, load).latency_s
    used = proc.cpu_s(it.pid) - before
    plain = replace(work, fields=(("model", "bench-plain"),))
    direct = bench.load(Target(bench.upstream.port), plain, replace(load, count=max(100, load.count // 2))).latency_s
    direct_p50 = percentile(direct, 50)
    return {
        "half_rps": rate,
        "cpu_at_half_ms": used.total / load.count * 1e3,
        "latency_requests": float(through.size),
        "p50_ms": percentile(through, 50) * 1e3,
        "p99_ms": percentile(through, 99) * 1e3,
        "direct_p50_ms": direct_p50 * 1e3,
        "direct_p99_ms": percentile(direct, 99) * 1e3,
        "added_p50_ms": (percentile(through, 50) - direct_p50) * 1e3,
        "added_p99_ms": (percentile(through, 99) - direct_p50) * 1e3,
    }


def _stream_cpu_s(bench: Bench, it: Running, work: Workload, *, streams: int) -> tuple[float, Run]:
    before = proc.cpu_s(it.pid)
    run = bench.load(it.target, work, Load(streams, CONNECTIONS))
    return (proc.cpu_s(it.pid) - before).total / streams, run


def streams(bench: Bench, it: Running, gateway: Gateway, row: Row) -> Figures:
    """CPU per stream and per event, back to back and flushed alone, and the time added to the first event."""
    short, long, paced = (workload(gateway, row, f"bench-{kind}") for kind in ("burst-1", "burst-100", "paced-100"))
    probe = bench.load(it.target, long, Load(32, CONNECTIONS))
    number = max(64, round(32 / probe.elapsed_s * bench.effort.seconds / 2))
    short_s, _ = _stream_cpu_s(bench, it, short, streams=number)
    burst_s, _ = _stream_cpu_s(bench, it, long, streams=number)
    paced_s, alone = _stream_cpu_s(bench, it, paced, streams=bench.effort.paced_streams)
    events = {"long_events": EVENTS_LONG, "short_events": EVENTS_SHORT}
    one_by_one = Load(bench.effort.first_event_streams, connections=1)
    direct = replace(long, fields=(("model", "bench-burst-100"),))
    through_first = bench.load(it.target, long, one_by_one).first_event_s
    direct_first = bench.load(Target(bench.upstream.port), direct, one_by_one).first_event_s
    return {
        "burst_ms_per_stream": burst_s * 1e3,
        "paced_ms_per_stream": paced_s * 1e3,
        "burst_us_per_event": per_event_us(long_cpu_s=burst_s, short_cpu_s=short_s, **events),
        "paced_us_per_event": per_event_us(long_cpu_s=paced_s, short_cpu_s=short_s, **events),
        # One read for the role, each event, and the tail that the upstream writes at once.
        "paced_alone_share": min(1.0, alone.event_reads / (bench.effort.paced_streams * (EVENTS_LONG + 2))),
        "added_first_event_ms": (percentile(through_first, 50) - percentile(direct_first, 50)) * 1e3,
    }


def _by_wrk(bench: Bench, it: Running, work: Workload, *, connections: int) -> Figures:
    seconds = max(1, round(bench.effort.seconds))
    rate = run_wrk(
        it.target, work, connections=connections, seconds=seconds, nonce=next(bench.nonces), core=bench.cores.load
    )
    return {"wrk_rps": rate}


def _measure_row(bench: Bench, it: Running, gateway: Gateway, row: Row) -> Figures:
    work = workload(gateway, row)
    if not row.unique:  # one after the other, so that every prompt is in the cache before anything is counted
        bench.load(it.target, work, Load(2 * VARIANTS, 1))
    connections, figures = busiest(bench, it, gateway, work)
    figures |= cpu_and_rate(bench, it, work, connections=connections)
    before = _made(it, gateway)
    figures |= latency_at_half(bench, it, work, rps=figures["rps"])
    made = _made(it, gateway) - before
    if made.total:
        figures["late_share"] = made.late / made.total
    if row.streams:
        figures |= streams(bench, it, gateway, row)
    if bench.effort.with_wrk:
        figures |= _by_wrk(bench, it, work, connections=connections)
    return figures


def measure(bench: Bench, gateway: Gateway, rows: list[Row]) -> Mapping[Row, Figures | str]:
    """One round of one gateway: start it, send 1,000 requests, read its memory, then measure each row.

    Returns:
        Per row its figures, or the text of what went wrong. Start and memory figures are on the first row.
    """
    out: dict[Row, Figures | str] = {}
    with tempfile.TemporaryDirectory(prefix="bench-gateway-") as folder:
        try:
            with running(
                gateway, folder=Path(folder), upstream_port=bench.upstream.port, core=bench.cores.gateway
            ) as it:
                bench.load(it.target, workload(gateway, rows[0]), Load(1000, CONNECTIONS))
                memory = proc.resident_mb(it.pid)
                started = {"first_answer_s": it.first_answer_s, "rss_mb": memory.gateway, "rss_store_mb": memory.store}
                started |= {"ready_s": it.ready_s} if it.ready_s is not None else {}
                for row in rows:
                    try:
                        out[row] = _measure_row(bench, it, gateway, row) | (started if row is rows[0] else {})
                    except LoadFailed as failure:
                        out[row] = str(failure)
        except (GatewayFailed, LoadFailed) as failure:
            return {row: str(failure) for row in rows}
    return out


def measure_direct(bench: Bench) -> Figures:
    """The upstream alone: its ceiling with the generator on the other core, and with both sharing one core."""
    target, effort, work = Target(bench.upstream.port), bench.effort, Row(30, True)
    plain = Workload((("model", "bench-plain"),), work.words, work.unique)
    burst, paced = (replace(plain, fields=(("model", m),), stream=True) for m in ("bench-burst-100", "bench-paced-100"))
    apart = replace(bench, cores=Cores(bench.cores.load, bench.cores.gateway))

    def rate(on: Bench, what: Workload, number: int, connections: int) -> float:
        return number / on.load(target, what, Load(number, connections)).elapsed_s

    return {
        "upstream_rps": rate(apart, plain, round(60_000 * effort.seconds), 64),
        "upstream_and_load_on_one_core_rps": rate(bench, plain, round(30_000 * effort.seconds), CONNECTIONS),
        "upstream_burst_streams_per_s": rate(apart, burst, round(10_000 * effort.seconds), CONNECTIONS),
        "upstream_paced_streams_per_s": rate(apart, paced, 512, 512),
    }
