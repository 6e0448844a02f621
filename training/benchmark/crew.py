"""Who does the jobs: this very process, or several processes of one thread each, whose number changes no bit."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from queue import SimpleQueue
from subprocess import PIPE, Popen
from typing import Any, Protocol

import orjson

from policies.encoders.child import module_environment, python_module
from training.benchmark.desk import Desk, Progress
from training.benchmark.result import PoolResult
from training.benchmark.splits import BenchmarkError
from training.benchmark.task import Job, plain_job, plain_task

Answer = PoolResult | None
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


class JobError(BenchmarkError):
    """A job failed in a worker process; its traceback is on stderr."""


class WorkerDied(RuntimeError):
    """A worker process ended in the middle of a job."""

    def __init__(self, job: Job, status: int) -> None:
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        super().__init__(
            f"a worker process {how} while {job}; if memory ran out, use fewer --jobs; "
            "what was finished is kept, run again to go on"
        )


class Crew(Protocol):
    """Does jobs, in the order they are submitted."""

    def submit(self, job: Job) -> "Future[Answer]":
        """The job's result: of a ``Measure`` the pool's, else None; a BenchmarkError where it failed."""
        ...


OpenCrew = Callable[[Desk], AbstractContextManager[Crew]]


class _Alone:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def submit(self, job: Job) -> "Future[Answer]":
        future: Future[Answer] = Future()
        try:
            future.set_result(self._desk.do(job))
        except BenchmarkError as problem:
            future.set_exception(problem)
        return future


@contextmanager
def alone(desk: Desk) -> Iterator[Crew]:
    """This very process, one job after the other, done when ``submit`` returns."""
    yield _Alone(desk)


class _Worker:
    """One process that runs ``training.benchmark.worker``: a line of JSON for a job, lines of JSON back."""

    def __init__(self, desk: Desk) -> None:
        environment = module_environment() | dict.fromkeys(_THREADS, "1")
        # A session of its own: Ctrl-C reaches the parent alone, which then ends its workers.
        self._process = Popen(
            [*python_module("training.benchmark.worker"), str(os.getpid())],
            stdin=PIPE,
            stdout=PIPE,
            env=environment,
            start_new_session=True,
        )
        self._setting: dict[str, Any] | None = _setting_of(desk)

    def do(self, job: Job, tell: Progress) -> Answer:
        """Send the job and wait for its end; raises JobError or WorkerDied."""
        try:
            self._send(job)
            for line in self._lines():
                answer = orjson.loads(line)
                if "tell" in answer:
                    tell(*answer["tell"])
                elif "failed" in answer:
                    raise JobError(f"{job}: {answer['failed']}")
                else:
                    result: Answer = answer["done"]
                    return result
        except BrokenPipeError:
            pass
        raise WorkerDied(job, self._process.wait())

    def end(self) -> None:
        """End the process, whatever it is doing."""
        self._process.terminate()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()

    def _send(self, job: Job) -> None:
        message = plain_job(job) | ({} if self._setting is None else {"setting": self._setting})
        self._setting = None
        assert self._process.stdin is not None
        self._process.stdin.write(orjson.dumps(message) + b"\n")
        self._process.stdin.flush()

    def _lines(self) -> Iterator[bytes]:
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            yield line


class _Processes:
    """Threads that wait for workers; whoever is idle takes the next job. Where one dies, no later job is done."""

    def __init__(self, workers: list[_Worker], threads: ThreadPoolExecutor, tell: Progress) -> None:
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        for worker in workers:
            self._idle.put(worker)
        self._threads, self._tell = threads, tell
        self._death: WorkerDied | None = None

    def submit(self, job: Job) -> "Future[Answer]":
        return self._threads.submit(self._do, job)

    def _do(self, job: Job) -> Answer:
        if self._death is not None:
            raise self._death
        worker = self._idle.get()
        try:
            return worker.do(job, self._tell)
        except WorkerDied as death:
            self._death = death
            raise
        finally:
            self._idle.put(worker)


@contextmanager
def processes(desk: Desk, *, n_processes: int) -> Iterator[Crew]:
    """So many processes with one thread each; they make their contenders by name and read embeddings from disk only.

    On leaving, for whatever reason, they are ended at once.
    """
    workers = [_Worker(desk) for _ in range(n_processes)]
    threads = ThreadPoolExecutor(n_processes, thread_name_prefix="benchmark")
    try:
        yield _Processes(workers, threads, desk.tell)
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.end()
        threads.shutdown(wait=True)


def _setting_of(desk: Desk) -> dict[str, Any]:
    """What a worker must know to be a desk like this one."""
    slow = desk.seeing.slow
    return {
        "task": plain_task(desk.task),
        "encoder": {"encoder_id": slow.encoder_id, "name": slow.name, "dim": slow.dim},
        "fitted": desk.seeing.encoder_id if desk.seeing.fits_inside else None,
        "perturbations": sorted(desk.perturbations),
        "code": desk.code,
    }
