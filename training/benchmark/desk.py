"""Where the jobs of a benchmark are done: it holds the pool at hand, fits and keeps, and measures what was kept.

What decided a forecast (data, code, libraries, split, seed) is its name on disk, so whoever looks for it next finds it:
a second run, or another process.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import compress, groupby
from typing import Any, Protocol

import numpy as np

from training.benchmark.fit import PartSamples, Probes, family_of, fit_part
from training.benchmark.load import PoolData, load_pool_data
from training.benchmark.pooled import Pooled, pool_records
from training.benchmark.result import PoolResult, pool_result
from training.benchmark.robustness import Perturbation, changed_prompts
from training.benchmark.seeing import TOO_FEW, Seeing, SeenTable
from training.benchmark.splits import BenchmarkError, Part, parts_of, separate_parts
from training.benchmark.store import ForecastStore, Record
from training.benchmark.task import Benchmark, Fit, Job, Measure
from training.contender import Contender, hears_rewordings
from training.contenders.registry import made_together, names_of
from training.embeddings import embed_prompts
from training.rewordings import Embed
from training.threads import one_thread

Progress = Callable[[str, int, int], None]


class Make(Protocol):
    """Builds contenders by name."""

    def __call__(self, names: Sequence[str], *, encoder_id: str) -> Sequence[Contender]:
        """In the order of the names."""
        ...


@dataclass(frozen=True, slots=True)
class _Member:
    """A contender, and the same once more for the fits that a λ is committed on."""

    contender: Contender
    spare: Contender


def counting(tell: Progress, what: str, *, of: int) -> Callable[[int], None]:
    """A function that is told how many more are done, and tells how many are done by now."""
    done = 0

    def count(n: int) -> None:
        nonlocal done
        done += n
        tell(what, done, of)

    return count


@dataclass(frozen=True, slots=True)
class PoolAtHand:
    """A pool that is loaded and parted.

    Attributes:
        parts: Every fit to make, as (seed, part).
    """

    train: PoolData
    test: PoolData
    parts: list[tuple[int, Part]]
    fit_on: SeenTable
    judge_on: SeenTable

    def samples(self, index: int, embed: Embed) -> PartSamples:
        """The two sides of one part."""
        seed, part = self.parts[index]
        return PartSamples(
            partial(self.fit_on.rows, part.train, embed), partial(self.judge_on.rows, part.test, embed), seed=seed
        )


class Desk:
    """Does the jobs of one task; keeps the pool and the part of the last one at hand."""

    def __init__(
        self,
        task: Benchmark,
        *,
        seeing: Seeing,
        make: Make,
        perturbations: Mapping[str, Perturbation],
        code: str,
        tell: Progress,
    ) -> None:
        """Make every contender of the task; raises ContenderError where one does not exist or cannot be built.

        Args:
            code: Version of whatever can change a forecast.
            tell: Progress (what, done, of).
        """
        self.task, self.seeing, self.code, self.tell = task, seeing, code, tell
        self.names = names_of(task.policies)
        self.perturbations = dict(perturbations) if task.robust & set(self.names) else {}
        twice = (make(self.names, encoder_id=seeing.encoder_id) for _ in range(2))
        self._members = {first.name: _Member(first, second) for first, second in zip(*twice, strict=True)}
        self._store = ForecastStore(task.out / "forecasts")
        self._pool: tuple[str, PoolAtHand] | None = None
        self._samples: tuple[str, int, PartSamples] | None = None
        self._embed: tuple[str, int, Embed] | None = None
        listens = any(hears_rewordings(each.contender) for each in self._members.values())
        self._reworded_by = task.seed if listens else None

    def pool(self, name: str) -> PoolAtHand:
        """Load and part a pool, unless it is at hand.

        Raises:
            PoolError, RecordError: It cannot be read.
            BenchmarkError: It cannot be parted as asked.
        """
        if self._pool is None or self._pool[0] != name:
            self._pool = self._samples = self._embed = None  # the last one's memory is free before the next one is read
            self._pool = (name, self._loaded(name))
        return self._pool[1]

    def fits(self, name: str) -> list[Fit]:
        """Every fit that a pool needs, whether kept or not; policies that share what they fit are one job."""
        n_parts, groups = len(self.pool(name).parts), made_together(self.names)
        return [Fit(name, part, group) for part in range(n_parts) for group in groups]

    def has_kept(self, fit: Fit) -> bool:
        """Whether every forecast of the job is on disk."""
        return all(self._recall(fit, name) is not None for name in fit.policies)

    def asks_changed_prompts(self, fit: Fit) -> bool:
        """Whether the job measures robustness, for which ``embed_changed`` comes first."""
        probes = self._probes(fit)
        return bool(probes.perturbations) and bool(probes.robust & set(fit.policies))

    def embed(self, name: str) -> None:
        """Embed a pool's texts into the cache on disk; fitted encoders see those of the training prompts alone."""
        pool = self.pool(name)
        texts = list(pool.fit_on.table.prompts if self.seeing.fits_inside else pool.fit_on.texts)
        if not self.seeing.fits_inside and pool.judge_on is not pool.fit_on:
            texts += pool.judge_on.texts
        embed_prompts(self.seeing.slow, texts, progress=counting(self.tell, f"{name}: embedding", of=len(texts)))

    def embed_changed(self, name: str) -> None:
        """Embed the changed prompts that robustness asks for into the cache on disk; fitted encoders need none."""
        if self.seeing.fits_inside:
            return
        pool = self.pool(name)
        changed = changed_prompts(pool.test.table.rows(pool.parts[0][1].test), self.perturbations)
        prompts = [prompt for group in changed.values() for prompt in group]
        count = counting(self.tell, f"{name}: embedding changed prompts", of=len(prompts))
        embed_prompts(self.seeing.slow, prompts, progress=count)

    def do(self, job: Job) -> PoolResult | None:
        """Fit and keep, or measure: the result of a ``Measure``.

        Raises:
            BenchmarkError: A forecast is unusable, or one to be measured is gone.
        """
        # On some machines products of several threads round otherwise: a run must say the same in any processes.
        with one_thread():
            if isinstance(job, Measure):
                return self._measure(job.pool)
            self._fit(job)
            return None

    def _loaded(self, name: str) -> PoolAtHand:
        task = self.task
        train = load_pool_data(task.train, task.pools_file, name)
        test = train if task.test is None else load_pool_data(task.test, task.pools_file, name)
        fit_on = SeenTable(train.table, reworded_by=self._reworded_by)
        judge_on = SeenTable(test.table)
        return PoolAtHand(train, test, _seeded_parts(task, train, test), fit_on, judge_on)

    def _samples_of(self, fit: Fit) -> PartSamples:
        if self._samples is None or self._samples[:2] != (fit.pool, fit.part):
            self._samples = (fit.pool, fit.part, self.pool(fit.pool).samples(fit.part, self._embed_of(fit)))
        return self._samples[2]

    def _embed_of(self, fit: Fit) -> Embed:
        """What embeds for the part of a job; a fitted encoder is fitted when it is first asked to."""
        if self._embed is None or self._embed[:2] != (fit.pool, fit.part):
            pool = self.pool(fit.pool)
            seed, part = pool.parts[fit.part]
            opened = cache(lambda: self.seeing.of(pool.fit_on.table.rows(part.train), seed=seed))
            self._embed = (fit.pool, fit.part, lambda prompts: opened()(prompts))
        return self._embed[2]

    def _fit(self, fit: Fit) -> None:
        seed, _ = self.pool(fit.pool).parts[fit.part]
        samples, probes = self._samples_of(fit), self._probes(fit)
        members = [self._members[name] for name in fit.policies]
        for _, grouped in groupby(members, key=lambda member: family_of(member.contender)):
            family = list(grouped)
            if all(self._recall(fit, each.contender.name) is not None for each in family):
                continue
            contenders, spares = [each.contender for each in family], [each.spare for each in family]
            for name, record in fit_part(contenders, spares, samples, seed=seed, probes=probes).items():
                self._store.write(self._key(fit, name), record)

    def _measure(self, name: str) -> PoolResult:
        pool = self.pool(name)
        result = pool_result(
            {policy: self._pooled(name, policy) for policy in self.names},
            pool.test.table,
            n_replicates=self.task.n_replicates,
            seed=self.task.seed,
            progress=lambda done, of: self.tell(f"{name}: intervals", done, of),
        )
        return result | self._encoder_told(pool)

    def _encoder_told(self, pool: PoolAtHand) -> PoolResult:
        """The pool's encoder where it is not, or not in every part, the one that the run's id names."""
        prompts, of = pool.fit_on.table.prompts, len(pool.parts)
        n = sum(self.seeing.falls_back(compress(prompts, part.train)) for _, part in pool.parts)
        if not n:
            return {}
        return {"encoder": TOO_FEW if n == of else f"{TOO_FEW} in {n} of {of} parts"}

    def _pooled(self, pool: str, policy: str) -> Pooled:
        records = []
        for index, (seed, part) in enumerate(self.pool(pool).parts):
            record = self._recall(Fit(pool, index, (policy,)), policy)
            if record is None:
                raise BenchmarkError(f"pool {pool!r}: a forecast of {policy!r} is gone from {self.task.out}; run again")
            records.append((seed, part, record))
        return pool_records(self._members[policy].contender, records)

    def _probes(self, fit: Fit) -> Probes:
        """The first part tells the robustness."""
        asked = (self.perturbations, self.task.robust) if fit.part == 0 else ({}, frozenset[str]())
        return Probes(self._embed_of(fit), *asked)

    def _recall(self, fit: Fit, policy: str) -> Record | None:
        return self._store.read(self._key(fit, policy))

    def _key(self, fit: Fit, policy: str) -> dict[str, Any]:
        """Everything that decides a record."""
        pool, probes = self.pool(fit.pool), self._probes(fit)
        seed, part = pool.parts[fit.part]
        return {
            "pool": fit.pool,
            "train": pool.train.identity,
            "test": pool.test.identity,
            "encoder": self.seeing.encoder_id,
            "reworded": self._reworded_by if hears_rewordings(self._members[policy].contender) else None,
            "code": self.code,
            "part": part.name,
            "rows": _hash_of(part),
            "seed": seed,
            "policy": policy,
            "perturbations": sorted(probes.perturbations) if policy in probes.robust else [],
        }


def _seeded_parts(task: Benchmark, train: PoolData, test: PoolData) -> list[tuple[int, Part]]:
    """Every fit to make, as (seed, part)."""
    seeds = range(task.seed, task.seed + task.n_seeds)
    if task.test is not None:
        return [(seed, part) for seed in seeds for part in separate_parts(train.table, test.table)]
    return [
        (seed, part) for seed in seeds for part in parts_of(train.table, task.split, n_folds=task.n_folds, seed=seed)
    ]


def _hash_of(part: Part) -> str:
    return hashlib.sha256(np.packbits(part.train).tobytes() + b"\0" + np.packbits(part.test).tobytes()).hexdigest()
