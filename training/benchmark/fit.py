"""One fit: a contender on one part of a pool, its forecast of the other part, and what is timed while it is at hand."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter
from typing import Any, Protocol, runtime_checkable

import numpy as np

from policies.tables import Mask
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


class PartSamples:
    """The samples of one part, each made when first asked for and the same object ever after.

    Contenders may share what they fitted on a sample by its identity.
    """

    def __init__(self, train: Callable[[], Sample], test: Callable[[], Sample], *, seed: int) -> None:
        self._make_train, self._make_test, self._seed = train, test, seed

    @cached_property
    def train(self) -> Sample:
        """The rows to fit on."""
        return self._make_train()

    @cached_property
    def test(self) -> Sample:
        """The rows to judge on."""
        return self._make_test()

    @cached_property
    def most(self) -> Sample:
        """The training rows but ``aside``."""
        return self.train.rows(~self._aside)

    @cached_property
    def aside(self) -> Sample:
        """A fifth of the training rows, for the contenders that keep no held-out forecasts."""
        return self.train.rows(self._aside)

    @cached_property
    def _aside(self) -> Mask:
        mask: Mask = folds_of(len(self.train), _ASIDE, seed=self._seed) == 0
        return mask


def fit_part(
    contenders: Sequence[Contender],
    spares: Sequence[Contender],
    samples: PartSamples,
    *,
    seed: int,
    probes: Probes,
) -> dict[str, Record]:
    """Fit contenders of one family and forecast the test rows; a record for each by name.

    Args:
        spares: The same contenders once more, for the second fit that a λ is committed on; apart from the first ones so
            that neither forgets what it shares with others of its kind.

    Raises:
        BenchmarkError: A forecast has the wrong shape or holds something that is not a number.
    """
    train, test = samples.train, samples.test
    start = perf_counter()
    fitted = _fitted(contenders, train, seed=seed)
    fit_s = perf_counter() - start
    lacking = [spare for spare in spares if fitted[spare.name].held_out is None]
    second = _fitted(lacking, samples.most, seed=seed) if lacking else {}
    records = {}
    for name in (contender.name for contender in contenders):
        each = fitted[name]
        forecast = checked(each.forecast(test), name, shape=test.table.scores.shape)
        kept, rows = each.held_out, train
        if kept is None:
            kept, rows = second[name].forecast(samples.aside), samples.aside
        facts = {"fit_s": fit_s, "settings": each.facts, **_commitment(name, kept, rows, train)}
        records[name] = Record(forecast, facts | _probed(name, each, train, test, probes=probes))
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


def _commitment(name: str, held_out: Forecast, rows: Sample, train: Sample) -> dict[str, Any]:
    """The unit of λ and the λ to commit to at each level, from training rows alone."""
    scores, usd = rows.table.scores, rows.table.usd
    unit = reference_usd(train.table.scores, train.table.usd)
    forecast = checked(held_out, f"{name} (held out)", shape=scores.shape)
    return {"reference_usd": unit, "committed": commit(forecast, lambda_multiples(), unit, scores=scores, usd=usd)}


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
