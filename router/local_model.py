"""Keeps the built-in model alive: started at once, ready later, restarted when it dies, stopped at the end."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from router.local_model_server import LocalModelMissing, find_weights

State = Literal["stopped", "loading", "ready", "failed"]
FIRST_BACKOFF_S, LAST_BACKOFF_S = 0.5, 30.0
STEADY_S = 60.0  # a process that lived this long earns a fresh backoff


@dataclass(slots=True)
class _Run:
    """One life of the process."""

    process: subprocess.Popen[bytes]
    ready_fd: int
    started_at: float
    said: bytes = b""


class LocalModel:
    """The supervisor's hold on the process. Call everything from the thread that starts it, and `poll` now and then.

    The main thread must be that thread: the process dies with the thread that started it.

    Args:
        environ: The process's environment; this process's own by default.

    Attributes:
        url: OpenAI base URL; fixed from construction on, through restarts, so workers can be told before it answers.
        state: ``loading`` until it answers; ``failed``, with a ``reason``, when it cannot or between restarts.
        reason: Why it is not ready, for people; empty when ready.
    """

    def __init__(
        self,
        *,
        log_file: Path | None = None,
        command: Sequence[str] = (sys.executable, "-P", "-m", "router.local_model_server"),
        clock: Callable[[], float] = time.monotonic,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._log_file, self._command, self._clock = log_file, tuple(command), clock
        self._environ = _own_code_first(os.environ if environ is None else environ)
        self._held = _held_port()
        self.port: int = self._held.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.state: State = "stopped"
        self.reason = "not started"
        self._run: _Run | None = None
        self._backoff_s, self._again_at = FIRST_BACKOFF_S, 0.0

    @property
    def pid(self) -> int | None:
        return self._run.process.pid if self._run else None

    @property
    def problem(self) -> str:
        """Why the process does not run; empty while it loads or answers."""
        return self.reason if self.state == "failed" else ""

    def start(self) -> None:
        """Start the process and return at once. Missing packages make it ``failed`` for good, with what to install."""
        try:
            find_weights()
        except LocalModelMissing as error:
            self.state, self.reason = "failed", str(error)
            self._again_at = float("inf")
            return
        self._spawn()

    def poll(self) -> State:
        """Notice that it became ready or died, and restart it when its backoff is over. Never blocks."""
        if self._run is None:
            if self.state == "failed" and self._clock() >= self._again_at:
                self._spawn()
            return self.state
        self._hear(self._run)
        if self._run.process.poll() is not None:
            self._hear(self._run)  # its last words may have come after the first look
            self._bury(self._run)
        return self.state

    def stop(self, *, grace_s: float = 3.0) -> None:
        """SIGTERM, then SIGKILL after ``grace_s``; lets the port go. Idempotent."""
        run, self._run = self._run, None
        self.state, self.reason, self._again_at = "stopped", "stopped", float("inf")
        if run is not None:
            with contextlib.suppress(ProcessLookupError):
                run.process.terminate()
            try:
                run.process.wait(grace_s)
            except subprocess.TimeoutExpired:
                run.process.kill()
                run.process.wait()
            os.close(run.ready_fd)
        self._held.close()

    def _spawn(self) -> None:
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        arguments = ["--port", str(self.port), "--ready-fd", str(theirs), "--parent", str(os.getpid())]
        log = open(self._log_file, "ab") if self._log_file else None  # noqa: SIM115 - closed below
        try:
            process = subprocess.Popen(
                [*self._command, *arguments],
                pass_fds=(theirs,),
                stdin=subprocess.DEVNULL,
                stdout=log or subprocess.DEVNULL,
                stderr=log or subprocess.DEVNULL,
                env=self._environ,
                start_new_session=True,  # Ctrl-C in a terminal is the supervisor's to handle
            )
        finally:
            os.close(theirs)
            if log is not None:
                log.close()
        self._run = _Run(process, ours, self._clock())
        self.state, self.reason = "loading", "the model is still loading"

    def _hear(self, run: _Run) -> None:
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(run.ready_fd, 4096):
                run.said += chunk
        word, _, rest = run.said.decode(errors="replace").partition("\n")[0].partition(" ")
        if word == "ready" and run.said.endswith(b"\n"):
            self.state, self.reason = "ready", ""
        elif word == "failed":
            self.reason = rest

    def _bury(self, run: _Run) -> None:
        code, lived_s = run.process.returncode, self._clock() - run.started_at
        os.close(run.ready_fd)
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"status {code}"
        told = run.said.startswith(b"failed ")
        if lived_s >= STEADY_S:
            self._backoff_s = FIRST_BACKOFF_S
        self.reason = f"{self.reason if told else f'its process ended with {how}'}; next start in {self._backoff_s:g} s"
        self.state, self._run = "failed", None
        self._again_at = self._clock() + self._backoff_s
        self._backoff_s = min(2 * self._backoff_s, LAST_BACKOFF_S)


def _own_code_first(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment in which ``-P -m router.…`` finds this installation, whatever the current folder holds."""
    root = str(Path(__file__).resolve().parent.parent)
    return {**environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, environ.get("PYTHONPATH")]))}


def _held_port() -> socket.socket:
    """A bound socket that never listens: it keeps the port ours while the process that listens on it comes and goes."""
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.bind(("127.0.0.1", 0))
    return held
