"""The whole benchmark: for each pool load, embed, fit every contender on every part, keep each forecast, measure all.

What decided a forecast (data, code, libraries, split, seed) is its name on disk, so a second run fits only what is new.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from policies.encoders.base import Encoder
from policies.tables import Mask, OutcomeTable
from training.benchmark.fit import PartSamples, Probes, family_of, fit_part
from training.benchmark.load import PoolData, load_pool_data, pool_names
from training.benchmark.pooled import pool_records
from training.benchmark.result import PoolResult, pool_result
from training.benchmark.robustness import Perturbation
from training.benchmark.splits import BenchmarkError, Part, name_of, parts_of, separate_parts
from training.benchmark.store import ForecastStore, Record, code_version
from training.contender import Contender, Sample
from training.contenders.registry import make_contenders, names_of
from training.embeddings import embed_prompts
from training.inputs import make_inputs

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What to compare on what.

    Attributes:
        train: Directory of the sets to fit on.
        test: Directory of the sets to judge on; None: parts of ``train``, by ``split``.
        pools / policies: Names; empty: all.
        out: Folder of the run: forecasts and the result.
        robust: Policies whose robustness is measured.
    """

    train: Path
    pools_file: Path
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


class Make(Protocol):
    """Builds contenders by name."""

    def __call__(self, names: Sequence[str], *, encoder_id: str) -> Sequence[Contender]:
        """In the order of the names."""
        ...


@dataclass(frozen=True, slots=True)
class _Compared:
    """Every contender twice: the second is for fits that a λ is committed on."""

    contenders: Sequence[Contender]
    spares: Sequence[Contender]

    def families(self) -> list[tuple[list[Contender], list[Contender]]]:
        """Neighbours that come out of one fit, with their spares."""
        pairs = zip(self.contenders, self.spares, strict=True)
        grouped = (list(members) for _, members in groupby(pairs, key=lambda pair: family_of(pair[0])))
        return [([one for one, _ in members], [spare for _, spare in members]) for members in grouped]


class LazySample:
    """A table whose prompts are embedded only when a fit asks for them."""

    def __init__(self, table: OutcomeTable, encoder: Encoder, tell: Progress) -> None:
        self.table, self._encoder, self._tell = table, encoder, tell

    @cached_property
    def sample(self) -> Sample:
        """The table with features and embeddings."""
        ready, of = [0], len(self.table)

        def count(n: int) -> None:
            ready[0] += n
            self._tell(f"{self.table.name}: embedding", ready[0], of)

        embeddings = embed_prompts(self._encoder, self.table.prompts, progress=count)
        return Sample(self.table, make_inputs(self.table, embeddings))

    def rows(self, mask: Mask) -> Sample:
        """The queries where ``mask`` is true."""
        return self.sample.rows(mask)


def run_benchmark(
    task: Benchmark,
    *,
    encoder: Encoder,
    progress: Progress,
    make: Make = make_contenders,
    perturbations: Mapping[str, Perturbation] | None = None,
) -> dict[str, Any]:
    """Fit what is not yet on disk and measure everything; the result as plain JSON values.

    Args:
        make: Builds a contender by name.
        perturbations: Changes of prompts to measure robustness under; None or empty: not measured.

    Raises:
        PoolError: The data cannot be read.
        BenchmarkError, ContenderError: It cannot be run as asked.
    """
    names = names_of(task.policies)
    compared = _Compared(*(make(names, encoder_id=encoder.encoder_id) for _ in range(2)))
    pools = _chosen_pools(task)
    if task.n_seeds < 1:
        raise BenchmarkError(f"--seeds {task.n_seeds}: at least one is needed")
    probes = Probes(lambda prompts: embed_prompts(encoder, prompts), dict(perturbations or {}), task.robust)
    version, results = code_version(), {}
    for pool in pools:
        results[pool] = _run_pool(task, pool, compared, encoder=encoder, probes=probes, tell=progress, code=version)
    return {
        "format": 1,
        "seed": task.seed,
        "split": "separate" if task.test else name_of(task.split, n_folds=task.n_folds),
        "encoder": encoder.encoder_id,
        "folds": task.n_folds if task.split == "kfold" and task.test is None else None,
        "seeds": task.n_seeds,
        "data": " → ".join(folder.name for folder in (task.train, task.test) if folder is not None),
        "n_replicates": task.n_replicates,
        "code": version[:12],
        "pools": results,
    }


