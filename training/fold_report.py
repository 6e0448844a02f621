"""How good a policy of these settings is on folds it was not fitted on, next to baselines that learn nothing."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.context import Context
from policies.policy import Policy
from policies.tables import OutcomeTable
from policies.tradeoff import TradeOff
from training.linear import folds_of
from training.offline import contexts_of, play
from training.replay_report import Choice, ReplayReport, replay_report

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Fit = Callable[[Mask], Policy]


def held_out_report(
    table: OutcomeTable,
    embeddings: Floats,
    fit: Fit,
    *,
    usd_per_correct_answer: Sequence[float],
    n_folds: int = 5,
    seed: int = 0,
) -> ReplayReport:
    """Judge ``fit(mask)`` on the rows outside ``mask``, fold by fold, at each trade-off, beside the domain means.

    Everything a policy of a fold knows, its hyper-parameters included, comes from the other folds.
    """
    contexts = contexts_of(table, embeddings)
    routers: dict[str, list[Choice]] = {}
    folds = folds_of(len(table), n_folds, seed=seed + 1)  # not the folds that chose the hyper-parameters
    for fold in range(n_folds):
        policy, test = fit(folds != fold), folds == fold
        tested = [contexts[row] for row in np.flatnonzero(test)]
        for usd in usd_per_correct_answer:
            name = f"{policy.name} at {usd:.3g} USD/correct"
            routers.setdefault(name, []).extend(_played(policy, tested, table.rows(test), usd=usd, seed=seed))
            domain = f"domain means at {usd:.3g} USD/correct"
            routers.setdefault(domain, []).extend(domain_choices(table.rows(~test), table.rows(test), usd=usd))
    return replay_report(table, routers, seed=seed)


def _played(policy: Policy, contexts: list[Context], table: OutcomeTable, *, usd: float, seed: int) -> list[Choice]:
    return play(policy, contexts, table, trade_off=TradeOff(quality_per_usd=1.0 / usd), seed=seed)


def domain_choices(train: OutcomeTable, test: OutcomeTable, *, usd: float) -> list[Choice]:
    """The arm of highest mean utility in each query's domain: a router that is told the domain and nothing else.

    It reads the label that a gateway does not have, so it is a yardstick and no rival.
    """
    utility = train.scores - train.usd / usd
    overall, domains = utility.mean(axis=0), np.array(train.domains)
    best = {name: int(utility[domains == name].mean(axis=0).argmax()) for name in set(train.domains)}
    actions = [best.get(name, int(overall.argmax())) for name in test.domains]
    return [
        Choice(
            test.query_ids[row], test.arm_names[action], float(test.scores[row, action]), float(test.usd[row, action])
        )
        for row, action in enumerate(actions)
    ]


def natural_trade_offs(table: OutcomeTable) -> tuple[float, float]:
    """USD per correct answer at which the choice is hardest on this table, and twice that.

    The first is what the last edge of the hull of single arms asks for one more correct answer: a thriftier trade-off
    keeps to the cheap end of that edge whatever the query, a much more generous one to the dear end.
    """
    from training.hull import upper_hull

    usd, accuracy = upper_hull(table.usd.mean(axis=0), table.scores.mean(axis=0))
    if len(usd) < 2:
        return float(usd[0]) or 1e-6, 2.0 * float(usd[0]) or 2e-6
    edge = float((usd[-1] - usd[-2]) / (accuracy[-1] - accuracy[-2]))
    return edge, 2.0 * edge


def evaluation_of(report: ReplayReport) -> dict[str, Any]:
    """The report as an artifact keeps it."""
    return {"held_out": report.as_dict()}
