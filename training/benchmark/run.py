"""The whole benchmark: for each pool load, embed, fit every contender on every part, and measure what was forecast."""

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from threading import Lock
from typing import Any

from policies.pools import PoolError
from training.benchmark.crew import Answer, Crew, OpenCrew, alone
from training.benchmark.desk import Desk, Make, Progress
from training.benchmark.load import pool_names, prompt_bytes
from training.benchmark.result import PoolResult
from training.benchmark.robustness import Perturbation
from training.benchmark.seeing import Seeing
from training.benchmark.splits import BenchmarkError, name_of
from training.benchmark.store import code_version
from training.benchmark.task import Benchmark, Fit, Measure
from training.contenders.registry import make_contenders
from training.records.record import RecordError

_UNUSABLE = (BenchmarkError, PoolError, RecordError)


def run_benchmark(
    task: Benchmark,
    *,
    seeing: Seeing,
    progress: Progress,
    make: Make = make_contenders,
    perturbations: Mapping[str, Perturbation] | None = None,
    open_crew: OpenCrew = alone,
) -> dict[str, Any]:
    """Fit what is not yet on disk and measure everything; the result as plain JSON values.

    A pool that cannot be measured is told under ``skipped`` with the reason, as long as another one can.

    Args:
        seeing: How prompts become embeddings.
        make: Builds contenders by name.
        perturbations: Changes of prompts to measure robustness under; None or empty: not measured.
        open_crew: Who does the work.

    Raises:
        PoolError, RecordError: The data of every pool cannot be read.
        BenchmarkError, ContenderError: It cannot be run as asked.
        WorkerDied: A process of the crew ended before its job did.
    """
    pools = _chosen_pools(task)
    if task.n_seeds < 1:
        raise BenchmarkError(f"--seeds {task.n_seeds}: at least one is needed")
    tell, code = _one_at_a_time(progress), code_version()
    desk = Desk(task, seeing=seeing, make=make, perturbations=perturbations or {}, code=code, tell=tell)
    problems: dict[str, Exception] = {}
    with open_crew(desk) as crew:
        results = _results(desk, crew, pools, problems)
    if not results:
        raise _why_none(problems)
    return {
        "format": 1,
        "seed": task.seed,
        "split": "separate" if task.test else name_of(task.split, n_folds=task.n_folds),
        "encoder": seeing.encoder_id,
        "folds": task.n_folds if task.split == "kfold" and task.test is None else None,
        "seeds": task.n_seeds,
        "data": " → ".join(folder.name for folder in (task.train, task.test) if folder is not None),
        "n_replicates": task.n_replicates,
        "code": code[:12],
        "pools": results,
        "skipped": {pool: _without_folders(str(problem), task) for pool, problem in problems.items()},
    }


def _chosen_pools(task: Benchmark) -> tuple[str, ...]:
    known = pool_names(task.pools_file, data_dir=task.train)
    for name in task.pools:
        if name not in known:
            raise BenchmarkError(
                f"{task.pools_file or task.train}: no pool {name!r}; it holds {', '.join(known) or 'none'}"
            )
    return tuple(dict.fromkeys(task.pools)) or known


def _results(desk: Desk, crew: Crew, pools: tuple[str, ...], problems: dict[str, Exception]) -> dict[str, PoolResult]:
    """Every pool's result; what kept one from it goes into ``problems``.

    A pool is embedded here while the crew fits the ones before it; the smallest comes first, so that the crew need not
    wait long for something to fit.
    """
    task, fits = desk.task, dict[str, list[Future[Answer]]]()
    for pool in sorted(pools, key=lambda name: prompt_bytes(task.train, task.pools_file, name)):
        try:
            fits[pool] = _start(desk, crew, pool)
        except _UNUSABLE as problem:
            problems[pool] = problem
        _stop_if_crew_is_lost(future for futures in fits.values() for future in futures)
    measured: dict[str, Future[Answer]] = {}
    for pool, futures in fits.items():
        try:
            for future in futures:
                future.result()
            measured[pool] = crew.submit(Measure(pool))
        except _UNUSABLE as problem:
            problems[pool] = problem
    results = {}
    for pool in filter(measured.__contains__, pools):
        try:
            results[pool] = measured[pool].result() or {}
        except _UNUSABLE as problem:
            problems[pool] = problem
    return results


def _stop_if_crew_is_lost(futures: "Iterable[Future[Answer]]") -> None:
    """Raise what has ended more than one pool, rather than embed the pools to come."""
    for future in futures:
        problem = future.exception() if future.done() else None
        if problem is not None and not isinstance(problem, _UNUSABLE):
            raise problem


def _start(desk: Desk, crew: Crew, pool: str) -> "list[Future[Answer]]":
    """Submit every fit of a pool whose forecasts are not yet kept."""
    fits = desk.fits(pool)
    missing = [fit for fit in fits if not desk.has_kept(fit)]
    count = _Count(desk.tell, f"{pool}: forecasts", of=sum(len(fit.policies) for fit in fits))
    count.add(sum(len(fit.policies) for fit in fits if fit not in missing))

    def submit(fit: Fit) -> "Future[Answer]":
        future = crew.submit(fit)
        future.add_done_callback(partial(count.ended, n=len(fit.policies)))
        return future

    if missing:
        desk.embed(pool)
    waiting = [fit for fit in missing if desk.asks_changed_prompts(fit)]
    futures = [submit(fit) for fit in missing if fit not in waiting]
    if waiting:  # the crew is at work by now
        desk.embed_changed(pool)
    return futures + [submit(fit) for fit in waiting]


class _Count:
    """How many are done, counted by several threads."""

    def __init__(self, tell: Progress, what: str, *, of: int) -> None:
        self._tell, self._what, self._of = tell, what, of
        self._lock, self._done = Lock(), 0

    def ended(self, future: "Future[Answer]", *, n: int) -> None:
        """A job of so many has ended, well or not."""
        self.add(n)

    def add(self, n: int) -> None:
        """So many more are done."""
        with self._lock:
            self._done += n
            self._tell(self._what, self._done, self._of)


def _one_at_a_time(progress: Progress) -> Progress:
    lock = Lock()

    def tell(what: str, done: int, of: int) -> None:
        with lock:
            progress(what, done, of)

    return tell


def _why_none(problems: Mapping[str, Exception]) -> Exception:
    if len(problems) == 1:
        return next(iter(problems.values()))
    reasons = "; ".join(f"{pool}: {problem}" for pool, problem in problems.items())
    return BenchmarkError(f"no pool can be measured: {reasons or 'there is none'}")


def _without_folders(reason: str, task: Benchmark) -> str:
    """The reason with the folders' names for their paths: a result may be published."""
    for path in (task.train, task.test, task.pools_file, task.out):
        if path is not None:
            reason = reason.replace(str(path), path.name)
    return reason
