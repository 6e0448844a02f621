"""The supervisor's hold on a process beside the workers: started where it should run, and again when it ends."""

import contextlib
import logging
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from prometheus_client.multiprocess import mark_process_dead

from router.config.schema import Config

log = logging.getLogger(__name__)
FIRST_BACKOFF_S, LAST_BACKOFF_S = 1.0, 60.0
STOP_S = 5.0


class KeptProcess(ABC):
    """Call everything from the supervisor's main thread: the process dies with the thread that started it.

    Attributes:
        name: As the log calls it.
    """

    name = "a process"

    def __init__(self, metrics_dir: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics_dir, self._clock = metrics_dir, clock
        self._config: Config | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._backoff_s, self._started_at, self._again_at = FIRST_BACKOFF_S, 0.0, 0.0

    @abstractmethod
    def start(self, config: Config) -> tuple[subprocess.Popen[bytes], bytes] | None:
        """The process started as this configuration says, and what it is told on its standard input; None: no need."""

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def take(self, config: Config) -> None:
        """Run as this configuration says from now on, or not at all."""
        self.stop()
        self._config, self._backoff_s, self._again_at = config, FIRST_BACKOFF_S, 0.0
        self.poll()

    def poll(self) -> None:
        """Start it where it should run and does not. Never blocks."""
        if self._process is None:
            if self._config is not None and self._clock() >= self._again_at:
                self._spawn(self._config)
            return
        code = self._process.poll()
        if code is None:
            return
        lived = self._clock() - self._started_at > LAST_BACKOFF_S
        self._backoff_s = FIRST_BACKOFF_S if lived else min(2 * self._backoff_s, LAST_BACKOFF_S)
        log.error("%s ended with status %s; it starts again in %.0f s", self.name, code, self._backoff_s)
        self._again_at = self._clock() + self._backoff_s
        self._bury(self._process)

    def stop(self) -> None:
        """SIGTERM, then SIGKILL: nothing is lost by either. Idempotent."""
        process, self._config = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._bury(process)

    def _bury(self, process: subprocess.Popen[bytes]) -> None:
        self._process = None
        mark_process_dead(process.pid, path=str(self._metrics_dir))  # type: ignore[no-untyped-call]

    def _spawn(self, config: Config) -> None:
        started = self.start(config)
        if started is None:
            return
        self._process, brief = started
        self._started_at = self._clock()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died; `poll` will see
            self._process.stdin.write(brief)
            self._process.stdin.close()
