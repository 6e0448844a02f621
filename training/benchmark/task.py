"""What a run of the benchmark is asked to do, and the jobs it falls into; all of it can be told to another process."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What to compare on what.

    Attributes:
        train: Directory of the sets to fit on; records of any kind where ``pools_file`` is None.
        test: The same to judge on; None: parts of ``train``, by ``split``.
        pools / policies: Names; empty: all.
        out: Folder of the run: forecasts and the result.
        robust: Policies whose robustness is measured.
    """

    train: Path
    pools_file: Path | None
    out: Path
    test: Path | None = None
    pools: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    split: str = "kfold"
    n_folds: int = 5
    n_seeds: int = 1
    seed: int = 0
    n_replicates: int = 1_000
    robust: frozenset[str] = frozenset({"default"})


@dataclass(frozen=True, slots=True)
class Fit:
    """Fit policies on one part of a pool and keep their forecasts.

    Attributes:
        part: Index among the pool's fits, seed by seed.
        policies: Names, made together: they may share what they fit.
    """

    pool: str
    part: int
    policies: tuple[str, ...]

    def __str__(self) -> str:
        return f"fitting {', '.join(self.policies)} on part {self.part + 1} of pool {self.pool!r}"


@dataclass(frozen=True, slots=True)
class Measure:
    """Measure all policies of a pool from the forecasts that were kept."""

    pool: str

    def __str__(self) -> str:
        return f"measuring pool {self.pool!r}"


Job = Fit | Measure


def fitted_encoders(task: Benchmark) -> Path:
    """Where encoders fitted inside the parts of a run are kept."""
    return task.out / "encoders"


def plain_task(task: Benchmark) -> dict[str, Any]:
    """The task as JSON values."""
    plain: dict[str, Any] = {field.name: getattr(task, field.name) for field in fields(task)}
    for name in ("train", "test", "pools_file", "out"):
        plain[name] = None if plain[name] is None else str(plain[name])
    return plain | {"robust": sorted(task.robust)}


def task_from(plain: Mapping[str, Any]) -> Benchmark:
    """The task that ``plain_task`` wrote down."""
    paths = {
        name: None if plain[name] is None else Path(plain[name]) for name in ("train", "test", "pools_file", "out")
    }
    names = {name: tuple(plain[name]) for name in ("pools", "policies")}
    return Benchmark(**{**plain, **paths, **names, "robust": frozenset(plain["robust"])})


def plain_job(job: Job) -> dict[str, Any]:
    """The job as JSON values."""
    if isinstance(job, Measure):
        return {"measure": job.pool}
    return {"fit": job.pool, "part": job.part, "policies": list(job.policies)}


def job_from(plain: Mapping[str, Any]) -> Job:
    """The job that ``plain_job`` wrote down."""
    if "measure" in plain:
        return Measure(plain["measure"])
    return Fit(plain["fit"], plain["part"], tuple(plain["policies"]))
