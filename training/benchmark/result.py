"""A pool's result: every policy's metrics with paired intervals, as plain JSON values."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from policies.tables import OutcomeTable
from training.benchmark.detail import by_domain, calibration_of, chosen_share, curve_rows, modes_by_usd
from training.benchmark.measure import Arms, Columns, arms_of, columns_of, curve_in, measure
from training.benchmark.pooled import Pooled
from training.hull import upper_hull
from training.metrics.curve import Reals, thriftiest
from training.metrics.intervals import percentile_interval, replicate_means
from training.metrics.save import LEVELS, share_of

PoolResult = dict[str, Any]
Progress = Callable[[int, int], None]

_REFERENCE = "default"
_AT_LEVEL = "97"
_NESTED = ("save_", "realised_")
_BENCHMARK_METRICS = (*(f"save_{level}" for level in LEVELS), "max_accuracy", "apgr", "cpt50", "cpt80", "cost_of_pass")


def pool_result(
    pooled: Mapping[str, Pooled],
    test: OutcomeTable,
    *,
    n_replicates: int,
    seed: int,
    progress: Progress = lambda done, of: None,
) -> PoolResult:
    """Measure every policy of a pool on the same rows with the same replicates.

    Args:
        pooled: By name; all over the same rows.
        test: The table whose rows were judged.
    """
    first = next(iter(pooled.values()))
    table = test.rows(np.isin(np.arange(len(test)), first.rows))
    arms = arms_of(table)
    columns = {name: columns_of(each, table, arms) for name, each in pooled.items()}
    replicates = _replicates(arms, columns, n_replicates=n_replicates, seed=seed, progress=progress)
    scalars = {name: _scalars(arms, each) for name, each in columns.items()}
    sampled = {name: _sampled(arms, replicates, name, columns[name]) for name in columns}
    versus = {name: _versus(name, scalars, sampled) for name in columns}
    policies = {
        name: _policy(each, table, arms, columns[name], scalars[name], replicates[name])
        | {"ci": _intervals(scalars[name], sampled[name]), "versus": versus[name]}
        for name, each in pooled.items()
    }
    if len(set(table.benchmarks)) > 1:
        for name, each in pooled.items():
            policies[name]["by_benchmark"] = by_benchmark(each, table)
    result = _pool_facts(table, arms) | {"n_train": first.facts["n_train"], "policies": policies}
    plain: PoolResult = plain_values(result)
    return plain


def by_benchmark(pooled: Pooled, table: OutcomeTable) -> dict[str, dict[str, float]]:
    """Point estimates on each benchmark's rows alone, its own best single arm included."""
    found, labels = {}, np.array(table.benchmarks)
    for label in sorted(set(table.benchmarks)):
        rows = labels == label
        part = table.rows(rows)
        arms = arms_of(part)
        scalars = _scalars(arms, columns_of(pooled.only(rows), part, arms))
        found[label] = {"n": int(rows.sum())} | {name: scalars[name] for name in _BENCHMARK_METRICS}
    return found


