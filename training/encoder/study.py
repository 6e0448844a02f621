"""Encoders compared on real routing: each is fitted inside each fold, the same routers on top, everything resumable."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from policies.encoders.base import Encoder
from training.benchmark.load import PoolData, load_pool_data, pool_names
from training.benchmark.result import plain_values
from training.benchmark.splits import BenchmarkError, Part, name_of, parts_of
from training.benchmark.store import ForecastStore, Record, code_version
from training.contender import Contender, Sample, hears_rewordings
from training.contenders.registry import FACTORIES, make_contender
from training.embeddings import Floats, embed_prompts
from training.encoder.study_encoders import ENCODERS, ONE_FOLD, REFERENCE, FoldData, encoder_for
from training.encoder.study_measure import Judged, judge, measure, record_of
from training.encoder.study_report import write_study
from training.encoder.study_speed import query_us
from training.inputs import make_inputs
from training.metrics.curve import best_single, reference_usd
from training.rewordings import Reworded, make_reworded, reworded_texts

Progress = Callable[[str, int, int], None]
Make = Callable[[str], Contender]
EncoderFor = Callable[..., tuple[Encoder, dict[str, Any]]]
Load = Callable[[Path, Path | None, str], PoolData]

POOLS = ("mmlu_pro_7", "reasoning_gym_modes")
ROUTERS = ("knn", "default")


class StudyTask(Protocol):
    """What the study reads of the benchmark's task."""

    train: Path
    pools_file: Path | None
    out: Path
    test: Path | None
    pools: tuple[str, ...]
    policies: tuple[str, ...]
    split: str
    n_folds: int
    n_seeds: int
    seed: int
    n_replicates: int


@dataclass(frozen=True, slots=True)
class _Study:
    """A task with its parts resolved."""

    task: StudyTask
    encoders: tuple[str, ...]
    routers: tuple[str, ...]
    make: Make
    encoder_for: EncoderFor
    load: Load
    progress: Progress
    store: ForecastStore
    code: str


def run_study(
    task: StudyTask,
    *,
    encoders: str,
    progress: Progress,
    make: Make = make_contender,
    encoder_for: EncoderFor = encoder_for,
    load: Load = load_pool_data,
) -> dict[str, Any]:
    """Compare encoders and write ``encoders.md`` and ``encoders.png`` into ``task.out``; returns the result.

    Args:
        task: As for the benchmark. Without pools it takes ``mmlu_pro_7`` and ``reasoning_gym_modes``; when policies
            are not narrowed down, the routers on top are ``knn`` and ``default``.
        encoders: Names by comma, or ``all``.

    Raises:
        BenchmarkError: A name is unknown, or two data directories were given.
        EncoderError: An encoder cannot be prepared.
        PoolError: The data cannot be read.
    """
    if task.test is not None:
        raise BenchmarkError("--encoders compares on parts of --train; leave --test out")
    routers = ROUTERS if not task.policies or set(task.policies) == set(FACTORIES) else task.policies
    pools = task.pools or _pools_of(task)
    store = ForecastStore(task.out / "forecasts")
    study = _Study(task, names_of(encoders), routers, make, encoder_for, load, progress, store, code_version())
    result: dict[str, Any] = {
        "format": 1,
        "study": "encoders",
        "seed": task.seed,
        "seeds": task.n_seeds,
        "split": name_of(task.split, n_folds=task.n_folds),
        "reference": REFERENCE,
        "pools": {pool: _pool(study, pool) for pool in pools},
    }
    plain: dict[str, Any] = plain_values(result)
    write_study(plain, task.out)
    return plain


def _pools_of(task: StudyTask) -> tuple[str, ...]:
    known = pool_names(task.pools_file, data_dir=task.train)
    return known if task.pools_file is None else tuple(name for name in known if name in POOLS)


def names_of(encoders: str) -> tuple[str, ...]:
    """The named encoders in the study's order, the reference always among them.

    Raises:
        BenchmarkError: One of them does not exist.
    """
    wanted = {name.strip() for name in encoders.split(",") if name.strip()}
    unknown = sorted(wanted - {*ENCODERS, "all"})
    if unknown or not wanted:
        raise BenchmarkError(f"--encoders {encoders}: choose from {', '.join(ENCODERS)}, or all")
    return tuple(name for name in ENCODERS if name in wanted or name == REFERENCE or "all" in wanted)


def _pool(study: _Study, pool: str) -> dict[str, Any]:
    task = study.task
    data = study.load(task.train, task.pools_file, pool)
    facts: dict[str, dict[str, Any]] = {}
    judged: dict[str, dict[str, Judged]] = {router: {} for router in study.routers}
    for name in study.encoders:
        each = _folds(study, data, pool, name)
        for index, fold in enumerate(each):
            fold.fit()
            study.progress(f"{pool}: {name}", index + 1, len(each))
        facts[name] = each[0].facts() | {"note": ONE_FOLD.get(name, "")}
        for router in study.routers:
            judged[router][name] = judge(data.table, [(fold.part, fold.record(router)) for fold in each])
    at = best_single(data.table.scores, data.table.usd)
    best = {
        "arm": data.table.arm_names[at],
        "accuracy": 100.0 * float(data.table.scores[:, at].mean()),
        "usd": float(data.table.usd[:, at].mean()),
    }
    routers = {router: _measured(study, data, judged[router]) for router in study.routers}
    return {"n_test": len(data.table), "best_single": best, "encoders": facts, "routers": routers}


