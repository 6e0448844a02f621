"""What a target policy would have earned among the rounds of each tenant or cluster."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.ope.facts import MEASURES, Facts
from training.ope.rounds import Reals
from training.ope.support import Support, SupportError

_Z = 1.959963984540054  # of a 95 % normal interval


@dataclass(frozen=True, slots=True)
class Difference:
    """Target less logging policy on the same rounds, doubly robust."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Group:
    """A tenant or cluster: DR estimates with normal intervals, or why there are none."""

    support: Support
    estimates: dict[str, Difference] = field(default_factory=dict)
    refused: str | None = None


def groups_of(facts: Facts, name: str, group: NDArray[Any], labels: Sequence[str], *, clip: float) -> dict[str, Group]:
    """Of every group that holds a round, in the order of their labels; nothing where there is but one.

    Args:
        group: Place of each round's group in ``labels``, shape (n,).
    """
    order = np.argsort(group, kind="stable")
    edges = np.searchsorted(group[order], np.arange(len(labels) + 1))
    members = {label: order[edges[i] : edges[i + 1]] for i, label in sorted(enumerate(labels), key=lambda x: x[1])}
    members = {label: rows for label, rows in members.items() if len(rows)}
    if len(members) < 2:
        return {}
    weights = facts.seen[name].weights
    found = {
        label: _group(weights.rows(rows).support(clip=clip), f"{name}, {label}") for label, rows in members.items()
    }
    for measure, called in enumerate(MEASURES):
        terms = facts.terms(name, measure, clip=clip)
        values = terms.doubly_robust
        for label, rows in members.items():
            if found[label].refused is None and is_known(terms.outcome[rows]):
                found[label].estimates[called] = normal_interval(values[rows])
    return found


def _group(support: Support, called: str) -> Group:
    try:
        support.check(called)
    except SupportError as refusal:
        return Group(support, refused=str(refusal))
    return Group(support)


def is_known(outcome: Reals) -> bool:
    """Whether every round has it."""
    return not bool(np.isnan(outcome).any())


def normal_interval(values: Reals) -> Difference:
    """Mean and 95 % normal interval of one number per round."""
    mean, error = float(values.mean()), float(values.std(ddof=1)) / len(values) ** 0.5 if len(values) > 1 else np.inf
    return Difference(mean, mean - _Z * error, mean + _Z * error)
