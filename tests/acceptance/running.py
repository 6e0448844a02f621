"""A real gateway for a test: the installed command in its own processes, on a free port and an empty data directory."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import yaml


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RunningGateway:
    """`gearshift serve` on ``config`` (a tree as in YAML; None: what it finds), started and stopped by the test.

    Attributes:
        url: http://127.0.0.1:<port>
        pid: The supervisor's process id.
        started_s: Seconds from the command to the first 200 of /readyz.
    """

    def __init__(
        self, folder: Path, config: Mapping[str, Any] | None, *, workers: int = 1, env: Mapping[str, str] | None = None
    ) -> None:
        self.folder, self.port = folder, free_port()
        self.store_dir, self.log_file = folder / "store", folder / "gateway.log"
        self.url = f"http://127.0.0.1:{self.port}"
        self.config_file = folder / "gearshift.yaml"
        self._arguments = ["--port", str(self.port), "--store-dir", str(self.store_dir), "--workers", str(workers)]
        if config is not None:
            tree = {**config, "store": {"dir": str(self.store_dir), **config.get("store", {})}}
            self.config_file.write_text(yaml.safe_dump(tree))
            self._arguments += ["--config", str(self.config_file)]
        self._env = {**_bare_environment(), **(env or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self.started_s = 0.0

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, *, within_s: float = 30.0) -> Self:
        """Start and wait for /readyz."""
        began = time.monotonic()
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [str(Path(sys.executable).parent / "gearshift"), "serve", *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._env,
                cwd=self.folder,
            )
        while not self.is_ready():
            if self._process.poll() is not None or time.monotonic() - began > within_s:
                raise AssertionError(f"the gateway is not ready; its log:\n{self.log_file.read_text()[-4000:]}")
            time.sleep(0.02)
        self.started_s = time.monotonic() - began
        return self

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def kill(self) -> None:
        """kill -9 of the supervisor and, with it, of every worker: nothing gets to say goodbye but the store."""
        for worker in self.workers():
            os.kill(worker, signal.SIGKILL)
        self.kill_supervisor()

    def kill_supervisor(self) -> None:
        """kill -9 of the supervisor alone: what it started learns of it from the kernel."""
        assert self._process is not None
        os.kill(self.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self, *, within_s: float = 60.0) -> int:
        """SIGTERM; the exit status."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.terminate()
        return self._process.wait(within_s)

    def workers(self) -> list[int]:
        """Process ids of the workers."""
        return [pid for pid in children_of(self.pid) if b"router.worker" in _command_line(pid)]

    def family(self) -> list[int]:
        """Process ids of everything the gateway started, itself included."""
        return [self.pid, *children_of(self.pid)]

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            body: bytes = answer.read()
            return body

    def export(self, *options: str) -> list[dict[str, Any]]:
        """`gearshift log export --format jsonl`, whether the gateway is up or down."""
        command = [str(Path(sys.executable).parent / "gearshift"), "log", "export", "--format", "jsonl"]
        done = subprocess.run(
            [*command, "--store-dir", str(self.store_dir), *options],
            capture_output=True,
            env=self._env,
            cwd=self.folder,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr.decode()
        return [json.loads(line) for line in done.stdout.splitlines()]

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def children_of(pid: int) -> list[int]:
    """Every living descendant of a process."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            direct = [int(child) for child in task.read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
        for child in direct:
            found += [child, *children_of(child)]
    return found


def is_alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def _bare_environment() -> dict[str, str]:
    """The environment without any provider's key, so that a test never calls a real one."""
    return {name: value for name, value in os.environ.items() if not name.endswith(("_API_KEY", "_KEY_SECRET"))}


def fake_config(base_url: str, *, models: tuple[str, ...] = ("small", "large"), **more: Any) -> dict[str, Any]:
    """Models on one OpenAI-wire endpoint: the first cheap, each next ten times dearer."""
    entries = {
        name: {
            "deployments": [{"base_url": base_url, "api_key": "sk-test", "model": name}],
            "capabilities": ["tools", "schema", "images", "logprobs", "n"],
            "price": {"input": 0.1 * 10**place, "output": 0.4 * 10**place},
        }
        for place, name in enumerate(models)
    }
    return {"models": entries, **more}
