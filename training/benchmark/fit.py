"""One fit: a contender on one part of a pool, its forecast of the other part, and what is timed while it is at hand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol, runtime_checkable

import numpy as np

from training.benchmark.latency import N_CALLS, decision_us
from training.benchmark.robustness import Embed, Perturbation, balanced_trade_off, same_arm_pct
from training.benchmark.splits import BenchmarkError
from training.benchmark.store import Record
from training.contender import Contender, Fitted, Forecast, Sample
from training.linear import folds_of
from training.metrics.curve import lambda_multiples, reference_usd
from training.metrics.save import commit
from training.offline import arm_facts, contexts_of

_ASIDE = 5  # one part in five commits to a λ where a contender keeps no held-out forecasts


@runtime_checkable
class Family(Protocol):
    """Contenders that come out of one fit, e.g. a teacher and what was distilled from it.

    Attributes:
        family: Contenders with the same one share the fit.
    """

    family: str

    def fit_family(self, train: Sample, *, seed: int) -> Mapping[str, Fitted]:
        """Fit once; what each name of the family is."""
        ...


@dataclass(frozen=True, slots=True)
class Probes:
    """What is measured besides the forecast.

    Attributes:
        embed: Embeds changed prompts.
        perturbations: Empty: robustness is not measured.
        robust: Policies whose robustness is measured.
    """

    embed: Embed
    perturbations: Mapping[str, Perturbation]
    robust: frozenset[str]


def family_of(contender: Contender) -> str:
    """Name shared by the contenders that one fit gives."""
    return contender.family if isinstance(contender, Family) else contender.name


def fit_part(
    contenders: Sequence[Contender], train: Sample, test: Sample, *, seed: int, probes: Probes
) -> dict[str, Record]:
    """Fit contenders of one family on ``train`` and forecast ``test``; a record for each by name.

    Raises:
        BenchmarkError: A forecast has the wrong shape or holds something that is not a number.
    """
    start = perf_counter()
    fitted = _fitted(contenders, train, seed=seed)
    fit_s = perf_counter() - start
    records = {}
    for contender in contenders:
        each = fitted[contender.name]
        forecast = checked(each.forecast(test), contender.name, shape=test.table.scores.shape)
        facts = {"fit_s": fit_s, "settings": each.facts, **_commitment(contender, each, train, seed=seed)}
        records[contender.name] = Record(forecast, facts | _probed(contender.name, each, train, test, probes=probes))
    return records


def checked(forecast: Forecast, name: str, *, shape: tuple[int, ...]) -> Forecast:
    """The forecast, if every array of it has the right shape and holds numbers.

    Raises:
        BenchmarkError: Otherwise.
    """
    parts = {"quality": forecast.quality, "usd": forecast.usd, "dist": forecast.dist}
    for field, values in parts.items():
        if values is None:
            continue
        if values.shape != shape or not np.isfinite(values).all():
            raise BenchmarkError(f"policy {name!r}: its {field} must be finite, shape {shape}, got {values.shape}")
    if forecast.far.shape != shape[:1]:
        raise BenchmarkError(f"policy {name!r}: its far must have shape {shape[:1]}, got {forecast.far.shape}")
    return forecast


def _fitted(contenders: Sequence[Contender], train: Sample, *, seed: int) -> Mapping[str, Fitted]:
    first = contenders[0]
    if isinstance(first, Family):
        return first.fit_family(train, seed=seed)
    return {contender.name: contender.fit(train, seed=seed) for contender in contenders}


def _commitment(contender: Contender, fitted: Fitted, train: Sample, *, seed: int) -> dict[str, Any]:
    """The unit of λ and the λ to commit to at each level, from training rows alone."""
    scores, usd = train.table.scores, train.table.usd
    unit = reference_usd(scores, usd)
    forecast, kept = fitted.held_out, np.ones(len(train), dtype=np.bool_)
    if forecast is None:
        forecast, kept = _set_aside(contender, train, seed=seed)
    shape = (int(kept.sum()), scores.shape[1])
    forecast = checked(forecast, f"{contender.name} (held out)", shape=shape)
    chosen = commit(forecast, lambda_multiples(), unit, scores=scores[kept], usd=usd[kept])
    return {"reference_usd": unit, "committed": chosen}


def _set_aside(contender: Contender, train: Sample, *, seed: int) -> tuple[Forecast, Any]:
    aside = folds_of(len(train), _ASIDE, seed=seed) == 0
    fitted = _fitted([contender], train.rows(~aside), seed=seed)[contender.name]
    return fitted.forecast(train.rows(aside)), aside


def _probed(name: str, fitted: Fitted, train: Sample, test: Sample, *, probes: Probes) -> dict[str, Any]:
    if fitted.policy is None:
        return {}
    trade_off = balanced_trade_off(train.table)
    few = np.arange(len(test)) < N_CALLS
    contexts = contexts_of(test.table.rows(few), test.inputs.embeddings[few])
    facts: dict[str, Any] = {"decision_us": decision_us(fitted.policy, contexts, arm_facts(test.table), trade_off)}
    if name in probes.robust and probes.perturbations:
        facts["robustness"] = same_arm_pct(
            fitted.policy, test.table, embed=probes.embed, trade_off=trade_off, perturbations=probes.perturbations
        )
    return facts
