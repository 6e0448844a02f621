"""What of the teacher serves as it is: its smooth members, carried over to the inputs and units of what serves.

A student that has to learn a blend from some thousand queries misses some of it on every new one. What topics, logistic
regression, item responses and small nets say is a product and a squashing away from what serves anyway; so they are
taken over, and the student learns the rest. The fits of the folds, whose mean the teacher takes, are averaged in their
log-odds (those of ``mlp`` stand side by side). Beside that mean this is near enough where there are some hundred rows
and ten of a topic in every fold; what it misses where there are fewer, nobody learns.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from policies.zoo.basis import Basis
from policies.zoo.irt import ResponseModel
from policies.zoo.landmark_basis import LandmarkBasis
from policies.zoo.logistic import LogisticModel
from policies.zoo.mlp import NetModel
from policies.zoo.topics import TopicModel
from training.inputs import Reals
from training.prior.members import TOPICS, Member

_LEAST_WEIGHT = 0.02  # of a member in the blend: one with less costs more time than it tells


@dataclass(frozen=True, slots=True)
class Heads:
    """Units and heads of a `LandmarkBasis`, and what the heads say.

    Attributes:
        hidden / hidden_offset: Of u units, shapes (z, u) and (u,).
        weights / offset: Log-odds of g heads, linear in z and the units, shapes (z + u, g) and (g,).
        n_topics: How many of them, the first ones, are chances of topics.
        says: Blend = heads @ says + a constant + the rest, shape (g, m).
    """

    hidden: Reals
    hidden_offset: Reals
    weights: Reals
    offset: Reals
    n_topics: int
    says: Reals


@dataclass(frozen=True, slots=True)
class _Bank:
    """Heads of one member: of z (z, g), of its own units (u, g), offset (g,), and what they say of quality (g, m)."""

    of_inputs: Reals
    of_units: Reals
    offset: Reals
    says: Reals
    hidden: Reals
    hidden_offset: Reals


def served_as_they_are(names: Sequence[str], weights: Reals) -> tuple[str, ...]:
    """Members that become heads: those that can and weigh 2 % at least, in the order of the heads, topics first."""
    weight = dict(zip(names, weights, strict=True))
    return tuple(name for name in _BANKS if weight.get(name, 0.0) >= _LEAST_WEIGHT)


def heads_for(basis: LandmarkBasis, members: Sequence[tuple[str, float, Sequence[Member]]]) -> Heads:
    """Heads on the inputs of ``basis``.

    Args:
        members: Name, weight in the blend and the fits of the folds, one at least, in the order of
            ``served_as_they_are``.
    """
    from scipy.linalg import block_diag

    banks = [_BANKS[name](basis, fits) for name, _, fits in members]
    weights = [weight for _, weight, _ in members]
    return Heads(
        hidden=np.hstack([bank.hidden for bank in banks]),
        hidden_offset=np.concatenate([bank.hidden_offset for bank in banks]),
        weights=np.vstack(
            [np.hstack([bank.of_inputs for bank in banks]), block_diag(*(bank.of_units for bank in banks))]
        ),
        offset=np.concatenate([bank.offset for bank in banks]),
        n_topics=len(banks[0].offset) if members[0][0] == TOPICS else 0,
        says=np.vstack([weight * bank.says for weight, bank in zip(weights, banks, strict=True)]),
    )


def _topics(basis: LandmarkBasis, fits: Sequence[Member]) -> _Bank:
    """A fold may lack a rare topic: it then has no say in that topic's log-odds and means."""
    names = sorted({label for fit in fits for label in fit.labels})
    z, m = basis.n_inputs, cast(TopicModel, fits[0].model).n_arms
    rows, means, seen = np.zeros((z + 1, len(names))), np.zeros((len(names), m)), np.zeros(len(names))
    everywhere = [name for name in names if all(name in fit.labels for fit in fits)]
    for fit in fits:
        model = cast(TopicModel, fit.model)
        weights, offset = carried(model.basis, basis, model.weights, model.intercepts)
        own = np.vstack([weights, offset])
        # Log-odds are up to a constant per query: the folds agree on it by the topics that all of them know.
        own -= own[:, np.isin(fit.labels, everywhere)].mean(axis=1, keepdims=True) if everywhere else 0.0
        at = np.searchsorted(names, fit.labels)
        rows[:, at] += own
        means[at] += model.means
        seen[at] += 1.0
    rows /= seen
    means /= seen[:, None]
    return _bank(rows[:-1], rows[-1], means)


def _logistic(basis: LandmarkBasis, fits: Sequence[Member]) -> _Bank:
    models = [cast(LogisticModel, fit.model) for fit in fits]
    each = [carried(model.basis, basis, model.weights, model.intercepts) for model in models]
    return _bank(*_mean(each), np.eye(models[0].n_arms))


def _irt(basis: LandmarkBasis, fits: Sequence[Member]) -> _Bank:
    each, models = [], [cast(ResponseModel, fit.model) for fit in fits]
    for model in models:
        slopes = model.demand @ model.ability[:, 1:].T - model.difficulty[:, None]
        each.append(carried(model.basis, basis, slopes, model.ability[:, 0]))
    # What guessing gets is a constant, which the means of what serves have anyway.
    return _bank(*_mean(each), np.diag(1.0 - np.mean([model.floor for model in models], axis=0)))


def _mlp(basis: LandmarkBasis, fits: Sequence[Member]) -> _Bank:
    """The units of all folds side by side, as ``mlp`` has those of several seeds."""
    models = [cast(NetModel, fit.model) for fit in fits]
    hidden, offsets = zip(
        *(carried(model.basis, basis, model.hidden, model.hidden_offset) for model in models), strict=True
    )
    m = models[0].n_arms
    return _Bank(
        of_inputs=np.zeros((basis.n_inputs, m)),
        of_units=np.vstack([model.out for model in models]) / len(models),
        offset=np.mean([model.out_offset for model in models], axis=0),
        says=np.eye(m),
        hidden=np.hstack(hidden),
        hidden_offset=np.concatenate(offsets),
    )


_BANKS: dict[str, Callable[[LandmarkBasis, Sequence[Member]], _Bank]] = {
    TOPICS: _topics, "logistic": _logistic, "irt": _irt, "mlp": _mlp,
}  # fmt: skip


def carried(own: Basis, basis: LandmarkBasis, weights: Reals, offset: Reals) -> tuple[Reals, Reals]:
    """A line on ``own`` as a line on the inputs z of ``basis``: weights (z, g) and offset (g,).

    The same up to what the directions of ``basis`` leave out of ``own``'s, and to where lexical features are clipped.
    """
    k, scale = own.projection.shape[1], float(basis.numbers[2])
    lexical = weights[k:] * own.lexical_weight
    moved = np.vstack(
        [
            basis.projection.T @ (own.projection @ weights[:k]) / scale,
            lexical * (basis.lexical_sd / own.lexical_sd)[:, None],
        ]
    )
    shift = (basis.centre - own.centre) @ own.projection @ weights[:k]
    shift = shift + ((basis.lexical_mean - own.lexical_mean) / own.lexical_sd) @ lexical
    return moved, offset + shift


def _bank(of_inputs: Reals, offset: Reals, says: Reals) -> _Bank:
    z, g = of_inputs.shape
    return _Bank(of_inputs, np.zeros((0, g)), offset, says, np.zeros((z, 0)), np.zeros(0))


def _mean(lines: Sequence[tuple[Reals, Reals]]) -> tuple[Reals, Reals]:
    return np.mean([weights for weights, _ in lines], axis=0), np.mean([offset for _, offset in lines], axis=0)
