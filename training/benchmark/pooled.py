"""A contender's forecasts of all tested rows, put together from its parts; each row by a fit that never saw it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.tables import Mask
from training.benchmark.splits import Part
from training.benchmark.store import Record
from training.contender import Contender, Forecast
from training.metrics.curve import Integers, Reals, lambda_multiples
from training.metrics.save import LEVELS


@dataclass(frozen=True, slots=True)
class Pooled:
    """Forecasts of k tested rows under each of S seeds.

    Attributes:
        rows: Which rows of the test table, shape (k,), rising.
        forecasts: One per seed, each over the k rows.
        reference_usd: Unit of λ of the fit that judged each row, one array of shape (k,) per seed.
        committed: Level → index of the λ that fit committed to, one array of shape (k,) per seed.
        facts: ``fit_s``, ``n_train``, ``decision_us``, ``robustness``, ``lambda``: means over fits, plain values.
    """

    name: str
    label_free: bool
    rows: Integers
    forecasts: tuple[Forecast, ...]
    reference_usd: tuple[Reals, ...]
    committed: dict[str, tuple[Integers, ...]]
    facts: dict[str, Any]

    def only(self, kept: Mask) -> "Pooled":
        """The rows where ``kept``, shape (k,), is true."""
        return replace(
            self,
            rows=self.rows[kept],
            forecasts=tuple(_taken(forecast, kept) for forecast in self.forecasts),
            reference_usd=tuple(unit[kept] for unit in self.reference_usd),
            committed={level: tuple(index[kept] for index in each) for level, each in self.committed.items()},
        )


def pool_records(contender: Contender, records: Sequence[tuple[int, Part, Record]]) -> Pooled:
    """Put the records of one contender together.

    Args:
        records: (seed, part, record); the parts of one seed test disjoint rows, every seed the same rows.
    """
    seeds = sorted({seed for seed, _, _ in records})
    by_seed = [[(part, record) for own, part, record in records if own == seed] for seed in seeds]
    rows = np.flatnonzero(np.any([part.test for part, _ in by_seed[0]], axis=0))
    together = [_together(each, rows) for each in by_seed]
    return Pooled(
        name=contender.name,
        label_free=not contender.needs_labels,
        rows=rows,
        forecasts=tuple(forecast for forecast, _, _ in together),
        reference_usd=tuple(unit for _, unit, _ in together),
        committed={level: tuple(chosen[level] for _, _, chosen in together) for level in LEVELS},
        facts=_facts(records),
    )


def _together(
    records: Sequence[tuple[Part, Record]], rows: Integers
) -> tuple[Forecast, Reals, dict[str, NDArray[np.int64]]]:
    """One seed's forecast of the rows, its unit of λ per row and the λ committed to per level and row."""
    n = len(records[0][0].test)
    first = records[0][1].forecast
    quality, usd = np.full((n, first.quality.shape[1]), np.nan), np.full((n, first.quality.shape[1]), np.nan)
    dist = None if first.dist is None else np.full_like(quality, np.nan)
    far, unit = np.zeros(n, dtype=np.bool_), np.full(n, np.nan)
    chosen = {level: np.zeros(n, dtype=np.int64) for level in LEVELS}
    for part, record in records:
        quality[part.test], usd[part.test] = record.forecast.quality, record.forecast.usd
        far[part.test], unit[part.test] = record.forecast.far, record.facts["reference_usd"]
        if dist is not None:
            dist[part.test] = record.forecast.dist
        for level in LEVELS:
            chosen[level][part.test] = record.facts["committed"][level]
    whole = Forecast(quality, usd, far=far, dist=dist)
    at = np.zeros(n, dtype=np.bool_)
    at[rows] = True
    return _taken(whole, at), unit[rows], {level: index[rows] for level, index in chosen.items()}


def _taken(forecast: Forecast, kept: Mask) -> Forecast:
    dist = None if forecast.dist is None else forecast.dist[kept]
    return Forecast(forecast.quality[kept], forecast.usd[kept], far=forecast.far[kept], dist=dist)


def _facts(records: Sequence[tuple[int, Part, Record]]) -> dict[str, Any]:
    facts = [record.facts for _, _, record in records]
    timed = [each["decision_us"] for each in facts if "decision_us" in each]
    multiples = lambda_multiples()
    lambdas = {
        level: float(np.mean([multiples[each["committed"][level]] / each["reference_usd"] for each in facts]))
        for level in LEVELS
    }
    robust = [each["robustness"] for each in facts if "robustness" in each]
    return {
        "fit_s": float(np.mean([each["fit_s"] for each in facts])),
        "n_train": float(np.mean([part.train.sum() for _, part, _ in records])),
        "decision_us": float(np.median(timed)) if timed else None,
        "lambda": lambdas,
        "robustness": robust[0] if robust else None,
        "settings": facts[0].get("settings", {}),
    }
