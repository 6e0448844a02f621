"""Fits ``mf``: RouteLLM's matrix factorisation (arXiv 2406.18665) on outcomes instead of preferences.

An arm is right with probability σ(v_m · Ux + c_m): its vector against the projected query. Departures: the query is the
embedding's principal components beside lexical features, an outcome of one arm replaces a comparison of two, the
weight of the bilinear score is folded into v, and ridge on both factors (so on the product's trace norm; Srebro et
al., 2005) replaces early stopping. Left out: noise on the embedding.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.zoo.mf import FactorModel
from policies.zoo.sigmoid import sigmoid
from training.zoo.likelihood import (
    choose_strongest,
    held_out_mask,
    log_loss,
    mean_log_odds,
    minimise,
    observed,
    unit_basis,
)
from training.zoo.task import FitTask, Learned

Reals = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FactorSettings:
    """What a fit depends on besides its data.

    Attributes:
        rank: Length of an arm's vector.
        n_components: Principal components of the embedding.
        penalties: Candidates for the ridge on each factor, in nats over all rows.
        held_out: Share of the rows that picks among them.
        n_steps: Most steps of the minimiser.
    """

    rank: int = 16
    n_components: int = 64
    penalties: tuple[float, ...] = (3.0, 10.0, 30.0, 80.0, 150.0, 300.0)
    held_out: float = 0.2
    n_steps: int = 60
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Factors:
    """U (d, r), V (m, r) and c (m,): the logit of arm m is V_m · Uᵀz + c_m."""

    query: Reals
    arm: Reals
    offset: Reals

    def flat(self) -> Reals:
        """All numbers in one vector."""
        return np.concatenate([self.query.ravel(), self.arm.ravel(), self.offset])

    def like(self, flat: Reals) -> "Factors":
        """The inverse of ``flat``, with these shapes."""
        a, b = self.query.size, self.query.size + self.arm.size
        return Factors(flat[:a].reshape(self.query.shape), flat[a:b].reshape(self.arm.shape), flat[b:])

    def quality(self, z: Reals) -> Reals:
        """Shape (n, m)."""
        return sigmoid(z @ self.query @ self.arm.T + self.offset)


def fit(task: FitTask) -> Learned:
    """Fit ``mf``: the penalty on held-out rows, then all rows."""
    settings = FactorSettings(seed=task.seed)
    basis = unit_basis(task.inputs, n_dims=settings.n_components)
    z = basis(task.inputs.embeddings, task.inputs.lexical)
    factors, penalty = fit_factors(z, task.inputs.scores, settings)
    model = FactorModel(basis, factors.query, factors.arm, factors.offset)
    return Learned(FactorModel.from_tensors(model.tensors()), {"penalty": penalty, "rank": settings.rank})


def fit_factors(z: Reals, scores: Reals, settings: FactorSettings) -> tuple[Factors, float]:
    """Choose the penalty on held-out rows, then fit on all of them from there."""
    out = held_out_mask(len(z), share=settings.held_out, seed=settings.seed)
    factors, losses, paths = _start(z.shape[1], scores, settings), [], []
    for penalty in sorted(settings.penalties, reverse=True):  # from the strongest on, each from the last one's end
        factors = descend(factors, z[~out], scores[~out], penalty=penalty, n_steps=settings.n_steps)
        losses.append(log_loss(factors.quality(z[out]), scores[out]))
        paths.append(factors)
    ordered = sorted(settings.penalties, reverse=True)
    chosen = choose_strongest(losses, ordered)
    start = paths[ordered.index(chosen)]
    return descend(start, z, scores, penalty=chosen / (1.0 - settings.held_out), n_steps=settings.n_steps), chosen


def descend(start: Factors, z: Reals, scores: Reals, *, penalty: float, n_steps: int) -> Factors:
    """Minimise cross-entropy + penalty/2 · (‖U‖² + ‖V‖²) from ``start``; the offsets are free."""
    values, known = observed(scores)

    def objective(flat: Reals) -> tuple[float, Reals]:
        at = start.like(flat)
        projected = z @ at.query
        logits = projected @ at.arm.T + at.offset
        loss = float((known * (np.logaddexp(0.0, logits) - values * logits)).sum())
        pull = known * (sigmoid(logits) - values)
        ridge = 0.5 * penalty * float((at.query**2).sum() + (at.arm**2).sum())
        gradient = Factors(
            query=z.T @ (pull @ at.arm) + penalty * at.query,
            arm=pull.T @ projected + penalty * at.arm,
            offset=pull.sum(axis=0),
        )
        return (loss + ridge) / len(z), gradient.flat() / len(z)

    return start.like(minimise(objective, start.flat(), n_steps=n_steps))


def _start(n_inputs: int, scores: Reals, settings: FactorSettings) -> Factors:
    rng = np.random.default_rng(settings.seed)
    return Factors(
        query=rng.normal(scale=0.1 / n_inputs**0.5, size=(n_inputs, settings.rank)),
        arm=rng.normal(scale=0.3, size=(scores.shape[1], settings.rank)),
        offset=mean_log_odds(scores),
    )
