"""The whole way of ``gearshift savings``: read the log, hold what was paid beside what the baseline would have cost."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from training.ope.draws import ALARM
from training.ope.evaluate import Options, evaluate
from training.ope.groups import Difference
from training.ope.log import LoggedRounds, Progress, Tally, open_rounds
from training.ope.missing import Missing
from training.ope.rounds import EvaluationError
from training.ope.tables import gathered, read_tables
from training.savings.baseline import Baseline, read_baseline
from training.savings.estimate import Own, Saved, by_day, by_label, by_tenant, saved
from training.savings.paid import COLUMNS, Paid, dearest, pay
from training.savings.rounds import SavedRounds, saved_rounds

if TYPE_CHECKING:
    import pyarrow as pa

DEAREST = "dearest"
By = Literal["tenant", "day"]


@dataclass(frozen=True, slots=True)
class SavingsTask:
    """Savings on which log, against what.

    Attributes:
        log: A gateway's data directory.
        baseline: An arm, shares of arms, or ``dearest``.
        metric: As for ``open_rounds``.
        since / until: Only requests that began in these POSIX times.
        own_usd: What the router cost beside what the log knows.
    """

    log: Path
    baseline: str
    metric: str | None = None
    since: float | None = None
    until: float = np.inf
    by: By | None = None
    own_usd: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Savings:
    """What a log says of the savings.

    Attributes:
        log: Rows, rounds, exclusions, newest row and the sample-ratio test.
        whole / groups: USD, of all rounds and of each tenant or day.
        quality: Quality of the router less the baseline's on the rounds that were judged; None where unknown.
        quality_refused: Why it is unknown.
        paid: What was paid for all requests of the log, by kind, exactly.
        rounds: What the estimates are made of, for pictures.
    """

    baseline: Baseline
    log: dict[str, Any]
    whole: Saved
    groups: dict[str, Saved]
    quality: Difference | None
    quality_refused: str | None
    judged: int
    paid: Paid
    rounds: SavedRounds = field(repr=False)

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "baseline": {"name": self.baseline.name, "shares": dict(self.baseline.shares)},
            "log": self.log,
            **asdict(self.whole),
            "quality_difference": None if self.quality is None else asdict(self.quality),
            "quality_refused": self.quality_refused,
            "judged_rounds": self.judged,
            "groups": {name: asdict(each) for name, each in self.groups.items()},
            "paid": {
                "by_kind": {kind: asdict(each) for kind, each in self.paid.by_kind.items()},
                "unanswered": asdict(self.paid.unanswered),
                "cascade_steps": asdict(self.paid.steps),
            },
        }


def run(task: SavingsTask, *, progress: Progress | None = None) -> Savings:
    """Estimate.

    Raises:
        EvaluationError: The log cannot be used, or the baseline is none of its arms.
    """
    log = open_rounds(
        task.log, metric=task.metric, since=task.since, until=task.until, missing=Missing("impute"), steps=False
    )
    baseline = _baseline(task, log)
    paid = pay(_tables(log, COLUMNS), baseline)
    tally = Tally()
    rounds = saved_rounds(log, baseline, tally, progress=progress)
    own = Own(paid.steps_of, task.own_usd)
    whole = saved(rounds, baseline.name, own_usd=own.usd(), predicted=paid.predicted, seed=task.seed)
    groups = {}
    if task.by is not None:
        label = by_tenant if task.by == "tenant" else by_day
        groups = by_label(rounds, label, baseline.name, own=own, predicted=paid.predicted, seed=task.seed)
    quality, refused, judged = _quality(replace(log, missing=Missing()), baseline, seed=task.seed, progress=progress)
    about = {
        "n_rows": tally.n_rows,
        "n_rounds": len(rounds),
        "reached_rounds": int(rounds.reached.sum()),
        "excluded": dict(tally.excluded),
        "newest_at": tally.newest_at,
        "sample_ratio": {"p_value": rounds.p_value, "mismatch": rounds.p_value < ALARM},
    }
    return Savings(baseline, about, whole, groups, quality, refused, judged, paid, rounds)


def _baseline(task: SavingsTask, log: LoggedRounds) -> Baseline:
    name = task.baseline
    if name == DEAREST:
        found = dearest(_tables(log, ("kind", "arm", "outcome_nano_usd")))
        if found is None:
            raise EvaluationError(f"{task.log}: no arm of the log has a known cost, so none is the dearest; name one")
        name = found
    return read_baseline(name, log.arms)


def _tables(log: LoggedRounds, columns: tuple[str, ...]) -> "Iterator[pa.Table]":
    until = log.until if log.until < np.inf else None
    yield from gathered(read_tables(log.folder, since=log.since, until=until, columns=columns, only=log.files))


def _quality(
    log: LoggedRounds, baseline: Baseline, *, seed: int, progress: Progress | None
) -> tuple[Difference | None, str | None, int]:
    """The router's less the baseline's where answers were judged, or why it is not known; and on how many rounds."""
    try:
        found = evaluate(log, [baseline], Options(seed=seed), progress=progress)
    except EvaluationError as problem:
        return None, str(problem), 0
    verdict, judged = found.policies[baseline.name], int(found.log["n_rounds"])
    if verdict.refused is not None:
        return None, verdict.refused, judged
    gain = verdict.differences["quality"]  # of the baseline over the router
    return Difference(-gain.value, -gain.high, -gain.low), None, judged
