"""Runs the load generator against one target and reads back what every single request saw."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.native import build, require
from bench.prompts import MARKER, Workload, bodies, http_request, write_requests
from bench.stats import Floats

PATH = "/v1/chat/completions"


class LoadFailed(RuntimeError):
    """The load did not run as ordered, so its figures mean nothing."""


@dataclass(frozen=True)
class Target:
    """Where requests go: a port on the loopback, the path and the headers (a key)."""

    port: int
    path: str = PATH
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Load:
    """How many requests, how fast. `rate_per_s` None: closed loop, as fast as `connections` allow."""

    count: int
    connections: int
    rate_per_s: float | None = None
    max_s: float = 60.0


@dataclass(frozen=True)
class Run:
    """What happened. The arrays hold seconds since the start, one entry per request sent; done < 0: it failed."""

    scheduled_s: Floats
    sent_s: Floats
    first_s: Floats
    done_s: Floats
    finished: int
    bad: int
    last_bad_status: int
    elapsed_s: float
    events: int
    event_reads: int
    client_cpu_s: float

    @property
    def good(self) -> int:
        return self.finished - self.bad

    @property
    def latency_s(self) -> Floats:
        """From the scheduled time to the last byte, of the requests that did not fail."""
        return (self.done_s - self.scheduled_s)[self.done_s >= 0]

    @property
    def first_event_s(self) -> Floats:
        """From the scheduled time to the first event, of the requests that had one."""
        return (self.first_s - self.scheduled_s)[self.first_s >= 0]


def run_load(target: Target, work: Workload, load: Load, *, nonce: int = 0, core: int | None = None) -> Run:
    """Sends the workload and returns every request's times.

    Raises:
        LoadFailed: The generator itself failed (no connection, bad arguments).
    """
    with tempfile.TemporaryDirectory(prefix="bench-load-") as folder:
        requests, samples = Path(folder) / "requests", Path(folder) / "samples"
        write_requests(
            (http_request(b, path=target.path, headers=dict(target.headers)) for b in bodies(work)), requests
        )
        argv = ["taskset", "-c", str(core)] if core is not None else []
        argv += [str(build("load")), str(target.port), str(requests), str(samples)]
        argv += ["closed" if load.rate_per_s is None else "open", str(load.connections), str(load.count)]
        argv += [f"{load.rate_per_s or 0:.6f}", f"{load.max_s:.3f}", str(nonce), MARKER]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=load.max_s + 30, check=False)
        if done.returncode:
            raise LoadFailed(f"load generator ended with {done.returncode}: {done.stderr.strip()}")
        times = np.fromfile(samples, dtype=np.float64).reshape(-1, 4)
    facts = json.loads(done.stdout)
    names = ("finished", "bad", "last_bad_status", "elapsed_s", "events", "event_reads", "client_cpu_s")
    return Run(*times.T, **{name: facts[name] for name in names})


def require_clean(run: Run, *, what: str) -> Run:
    """The run itself when every request was answered well.

    Raises:
        LoadFailed: Some request failed or was left unanswered.
    """
    unfinished = run.scheduled_s.size - run.finished
    if run.bad or unfinished:
        raise LoadFailed(
            f"{what}: {run.bad} of {run.scheduled_s.size} requests failed (last status {run.last_bad_status}), "
            f"{unfinished} had no answer in time"
        )
    return run


def run_wrk(target: Target, work: Workload, *, connections: int, seconds: int, nonce: int, core: int) -> float:
    """Requests per second by wrk, an independent generator, with the same bodies.

    Raises:
        LoadFailed: wrk saw errors or printed no rate.
    """
    with tempfile.TemporaryDirectory(prefix="bench-wrk-") as folder:
        path = Path(folder) / "bodies"
        path.write_bytes(b"\n".join(bodies(work)))
        argv = [
            "taskset",
            "-c",
            str(core),
            require("wrk"),
            "-t1",
            f"-c{connections}",
            f"-d{seconds}s",
            "--timeout",
            "30s",
        ]
        argv += ["-s", str(Path(__file__).parent / "wrk.lua")]
        for name, value in target.headers:
            argv += ["-H", f"{name}: {value}"]
        argv += [f"http://127.0.0.1:{target.port}{target.path}", "--", str(path), str(nonce)]
        out = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + 60, check=False).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", out)
    errors = re.search(r"(Non-2xx.*|Socket errors: connect [1-9].*)", out)
    if errors or not rate:
        raise LoadFailed(f"wrk: {errors.group(0) if errors else 'no rate in its output: ' + out[-200:]}")
    return float(rate.group(1))
