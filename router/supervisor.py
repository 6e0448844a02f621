"""The parent process: owns the embedded store, the local model and the socket, and keeps the workers alive."""

import asyncio
import contextlib
import logging
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from prometheus_client.multiprocess import mark_process_dead

from router.admin.keeper import KeptAdmin
from router.brief import Brief, local_news
from router.config.consistency import exposure
from router.config.load import config_hash
from router.config.local import uses_local, with_local_url
from router.config.schema import Config
from router.kept_prices import keep_prices
from router.listening import bind
from router.local_model import LocalModel
from router.online.keeper import KeptLearner
from router.parent_death import die_with_parent
from router.store.archiver import Archiver
from router.store.embedded import EmbeddedValkey, refuse_second
from router.store.place import EMBEDDED, data_dir, recover_embedded
from router.store.sweeper import Sweeper
from router.worker_environment import without_secrets, worker_environment
from router.workers_lock import wait_for_workers

log = logging.getLogger(__name__)
POLL_S = 0.2
KILL_AFTER_S = 8.0  # beyond the drain: what a worker has to settle and say goodbye
FIRST_BACKOFF_S, LAST_BACKOFF_S = 0.2, 10.0
EARLIER_WORKERS_S = 15.0
MAX_FALLEN = 8


@dataclass(slots=True)
class _Worker:
    name: str
    owner: str = ""  # of the leases of the process that runs, or ran last
    fallen: tuple[str, ...] = ()  # owners that ended in this place, whose leases nobody else will close soon
    process: subprocess.Popen[bytes] | None = None
    backoff_s: float = FIRST_BACKOFF_S
    started_at: float = 0.0
    again_at: float = field(default=0.0)