def _folds(study: _Study, data: PoolData, pool: str, name: str) -> "list[_Fold]":
    """Every fold of every seed; the first of all for an encoder that is too dear for more."""
    task = study.task
    each = [
        _Fold(study, data, name, part, seed=seed, pool=pool)
        for seed in range(task.seed, task.seed + task.n_seeds)
        for part in parts_of(data.table, task.split, n_folds=task.n_folds, seed=seed)
    ]
    return each[:1] if name in ONE_FOLD else each


def _measured(study: _Study, data: PoolData, judged: dict[str, Judged]) -> dict[str, Any]:
    of, task = len(judged), study.task
    made: dict[str, Any] = {}
    for done, (name, own) in enumerate(judged.items(), start=1):
        reference = None if name == REFERENCE else judged[REFERENCE]
        made[name] = measure(data.table, own, reference, n_replicates=task.n_replicates, seed=task.seed)
        study.progress(f"{data.table.name}: intervals", done, of)
    return made


class _Fold:
    """One encoder on one fold of one pool; the encoder is opened and the prompts embedded only when needed."""

    def __init__(self, study: _Study, data: PoolData, name: str, part: Part, *, seed: int, pool: str) -> None:
        self.part, self.seed = part, seed
        self._study, self._data, self._pool, self._name = study, data, pool, name
        self._opened: tuple[Encoder, dict[str, Any]] | None = None
        self._samples: tuple[Sample, Sample] | None = None
        self._reworded: Reworded | None = None
        self._kept: dict[str, Record] = {}

    def fit(self) -> None:
        """Make every router's forecast, then let the embeddings go."""
        for router in self._study.routers:
            self.record(router)
        self._samples = self._reworded = None

    def record(self, router: str) -> Record:
        """The router's forecast of the fold's test rows: kept, or fitted now."""
        if router not in self._kept:
            key = self._key(router)
            found = self._study.store.read(key)
            if found is None:
                found = self._fit(router)
                self._study.store.write(key, found)
            self._kept[router] = found
        return self._kept[router]

    def facts(self) -> dict[str, Any]:
        """Size, speed and time to fit of the encoder."""
        key = self._key("facts")
        found = self._study.store.read(key)
        if found is None:
            encoder, fitted = self._encoder()
            facts = {
                "dim": encoder.dim,
                "fit_s": fitted["fit_s"],
                "query_us": query_us(encoder, self._data.table.prompts),
            }
            kept = self.record(self._study.routers[0])
            found = Record(kept.forecast, facts)
            self._study.store.write(key, found)
        return found.facts

    def _key(self, router: str) -> dict[str, Any]:
        fit = self._fold_data().key(self._name)
        digest = hashlib.sha256(self.part.train.tobytes() + self.part.test.tobytes()).hexdigest()
        names = {"pool": self._pool, "policy": f"{self._name}-{router}"}
        return names | {
            "data": self._data.identity,
            "rows": digest,
            "fit": fit,
            "code": self._study.code,
        }

    def _fold_data(self) -> FoldData:
        train = self._data.table.rows(self.part.train)
        folder = self._study.task.out / "encoders"
        folder.mkdir(parents=True, exist_ok=True)
        return FoldData(train.prompts, train.scores, folder, self.seed)

    def _encoder(self) -> tuple[Encoder, dict[str, Any]]:
        if self._opened is None:
            self._opened = self._study.encoder_for(self._name, self._fold_data(), progress=self._study.progress)
        return self._opened

    def _fit(self, router: str) -> Record:
        train, test = self._both()
        contender = self._study.make(router)
        if hears_rewordings(contender):
            train = replace(train, reworded=self._rewordings().among(self.part.train))
        start = perf_counter()
        fitted = contender.fit(train, seed=self.seed)
        fit_s = perf_counter() - start
        unit = reference_usd(train.table.scores, train.table.usd)
        return record_of(fitted.forecast(test), reference_usd=unit, fit_s=fit_s)

    def _both(self) -> tuple[Sample, Sample]:
        if self._samples is None:
            table = self._data.table
            embeddings = self._embedded(table.prompts)
            sample = Sample(table, make_inputs(table, embeddings))
            self._samples = sample.rows(self.part.train), sample.rows(self.part.test)
        return self._samples

    def _rewordings(self) -> Reworded:
        """Of the whole table, as the benchmark has them."""
        if self._reworded is None:
            rows, texts = reworded_texts(self._data.table.prompts, seed=self._study.task.seed)
            self._reworded = make_reworded(rows, texts, embed=self._embedded)
        return self._reworded

    def _embedded(self, prompts: Sequence[str]) -> Floats:
        encoder, ready = self._encoder()[0], [0]
        if getattr(encoder, "is_quick", False) or self._name == "lexical":
            return np.asarray(encoder.encode(prompts), np.float32)

        def tell(n: int) -> None:
            ready[0] += n
            self._study.progress(f"{self._pool}: embedding with {self._name}", ready[0], len(prompts))

        return embed_prompts(encoder, prompts, progress=tell)
