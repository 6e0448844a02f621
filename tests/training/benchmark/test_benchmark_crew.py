"""Jobs in several processes: the same numbers however many there are, and a clear word when one dies."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

from policies.encoders.base import Encoder
from training.benchmark.crew import Answer, JobError, WorkerDied, processes
from training.benchmark.desk import Desk
from training.benchmark.run import run_benchmark
from training.benchmark.seeing import ReadyEncoder
from training.benchmark.task import Benchmark, Fit, Job, Measure, job_from, plain_job, plain_task, task_from
from training.contenders.registry import made_together, make_contenders
from training.perturb import perturbations

WriteSet = Callable[..., Path]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEARSHIFT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def task(write_set: WriteSet, pools_file: Path, tmp_path: Path) -> Benchmark:
    return Benchmark(
        train=write_set("data"),
        pools_file=pools_file,
        out=tmp_path / "run",
        policies=("global_means", "domain_table", "logistic"),
        n_folds=2,
        n_replicates=50,
    )


def desk_of(task: Benchmark, encoder: Encoder) -> Desk:
    return Desk(
        task,
        seeing=ReadyEncoder(encoder),
        make=make_contenders,
        perturbations={},
        code="1",
        tell=lambda what, done, of: None,
    )


def run(task: Benchmark, encoder: Encoder, *, n_processes: int) -> dict[str, Any]:
    crew = partial(processes, n_processes=n_processes)
    result = run_benchmark(task, seeing=ReadyEncoder(encoder), progress=lambda what, done, of: None, open_crew=crew)
    for policy in result["pools"]["easy_hard"]["policies"].values():
        policy["fit_s"] = policy["decision_us"] = None
    return result


def workers() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process().children()
        if child.status() != psutil.STATUS_ZOMBIE and "training.benchmark.worker" in child.cmdline()
    ]


@contextmanager
def crew_of_one(desk: Desk) -> Iterator[Any]:
    with processes(desk, n_processes=1) as crew:
        yield crew


def test_two_processes_say_what_one_says(task: Benchmark, encoder: Encoder, tmp_path: Path) -> None:
    alone = run(task, encoder, n_processes=1)
    assert run(replace(task, out=tmp_path / "other"), encoder, n_processes=2) == alone
    assert set(alone["pools"]["easy_hard"]["policies"]) == set(task.policies)


def test_what_processes_kept_is_not_fitted_again(task: Benchmark, encoder: Encoder) -> None:
    run(task, encoder, n_processes=1)
    kept = {file: file.stat().st_mtime_ns for file in (task.out / "forecasts").iterdir()}
    assert len(kept) == 6
    run(task, encoder, n_processes=2)
    assert {file: file.stat().st_mtime_ns for file in (task.out / "forecasts").iterdir()} == kept


def test_a_dead_process_is_told_with_its_job_and_ends_the_run(task: Benchmark, encoder: Encoder) -> None:
    with crew_of_one(desk_of(task, encoder)) as crew:
        for worker in workers():
            worker.kill()
        first, second = crew.submit(Fit("easy_hard", 0, ("logistic",))), crew.submit(Measure("easy_hard"))
        words = "killed by signal 9 while fitting logistic on part 1 of pool 'easy_hard'; .*run again to go on"
        with pytest.raises(WorkerDied, match=words):
            first.result(timeout=60)
        with pytest.raises(WorkerDied, match="fitting logistic"):
            second.result(timeout=60)


def test_a_failed_job_is_told_and_the_process_goes_on(
    task: Benchmark, encoder: Encoder, capfd: pytest.CaptureFixture[str]
) -> None:
    desk = desk_of(task, encoder)  # nothing was embedded, and a worker has no weights
    with crew_of_one(desk) as crew:
        with pytest.raises(JobError, match=r"fitting global_means on part 1.*EncoderUnavailable.*not in the cache"):
            crew.submit(Fit("easy_hard", 0, ("global_means",))).result(timeout=60)
        desk.embed("easy_hard")
        assert crew.submit(Fit("easy_hard", 0, ("global_means",))).result(timeout=60) is None
    assert "Traceback" in capfd.readouterr().err


def test_leaving_ends_every_process_though_it_is_at_work(task: Benchmark, encoder: Encoder) -> None:
    desk = desk_of(task, encoder)
    desk.embed("easy_hard")
    with processes(desk, n_processes=2) as crew:
        assert len(workers()) == 2
        crew.submit(Fit("easy_hard", 0, ("logistic",)))
    assert workers() == []


def test_a_worker_ends_when_its_parent_has_though_its_jobs_stay_open() -> None:
    start = "import os, subprocess, sys, threading as t; print(subprocess.Popen([sys.executable, '-m', "
    parent = [sys.executable, "-uc", start + "'training.benchmark.worker', str(os.getpid())]).pid); t.Event().wait()"]
    with subprocess.Popen(parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        worker = psutil.Process(int(process.stdout.readline()))
        process.kill()
        assert psutil.wait_procs([worker], timeout=30)[1] == []


def test_robustness_is_measured_where_there_are_no_weights(task: Benchmark, encoder: Encoder) -> None:
    result = run_benchmark(
        replace(task, policies=("logistic",), robust=frozenset({"logistic"})),
        seeing=ReadyEncoder(encoder),
        progress=lambda what, done, of: None,
        perturbations={name: perturbations()[name] for name in ("prefix", "white_space")},
        open_crew=partial(processes, n_processes=1),
    )
    found = result["pools"]["easy_hard"]["policies"]["logistic"]["robustness"]
    assert set(found) == {"prefix", "white_space"}
    assert all(0.0 <= same_pct <= 100.0 for same_pct in found.values())


class Lost:
    """A crew whose every worker is dead."""

    def submit(self, job: Job) -> "Future[Answer]":
        future: Future[Answer] = Future()
        future.set_exception(WorkerDied(job, -9))
        return future


def test_a_lost_crew_ends_the_run_before_the_next_pool(task: Benchmark, encoder: Encoder) -> None:
    assert task.pools_file is not None
    pools = orjson.loads(task.pools_file.read_bytes())
    task.pools_file.write_bytes(orjson.dumps(pools | {"next": pools["easy_hard"]}))
    told: list[str] = []
    with pytest.raises(WorkerDied, match="fitting global_means, domain_table on part 1 of pool 'easy_hard'"):
        run_benchmark(
            task,
            seeing=ReadyEncoder(encoder),
            progress=lambda what, done, of: told.append(what),
            open_crew=lambda desk: nullcontext(Lost()),
        )
    assert not any(what.startswith("next") for what in told)


def test_a_task_and_its_jobs_survive_being_told(task: Benchmark) -> None:
    assert task_from(plain_task(task)) == task
    separate = replace(task, test=task.train, pools_file=None, pools=("a",), robust=frozenset())
    assert task_from(plain_task(separate)) == separate
    for job in (Fit("a", 3, ("knn", "irt")), Measure("a")):
        assert job_from(plain_job(job)) == job


def test_policies_of_one_module_are_made_together() -> None:
    assert made_together(("default", "default_teacher", "fixed", "knn", "irt", "oracle")) == [
        ("default", "default_teacher"),
        ("fixed", "oracle"),
        ("knn", "irt"),
    ]