class Supervisor:
    """Runs a configuration until SIGTERM, on the main thread: its children die with the thread that made them.

    Args:
        reload: Reads and validates the configuration anew (SIGHUP); its problems are logged and the old one stays.
    """

    def __init__(self, config: Config, *, secret: bytes, version: str, reload: Callable[[], Config]) -> None:
        self._config, self._hash, self._secret, self._version = config, config_hash(config), secret, version
        self._reload = reload
        self._environ = without_secrets(config, os.environ)
        self._local_problem = ""
        self._directory = data_dir(config.store)
        self._metrics_dir = self._directory / "run" / f"metrics-{os.getpid()}"
        self._workers = [_Worker(f"worker-{index}") for index in range(config.server.workers)]
        self._wanted: set[int] = set()
        self._socket: socket.socket | None = None
        self._local: LocalModel | None = None
        self._store: EmbeddedValkey | None = None
        self._sweeper = Sweeper(config.store, secret=secret, environ=self._environ)
        self._learner = KeptLearner(self._metrics_dir)
        self._admin = KeptAdmin(self._metrics_dir, secret=secret, version=version)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port in use; the port is known once `run` has bound it."""
        assert self._socket is not None
        host, port = self._socket.getsockname()[:2]
        return host, port

    def run(self, *, started: Callable[[], None]) -> None:
        """Start everything, call ``started``, and stay until told to stop.

        Raises:
            PortTaken, StoreUnavailable: Nothing was left running.
        """
        self._listen_for_signals()
        if self._config.store.url == EMBEDDED:
            refuse_second(self._directory)
        with contextlib.ExitStack() as stack:
            self._socket = stack.enter_context(bind(self._config.server.host, self._config.server.port))
            self._prepare_metrics()
            keep_prices(self._directory, self._config)
            stack.callback(shutil.rmtree, self._metrics_dir, ignore_errors=True)
            self._start_local(stack)
            self._start_store(stack)
            stack.callback(self._learner.stop)
            stack.callback(self._admin.close)
            self._admin.listen(self._config)
            stack.callback(self._stop_workers)
            for worker in self._workers:
                self._spawn(worker)
            self._learner.take(self._config)
            self._admin.take(self._config)
            started()
            self._watch()

    def _start_local(self, stack: contextlib.ExitStack) -> None:
        if uses_local(self._config):
            self._local = LocalModel(log_file=self._directory / "local-model.log", environ=self._environ)
            stack.callback(self._local.stop)
            self._local.start()
            self._local_problem = self._local.problem
            self._config = with_local_url(self._config, self._local.url)

    def _start_store(self, stack: contextlib.ExitStack) -> None:
        store = self._config.store
        if store.url == EMBEDDED:
            if not wait_for_workers(self._directory, wait_s=EARLIER_WORKERS_S):
                log.warning("a worker of an earlier run still lives; what it has open is closed as unknown")
            self._store = stack.enter_context(EmbeddedValkey(self._directory, environ=self._environ))
            closed = asyncio.run(recover_embedded(store))
            if closed:
                log.warning("closed %d requests that an earlier run left open, as unknown_after_crash", closed)
        archiver = Archiver(store, environ=self._environ)
        stack.callback(archiver.stop)
        archiver.start()
        self._sweeper.take(self._config)
        stack.callback(self._sweeper.stop)
        self._sweeper.start()

    def _prepare_metrics(self) -> None:
        for stale in self._metrics_dir.parent.glob("metrics-*"):
            if not Path(f"/proc/{stale.name.removeprefix('metrics-')}").exists():
                shutil.rmtree(stale, ignore_errors=True)
        shutil.rmtree(self._metrics_dir, ignore_errors=True)
        self._metrics_dir.mkdir(parents=True)

    def _brief(self, worker: _Worker) -> Brief:
        assert self._socket is not None
        return Brief(
            name=worker.owner,
            fallen=worker.fallen,
            local_problem=self._local_problem,
            config=self._config,
            config_hash=self._hash,
            secret=self._secret,
            socket_fd=self._socket.fileno(),
            metrics_dir=self._metrics_dir,
            version=self._version,
        )

    def _spawn(self, worker: _Worker) -> None:
        # Gateways on other machines may share the store, and have the same process ids.
        worker.owner = f"{worker.name}-{secrets.token_hex(8)}"
        brief = self._brief(worker)
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "router.worker"],
            stdin=subprocess.PIPE,
            pass_fds=(brief.socket_fd,),
            env=worker_environment(brief.config, os.environ, metrics_dir=self._metrics_dir),
            process_group=0,  # Ctrl-C in a terminal reaches the supervisor alone, which then stops things in order
            preexec_fn=die_with_parent(),
        )
        worker.process, worker.started_at = process, time.monotonic()
        self._tell(worker, brief.dump())

    def _tell(self, worker: _Worker, line: bytes) -> None:
        assert worker.process is not None
        assert worker.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died; `_watch` will see
            worker.process.stdin.write(line)
            worker.process.stdin.flush()

    def _listen_for_signals(self) -> None:
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        os.set_blocking(self._wake_read, False)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for wanted in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(wanted, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._wanted.add(number)

    def _watch(self) -> None:
        while not self._wanted & {signal.SIGTERM, signal.SIGINT}:
            select.select([self._wake_read], [], [], POLL_S)
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_read, 512)
            if signal.SIGHUP in self._wanted:
                self._wanted.discard(signal.SIGHUP)
                self._take_new_config()
            if self._local is not None:
                self._local.poll()
                self._spread_local_problem(self._local.problem)
            if self._store is not None and not self._store.is_running():
                log.error("the embedded store ended; it is started again on the same data")
                self._store.start()
            self._learner.poll()
            self._admin.poll()
            for worker in self._workers:
                self._keep_alive(worker)

    def _spread_local_problem(self, problem: str) -> None:
        if problem == self._local_problem:
            return
        self._local_problem = problem
        for worker in self._workers:
            if worker.process is not None:
                self._tell(worker, local_news(problem))

    def _keep_alive(self, worker: _Worker) -> None:
        now = time.monotonic()
        if worker.process is None:
            if now >= worker.again_at:
                self._spawn(worker)
            return
        code = worker.process.poll()
        if code is None:
            return
        if worker.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # a brief that it no longer read
                worker.process.stdin.close()
        mark_process_dead(worker.process.pid, path=str(self._metrics_dir))  # type: ignore[no-untyped-call]
        lived = now - worker.started_at > LAST_BACKOFF_S
        worker.backoff_s = FIRST_BACKOFF_S if lived else min(2 * worker.backoff_s, LAST_BACKOFF_S)
        worker.fallen = (*worker.fallen, worker.owner)[-MAX_FALLEN:]
        worker.process, worker.again_at = None, now + worker.backoff_s
        log.error("%s ended with status %s; it starts again in %.1f s", worker.name, code, worker.backoff_s)

    def _take_new_config(self) -> None:
        try:
            config = self._reload()
        except Exception as problem:
            log.error("the configuration was not reloaded; the old one stays in force: %s", problem)
            return
        if any(getattr(config, part) != getattr(self._config, part) for part in ("server", "store", "encoder")):
            log.warning("changes under server, store and encoder take a restart; the rest is in force now")
        kept = {"server": self._config.server, "store": self._config.store, "encoder": self._config.encoder}
        config = config.model_copy(update=kept)
        # What was validated is not what will be in force: the address stays, and so do the processes we started.
        problems = [f"{problem.place}: {problem.message}" for problem in exposure(config)]
        if uses_local(config) and self._local is None:
            problems.append("upstream local was not started with this gateway; restart it")
        if problems:
            log.error("the configuration was not reloaded; the old one stays in force: %s", "; ".join(problems))
            return
        self._config = with_local_url(config, self._local.url) if self._local is not None else config
        self._hash = config_hash(config)
        keep_prices(self._directory, config)
        for worker in self._workers:
            if worker.process is not None:
                self._tell(worker, self._brief(worker).dump())
        self._learner.take(self._config)
        self._admin.take(self._config)
        self._sweeper.take(self._config)

    def _stop_workers(self) -> None:
        if self._socket is not None:
            self._socket.close()  # while we hold it, the kernel goes on taking connections that nobody will serve
        living = [worker.process for worker in self._workers if worker.process is not None]
        for process in living:
            process.terminate()
        deadline = time.monotonic() + self._config.server.drain_s + KILL_AFTER_S
        for process in living:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.error("worker %d did not end in time and is killed; its open requests are recovered", process.pid)
                process.kill()
                process.wait()
