"""Savings of some rounds: what the baseline would have cost less what was paid, with its interval or why there is none.

Intervals are of what as many requests like these save: of the very requests of the log, whose own baseline cost varies
no more, they are on the safe side.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from training.ope.groups import Difference
from training.ope.intervals import Ratio, studentised
from training.ope.rounds import Reals
from training.ope.support import Support, SupportError
from training.savings.paid import Predicted
from training.savings.rounds import SavedRounds

Label = Callable[[Any, Reals], Any]  # of tenants and POSIX seconds, both (n,)


@dataclass(frozen=True, slots=True)
class Modelled:
    """A figure by predictions alone, with no interval: nothing in the log can say how wrong they are.

    Attributes:
        requests: With a drawn arm, a known cost and a prediction of it and of the baseline; where that could not have
            answered, nothing is saved.
        scale: What was paid over what had been predicted of the arms that were drawn; the baseline's are scaled by it.
        saved_usd: Predicted of the baseline, scaled, less paid.
    """

    requests: int
    scale: float
    saved_usd: float


@dataclass(frozen=True, slots=True)
class Saved:
    """Of some rounds, in USD.

    Attributes:
        paid_usd: For the answers, NaN where some cost is unknown; `own_usd` for the router's own work beside them.
        baseline_usd / saved_usd: Sums over the rounds; what is saved is net of `own_usd`.
        share: Of the baseline's cost that was saved.
        refused: Why neither is estimated.
    """

    rounds: int
    paid_usd: float
    own_usd: float
    support: Support
    baseline_usd: Difference | None = None
    saved_usd: Difference | None = None
    share: Difference | None = None
    refused: str | None = None
    modelled: Modelled | None = None


@dataclass(frozen=True, slots=True)
class Own:
    """What the router itself cost: USD with tenant and time of each, and a sum declared for the whole."""

    steps: Sequence[tuple[str, float, int]] = ()
    declared_usd: float = 0.0

    def usd(self) -> float:
        return sum(nano for _, _, nano in self.steps) / 1e9 + self.declared_usd


def saved(rounds: SavedRounds, name: str, *, own_usd: float, predicted: Predicted | None, seed: int = 0) -> Saved:
    """Estimate, or refuse where the log says too little of the baseline or a cost is unknown.

    Args:
        own_usd: Of the router's own work for these rounds.
        predicted: Of the same requests, for the figure by the model.
    """
    support = rounds.weights.rows(np.flatnonzero(rounds.reached)).support()
    found = Saved(
        len(rounds), float(rounds.paid.sum()), own_usd, support, modelled=modelled(predicted, own_usd=own_usd)
    )
    try:
        _check(rounds, support, name)
    except SupportError as refusal:
        return Saved(found.rounds, found.paid_usd, own_usd, support, refused=str(refusal), modelled=found.modelled)
    gains, n = rounds.baseline - rounds.paid - own_usd / len(rounds), len(rounds)
    bounds = studentised(np.stack([rounds.baseline, gains], axis=1), [Ratio(gains, rounds.baseline)], seed=seed)
    baseline, gained = (
        Difference(n * float(column.mean()), n * float(bounds.low[place]), n * float(bounds.high[place]))
        for place, column in enumerate((rounds.baseline, gains))
    )
    share = None
    if baseline.value > 0.0:
        share = Difference(gained.value / baseline.value, float(bounds.low[2]), float(bounds.high[2]))
    return Saved(n, found.paid_usd, own_usd, support, baseline, gained, share, modelled=found.modelled)


def _check(rounds: SavedRounds, support: Support, name: str) -> None:
    unknown = int(np.isnan(rounds.paid).sum())
    if unknown:
        raise SupportError(
            f"{unknown} of {len(rounds)} rounds have no known cost, and those without them are no fair sample; give "
            "every model a price, and look at what was logged since (--since)"
        )
    if not rounds.reached.any():
        raise SupportError(f"{name} was eligible in no round: there was nothing to choose")
    support.check(name)


def modelled(predicted: Predicted | None, *, own_usd: float) -> Modelled | None:
    """None where no decision row has both predictions."""
    if predicted is None:
        return None
    known = np.isfinite(predicted.baseline) & np.isfinite(predicted.taken)
    paid, foretold, would = (float(each[known].sum()) for each in (predicted.paid, predicted.taken, predicted.baseline))
    if foretold <= 0.0:
        return None
    scale = paid / foretold
    return Modelled(int(known.sum()), scale, scale * would - paid - own_usd)


def by_label(
    rounds: SavedRounds, label: Label, name: str, *, own: Own, predicted: Predicted | None, seed: int = 0
) -> dict[str, Saved]:
    """Likewise of every group, by its label; what was declared for the whole is shared by rounds."""
    labels = label(rounds.tenant, rounds.at)
    step_labels = [str(label(np.array([tenant]), np.array([at]))[0]) for tenant, at, _ in own.steps]
    found = {}
    for each in sorted(set(labels.tolist())):
        rows = np.flatnonzero(labels == each)
        steps = sum(nano for at, (_, _, nano) in zip(step_labels, own.steps, strict=True) if at == each) / 1e9
        mine = None
        if predicted is not None:
            mine = predicted.rows(label(predicted.tenant, predicted.at) == each)
        own_usd = steps + own.declared_usd * len(rows) / len(rounds)
        found[each] = saved(rounds.rows(rows), f"{name}, {each}", own_usd=own_usd, predicted=mine, seed=seed)
    return found


def by_tenant(tenant: Any, at: Reals) -> Any:
    """Labels of groups, shape (n,)."""
    return tenant


def by_day(tenant: Any, at: Reals) -> Any:
    """UTC days, shape (n,)."""
    return np.array([datetime.fromtimestamp(each, UTC).strftime("%Y-%m-%d") for each in at.tolist()], dtype=np.str_)
