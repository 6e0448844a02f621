"""Starts any gateway on one core, waits for its first answer, checks that answer, and ends its whole process tree."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench import proc
from bench.fake import free_port
from bench.load import PATH, Target
from bench.prompts import MARKER, Workload, bodies

START_TIMEOUT_S = 90.0


class GatewayFailed(RuntimeError):
    """A gateway did not start or did not answer with the upstream's text."""


@dataclass(frozen=True)
class Site:
    """Where a gateway runs: a fresh folder of its own, its port and the upstream's port."""

    folder: Path
    port: int
    upstream_port: int


@dataclass(frozen=True)
class Launch:
    """One gateway ready to be started. `port_file`: the gateway picks its own port and writes it there."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    path: str = PATH
    headers: tuple[tuple[str, str], ...] = ()
    ready_path: str | None = None
    port_file: Path | None = None


class Gateway(Protocol):
    """What the benchmark needs to know about a gateway."""

    @property
    def name(self) -> str: ...

    def version(self) -> str:
        """Version of the installed program. Raises MissingTool when it is not installed."""
        ...

    def prepare(self, site: Site) -> Launch:
        """Writes the configuration into the site's folder and says how to start."""
        ...

    def fields(self, answer: str) -> dict[str, str]:
        """What a client sends beside the messages to get this answer of the upstream (`bench-plain`…)."""
        ...


@dataclass(frozen=True)
class Running:
    """A started gateway. Seconds run from the start of its process."""

    pid: int
    target: Target
    ready_s: float | None
    first_answer_s: float


def _environment(launch: Launch) -> dict[str, str]:
    env = {k: v for k, v in os.environ.items() if k not in {"PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "PYTHONPATH"}}
    return env | {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"} | dict(launch.env)


def _ask(target: Target, body: bytes) -> str | None:
    """The answer's content; None while nothing listens yet or the gateway says that it is not ready."""
    url = f"http://127.0.0.1:{target.port}{target.path}"
    headers = {"content-type": "application/json", **dict(target.headers)}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10) as answer:
            return str(json.load(answer)["choices"][0]["message"]["content"])
    except urllib.error.HTTPError as error:
        if error.code in (502, 503, 404):
            return None
        raise GatewayFailed(f"{url} answered {error.code}: {error.read()[:300]!r}") from error
    except (OSError, ValueError):
        return None


def _is_ready(port: int, path: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-1500:] if log.exists() else ""


def _stop(process: subprocess.Popen[bytes]) -> None:
    members = proc.alive(process.pid)
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in members:
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            continue


def _wait_until_up(process: subprocess.Popen[bytes], launch: Launch, *, port: int, body: bytes, log: Path) -> Running:
    started = time.monotonic()
    ready_s: float | None = None
    while time.monotonic() - started < START_TIMEOUT_S:
        if process.poll() is not None:
            raise GatewayFailed(f"{launch.argv[0]} ended with {process.returncode} while starting:\n{_tail(log)}")
        if launch.port_file is not None:
            text = launch.port_file.read_text() if launch.port_file.exists() else ""
            port = int(text or 0)
        target = Target(port, launch.path, launch.headers)
        if ready_s is None and launch.ready_path and port and _is_ready(port, launch.ready_path):
            ready_s = time.monotonic() - started
        content = _ask(target, body) if port else None
        if content is not None:
            if MARKER not in content:
                raise GatewayFailed(f"{launch.argv[0]} answered 200 with other words than the upstream's")
            if ready_s is None and launch.ready_path and _is_ready(port, launch.ready_path):
                ready_s = time.monotonic() - started  # it became ready between our two questions
            return Running(process.pid, target, ready_s, time.monotonic() - started)
        time.sleep(0.01)
    raise GatewayFailed(f"{launch.argv[0]} gave no answer within {START_TIMEOUT_S:g} s:\n{_tail(log)}")


@contextmanager
def running(gateway: Gateway, *, folder: Path, upstream_port: int, core: int | None) -> Iterator[Running]:
    """The gateway, started on one core and proven to answer 200 with the upstream's text; ended on exit.

    Raises:
        GatewayFailed: It ended early, stayed silent or answered something else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    site = Site(folder, free_port(), upstream_port)
    launch = gateway.prepare(site)
    argv = [*(["taskset", "-c", str(core)] if core is not None else []), *launch.argv]
    log = folder / "output.log"
    body = bodies(Workload(tuple(gateway.fields("bench-plain").items()), words=30, unique=False))[0]
    with log.open("wb") as sink:
        process = subprocess.Popen(
            argv, stdout=sink, stderr=subprocess.STDOUT, cwd=folder, env=_environment(launch), start_new_session=True
        )
        try:
            yield _wait_until_up(process, launch, port=site.port, body=body, log=log)
        finally:
            _stop(process)
