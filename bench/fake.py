"""Starts and stops the fake upstream, and asks it what it has served."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.native import build


@dataclass(frozen=True)
class FakeUpstream:
    """A running fake upstream."""

    port: int
    pid: int

    def served(self) -> dict[str, int]:
        """Answers so far by kind (plain, burst, paced) and connections cut in the middle of an answer (cut)."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/stats", timeout=5) as answer:
            stats: dict[str, int] = json.load(answer)
        return stats


def free_port() -> int:
    """A port of the loopback that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def wait_for_port(port: int, *, timeout_s: float) -> None:
    """Returns when something listens on the port.

    Raises:
        TimeoutError: Nothing did in time.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise TimeoutError(f"nothing listens on 127.0.0.1:{port} after {timeout_s:g} s") from None
            time.sleep(0.005)
        else:
            return


@contextmanager
def fake_upstream(*, core: int | None = None) -> Iterator[FakeUpstream]:
    """The compiled upstream on a free port, optionally bound to one core; ended on exit."""
    port = free_port()
    argv = ["taskset", "-c", str(core)] if core is not None else []
    process = subprocess.Popen([*argv, str(build("upstream")), str(port)])
    try:
        wait_for_port(port, timeout_s=5)
        yield FakeUpstream(port, process.pid)
    finally:
        process.terminate()
        process.wait(timeout=5)