def plain_values(value: Any) -> Any:
    """The same with numbers that JSON has not (NaN, infinities) as None and numpy scalars as Python's."""
    if isinstance(value, dict):
        return {str(key): plain_values(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(each) for each in value]
    if isinstance(value, np.generic):
        return plain_values(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _scalars(arms: Arms, columns: Columns) -> dict[str, float]:
    return measure(columns.values.mean(axis=0), arms.columns.mean(axis=0), arms, paired=columns.paired)


def _replicates(
    arms: Arms, columns: Mapping[str, Columns], *, n_replicates: int, seed: int, progress: Progress
) -> dict[str, Reals]:
    """Means in every replicate by policy; the arms' under the empty name."""
    matrices = {"": arms.columns} | {name: each.values for name, each in columns.items()}
    found = replicate_means(
        [matrix.astype(np.float32) for matrix in matrices.values()],
        n_replicates=n_replicates,
        seed=seed,
        progress=lambda done: progress(done, n_replicates),
    )
    return dict(zip(matrices, found, strict=True))


def _sampled(arms: Arms, replicates: Mapping[str, Reals], name: str, columns: Columns) -> dict[str, Reals]:
    """Every metric in every replicate; a level that is not reached in one counts as no saving there."""
    rows = [
        measure(own, shared, arms, paired=columns.paired)
        for own, shared in zip(replicates[name], replicates[""], strict=True)
    ]
    return {metric: _or_fallback(metric, np.array([row[metric] for row in rows])) for metric in rows[0]}


def _or_fallback(metric: str, values: Reals) -> Reals:
    return np.nan_to_num(values, nan=0.0) if metric.startswith("save_") else values


def _intervals(scalars: Mapping[str, float], sampled: Mapping[str, Reals]) -> dict[str, Any]:
    """Where the metric itself is unknown, so is its interval."""
    return {name: None if math.isnan(scalars[name]) else percentile_interval(sampled[name]) for name in scalars}


def _versus(
    name: str, scalars: Mapping[str, Mapping[str, float]], sampled: Mapping[str, Mapping[str, Reals]]
) -> dict[str, dict[str, Any]]:
    """Paired differences: of every policy against ``default``, and of ``default`` against every other."""
    if _REFERENCE not in scalars:
        return {}
    others: Sequence[str] = [_REFERENCE] if name != _REFERENCE else [other for other in scalars if other != name]
    return {other: _differences(name, other, scalars, sampled) for other in others}


def _differences(
    name: str, other: str, scalars: Mapping[str, Mapping[str, float]], sampled: Mapping[str, Mapping[str, Reals]]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for metric in scalars[name]:
        pair = (_or_fallback(metric, np.array([scalars[each][metric]])) for each in (name, other))
        difference = float((next(pair) - next(pair))[0])
        interval = percentile_interval(sampled[name][metric] - sampled[other][metric])
        found[metric] = None if interval is None or math.isnan(difference) else [difference, *interval]
    return found


def _policy(
    pooled: Pooled, table: OutcomeTable, arms: Arms, columns: Columns, scalars: Mapping[str, float], replicates: Reals
) -> dict[str, Any]:
    curve = curve_in(columns.values.mean(axis=0))
    at = thriftiest(curve, share_of(_AT_LEVEL) * float(table.scores[:, arms.best].mean()))
    calibrated = calibration_of(pooled, table)
    found: dict[str, Any] = {name: scalars[name] for name in scalars if not name.startswith(_NESTED)}
    found |= {
        "label_free": pooled.label_free,
        "save": {level: scalars[f"save_{level}"] for level in LEVELS},
        "save_committed": {
            level: {
                "lambda": pooled.facts["lambda"][level],
                "saving_pct": scalars[f"save_committed_{level}"],
                "realised_ratio": scalars[f"realised_ratio_{level}"],
            }
            for level in LEVELS
        },
        "ece": calibrated.ece,
        "calibration": calibrated.rows,
        "decision_us": pooled.facts["decision_us"],
        "far_share": float(np.mean([forecast.far.mean() for forecast in pooled.forecasts])),
        "fit_s": pooled.facts["fit_s"],
        "settings": pooled.facts["settings"],
        "curve": curve_rows(curve, replicates),
        "chosen_at_97": chosen_share(pooled, columns, table, at=at),
        "modes_by_usd": modes_by_usd(pooled, columns, table, curve),
        "by_domain": by_domain(columns, table, at=at, best=arms.best),
    }
    return found | ({"robustness": pooled.facts["robustness"]} if pooled.facts["robustness"] else {})


def _pool_facts(table: OutcomeTable, arms: Arms) -> dict[str, Any]:
    usd, accuracy = table.usd.mean(axis=0), table.scores.mean(axis=0)
    rows = [
        {
            "arm": arm.name,
            "mode": arm.mode,
            "effort": arm.effort,
            "accuracy": float(accuracy[index]),
            "usd": float(usd[index]),
            "seconds": float(table.seconds[:, index].mean()),
        }
        for index, arm in enumerate(table.arms)
    ]
    single = [{name: row[name] for name in ("arm", "accuracy", "usd")} for row in rows]
    return {
        "n_test": len(table),
        "domains": {domain: table.domains.count(domain) for domain in sorted(set(table.domains))},
        "arms": rows,
        "best_single": single[arms.best],
        "cheapest": single[arms.cheapest],
        "hull": np.column_stack(upper_hull(usd, accuracy)).tolist(),
        "oracle_accuracy": float(arms.columns[:, -1].mean()),
    }
