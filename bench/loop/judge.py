"""The live prompts judged: three policies on the same prompts, single arms beside them, and what was foretold."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.loop.plan import LoopFailed
from bench.loop.site import Rows
from policies.tables import OutcomeTable
from training.hull import Interval, bootstrap_means, gain_at_equal_cost, interval

Reals = NDArray[np.float64]
MEASURES = ("quality", "usd", "utility")
N_REPLICATES = 2_000


@dataclass(frozen=True, slots=True)
class Served:
    """One policy on the live prompts: means with intervals over prompts, and the share of each arm."""

    measures: dict[str, Interval]
    shares: dict[str, float]


@dataclass(frozen=True, slots=True)
class Foretold:
    """An off-policy estimate (doubly robust) beside what happened live, and whether its interval held that."""

    value: float
    low: float
    high: float
    live: float
    held: bool


@dataclass(frozen=True, slots=True)
class OffPolicy:
    """What `gearshift evaluate` said before the artifact served; ``refused`` says why it said nothing.

    Attributes:
        values / gains: Of each measure: of the artifact, and of it less the logging policy.
    """

    n_rounds: int
    effective: float
    values: dict[str, Foretold]
    gains: dict[str, Foretold]
    sample_ratio_p: float
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Live on the same prompts: the learned policy, the rules with exploration that wrote the log, and the rules alone.

    Attributes:
        gains: Learned less logging policy, paired by prompt.
        over_rules: Learned less the rules without exploration, likewise.
        best_arm: Name of the single arm of highest utility on these very prompts, in hindsight.
        over_best_arm: Learned policy less that arm, utility.
        over_hull: Accuracy above the best mixture of single arms at equal cost, in hindsight likewise.
        oracle: Utility of the best arm of every prompt.
    """

    learned: Served
    logging: Served
    rules: Served
    gains: dict[str, Interval]
    over_rules: dict[str, Interval]
    best_arm: str
    best_arm_measures: dict[str, float]
    over_best_arm: Interval
    over_hull: Interval
    oracle: float


def judge(table: OutcomeTable, *, learned: Rows, logging: Rows, rules: Rows, usd_per_correct_answer: float) -> Verdict:
    """Compare three replays of the same prompts; ``table`` holds these prompts alone, in the same order."""
    for rows in (learned, logging, rules):
        if [row["query_id"] for row in rows] != list(table.query_ids):
            raise LoopFailed("the policies were not asked the same prompts")
    new, old, plain = (_measured(rows, usd_per_correct_answer) for rows in (learned, logging, rules))  # (n, 3)
    arms = table.scores - table.usd / usd_per_correct_answer  # utility, (n, m)
    best = int(arms.mean(axis=0).argmax())
    columns = np.column_stack([new, old, plain, new - old, new - plain, new[:, 2] - arms[:, best]])
    drawn = bootstrap_means(columns, n_replicates=N_REPLICATES, seed=0, groups=table.prompts)
    found = [interval(float(columns[:, at].mean()), drawn[:, at]) for at in range(columns.shape[1])]
    by_three = [dict(zip(MEASURES, found[at : at + 3], strict=True)) for at in range(0, 15, 3)]
    hull = gain_at_equal_cost(
        new[:, 0], new[:, 1], arm_scores=table.scores, arm_usd=table.usd, groups=table.prompts, seed=0
    )
    return Verdict(
        learned=Served(by_three[0], _shares(learned)),
        logging=Served(by_three[1], _shares(logging)),
        rules=Served(by_three[2], _shares(rules)),
        gains=by_three[3],
        over_rules=by_three[4],
        best_arm=table.arm_names[best],
        best_arm_measures={
            "quality": float(table.scores[:, best].mean()),
            "usd": float(table.usd[:, best].mean()),
            "utility": float(arms[:, best].mean()),
        },
        over_best_arm=found[15],
        over_hull=hull.gain,
        oracle=float(arms.max(axis=1).mean()),
    )


def foretold(evaluation: Mapping[str, Any], verdict: Verdict) -> OffPolicy:
    """The only policy of `gearshift evaluate --json` beside what it did live."""
    (found,) = evaluation["policies"].values()
    support, p_value = found["support"], evaluation["log"]["sample_ratio"]["p_value"]
    if found["refused"]:
        return OffPolicy(support["n_rounds"], support["effective"], {}, {}, p_value, found["refused"])
    live, gained = verdict.learned.measures, verdict.gains
    return OffPolicy(
        n_rounds=support["n_rounds"],
        effective=support["effective"],
        values={name: _beside(found["estimates"][name]["dr"], live[name].value) for name in MEASURES},
        gains={name: _beside(found["differences"][name], gained[name].value) for name in MEASURES},
        sample_ratio_p=p_value,
    )


def _beside(estimate: Mapping[str, float], live: float) -> Foretold:
    value, low, high = (float(estimate[name]) for name in ("value", "low", "high"))
    return Foretold(value, low, high, live, low <= live <= high)


def _measured(rows: Rows, usd_per_correct_answer: float) -> Reals:
    score, usd = (np.array([row[name] for row in rows], dtype=np.float64) for name in ("score", "usd"))
    return np.stack([score, usd, score - usd / usd_per_correct_answer], axis=1)


def _shares(rows: Rows) -> dict[str, float]:
    names, counts = np.unique([row["arm"] for row in rows], return_counts=True)
    shares = {str(name): float(count) / len(rows) for name, count in zip(names, counts, strict=True)}
    return dict(sorted(shares.items(), key=lambda each: -each[1]))