def _chosen_pools(task: Benchmark) -> tuple[str, ...]:
    known = pool_names(task.pools_file)
    for name in task.pools:
        if name not in known:
            raise BenchmarkError(f"{task.pools_file}: no pool {name!r}; it holds {', '.join(known) or 'none'}")
    return task.pools or known


def _run_pool(
    task: Benchmark,
    pool: str,
    compared: _Compared,
    *,
    encoder: Encoder,
    probes: Probes,
    tell: Progress,
    code: str,
) -> PoolResult:
    train = load_pool_data(task.train, task.pools_file, pool)
    test = train if task.test is None else load_pool_data(task.test, task.pools_file, pool)
    fit_on = LazySample(train.table, encoder, tell)
    judge_on = fit_on if task.test is None else LazySample(test.table, encoder, tell)
    parts = _seeded_parts(task, train, test)
    keys = {"pool": pool, "train": train.identity, "test": test.identity, "encoder": encoder.encoder_id, "code": code}
    contenders = compared.contenders
    records: dict[str, list[tuple[int, Part, Record]]] = {contender.name: [] for contender in contenders}
    store, done, of = ForecastStore(task.out / "forecasts"), 0, len(parts) * len(contenders)
    for index, (own_seed, part) in enumerate(parts):
        asked = probes if index == 0 else Probes(probes.embed, {}, frozenset())  # one part tells the robustness
        samples = PartSamples(partial(fit_on.rows, part.train), partial(judge_on.rows, part.test), seed=own_seed)
        named = {**keys, "part": part.name, "rows": _hash_of(part), "seed": own_seed}
        for family, spares in compared.families():
            found = _recall(store, family, named, probes=asked) or _fit_and_keep(
                store, family, spares, samples, named, seed=own_seed, probes=asked
            )
            for name, record in found.items():
                records[name].append((own_seed, part, record))
            done += len(family)
            tell(f"{pool}: forecasts", done, of)
    pooled = {contender.name: pool_records(contender, records[contender.name]) for contender in contenders}
    return pool_result(
        pooled,
        test.table,
        n_replicates=task.n_replicates,
        seed=task.seed,
        progress=lambda done, of: tell(f"{pool}: intervals", done, of),
    )


def _seeded_parts(task: Benchmark, train: PoolData, test: PoolData) -> list[tuple[int, Part]]:
    """Every fit to make, as (seed, part)."""
    seeds = range(task.seed, task.seed + task.n_seeds)
    if task.test is not None:
        return [(seed, part) for seed in seeds for part in separate_parts(train.table, test.table)]
    return [
        (seed, part) for seed in seeds for part in parts_of(train.table, task.split, n_folds=task.n_folds, seed=seed)
    ]


def _key(name: str, named: Mapping[str, Any], probes: Probes) -> dict[str, Any]:
    """Everything that decides a record."""
    return {**named, "policy": name, "perturbations": sorted(probes.perturbations) if name in probes.robust else []}


def _recall(
    store: ForecastStore, family: Sequence[Contender], named: Mapping[str, Any], *, probes: Probes
) -> dict[str, Record] | None:
    """The records of a family on one part, if all are on disk."""
    kept = {each.name: store.read(_key(each.name, named, probes)) for each in family}
    found = {name: record for name, record in kept.items() if record is not None}
    return found if len(found) == len(family) else None


def _fit_and_keep(
    store: ForecastStore,
    family: Sequence[Contender],
    spares: Sequence[Contender],
    samples: PartSamples,
    named: Mapping[str, Any],
    *,
    seed: int,
    probes: Probes,
) -> dict[str, Record]:
    fresh = fit_part(family, spares, samples, seed=seed, probes=probes)
    for name, record in fresh.items():
        store.write(_key(name, named, probes), record)
    return fresh


def _hash_of(part: Part) -> str:
    return hashlib.sha256(np.packbits(part.train).tobytes() + b"\0" + np.packbits(part.test).tobytes()).hexdigest()
