"""Fits ``irt``: abilities of arms against demands and difficulty of queries, by penalised maximum likelihood.

p_m(x) = c + (1 − c) σ(θ_m · (1, Az) − β·z). Modes and efforts of one model are drawn around its ability, and a higher
effort's strength is pulled above a lower one's. As in IRT-Router (arXiv 2506.01048) demands and difficulty are
functions of the query's embedding. Left out: a free difficulty per item (a new query has none), a floor per arm (one
for all is chosen on held-out rows).
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from policies.zoo.irt import ResponseModel
from policies.zoo.sigmoid import EDGE, sigmoid
from training.zoo.kinship import STRENGTH_SD, Kinship, kinship
from training.zoo.likelihood import held_out_mask, log_loss, mean_log_odds, minimise, observed, unit_basis
from training.zoo.task import FitTask, Learned

Reals = NDArray[np.float64]

ORDER_SD = 0.1  # logits by which a higher effort may stay below a lower one before the prior objects


@dataclass(frozen=True, slots=True)
class ResponseSettings:
    """What a fit depends on besides its data.

    Attributes:
        n_abilities: Abilities besides the general strength.
        penalties: Candidates for the ridge on A, in nats over all rows; β has ``difficulty_share`` of it.
        floors: Candidates for what guessing gets.
        held_out: Share of the rows that picks among them.
        n_steps: Most steps of the minimiser.
    """

    n_abilities: int = 8
    n_components: int = 64
    penalties: tuple[float, ...] = (25.0, 100.0, 400.0, 1500.0, 5000.0)
    difficulty_share: float = 0.3
    floors: tuple[float, ...] = (0.0, 0.1)
    held_out: float = 0.2
    n_steps: int = 40
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Responses:
    """A (d, k), β (d,), effects (g, 1 + k) of which ``kin.members`` makes θ, and their common mean strength (1,)."""

    demand: Reals
    difficulty: Reals
    effects: Reals
    mean: Reals
    kin: Kinship
    floor: float

    def flat(self) -> Reals:
        """All free numbers in one vector."""
        return np.concatenate([self.demand.ravel(), self.difficulty, self.effects.ravel(), self.mean])

    def like(self, flat: Reals) -> "Responses":
        """The inverse of ``flat``, with these shapes."""
        a, b = self.demand.size, self.demand.size + self.difficulty.size
        return replace(
            self,
            demand=flat[:a].reshape(self.demand.shape),
            difficulty=flat[a:b],
            effects=flat[b:-1].reshape(self.effects.shape),
            mean=flat[-1:],
        )

    @property
    def ability(self) -> Reals:
        """θ, shape (m, 1 + k)."""
        ability: Reals = self.kin.members @ self.effects
        ability[:, 0] += self.mean
        return ability

    def logits(self, z: Reals) -> Reals:
        """θ_m · (1, Az) − β·z, shape (n, m)."""
        ability = self.ability
        logits: Reals = (z @ self.demand) @ ability[:, 1:].T + ability[:, 0] - (z @ self.difficulty)[:, None]
        return logits

    def quality(self, z: Reals) -> Reals:
        """Shape (n, m)."""
        return self.floor + (1.0 - self.floor) * sigmoid(self.logits(z))


def fit(task: FitTask) -> Learned:
    """Fit ``irt``: penalty and guessing floor on held-out rows, then all rows; kin arms share strength."""
    settings = ResponseSettings(seed=task.seed)
    basis = unit_basis(task.inputs, n_dims=settings.n_components)
    z = basis(task.inputs.embeddings, task.inputs.lexical)
    fitted, penalty = fit_responses(z, task.inputs.scores, kin=kinship(task.arms), settings=settings)
    floor = np.full(len(task.arms), fitted.floor)
    model = ResponseModel(basis, fitted.demand, fitted.difficulty, fitted.ability, floor)
    return Learned(
        ResponseModel.from_tensors(model.tensors()),
        {"penalty": penalty, "floor": fitted.floor, "n_abilities": settings.n_abilities},
    )


def fit_responses(z: Reals, scores: Reals, *, kin: Kinship, settings: ResponseSettings) -> tuple[Responses, float]:
    """Choose penalty and floor on held-out rows, then fit on all of them from there; also the penalty chosen."""
    out = held_out_mask(len(z), share=settings.held_out, seed=settings.seed)
    best: tuple[float, float, Responses] | None = None
    for floor in settings.floors:
        at, least = _start(z.shape[1], scores, kin=kin, floor=floor, settings=settings), np.inf
        for penalty in sorted(settings.penalties, reverse=True):  # each from the stronger one's end
            at = descend(at, z[~out], scores[~out], penalty=penalty, settings=settings)
            loss = log_loss(at.quality(z[out]), scores[out])
            if best is None or loss < best[0]:
                best = loss, penalty, at
            if loss > least:
                break  # milder ones are worse still
            least = loss
    if best is None:
        raise ValueError("settings.floors or settings.penalties is empty; give at least one candidate of each")
    _, chosen, start = best
    return descend(start, z, scores, penalty=chosen / (1.0 - settings.held_out), settings=settings), chosen


def descend(start: Responses, z: Reals, scores: Reals, *, penalty: float, settings: ResponseSettings) -> Responses:
    """Minimise cross-entropy plus the priors from ``start``; the common mean strength is free."""
    values, known = observed(scores)

    def objective(flat: Reals) -> tuple[float, Reals]:
        at = start.like(flat)
        loss, pull = _cross_entropy(at.logits(z), values, known, floor=at.floor)
        prior, gradient = _prior(at, penalty=penalty, share=settings.difficulty_share)
        total = _gradient(at, z, pull)
        return (loss + prior) / len(z), (total.flat() + gradient.flat()) / len(z)

    return start.like(minimise(objective, start.flat(), n_steps=settings.n_steps))


def _cross_entropy(logits: Reals, values: Reals, known: Reals, *, floor: float) -> tuple[float, Reals]:
    """The loss summed over what is known, and its derivative by each logit."""
    if floor == 0.0:
        rest = np.exp(-np.abs(logits))
        loss = float((known * (np.maximum(logits, 0.0) + np.log1p(rest) - values * logits)).sum())
        return loss, known * (np.where(logits >= 0.0, 1.0, rest) / (1.0 + rest) - values)
    rise = sigmoid(logits)
    p = np.clip(floor + (1.0 - floor) * rise, EDGE, 1.0 - EDGE)
    loss = -float((known * (values * np.log(p) + (1.0 - values) * np.log1p(-p))).sum())
    return loss, known * (p - values) * rise / p


def _gradient(at: Responses, z: Reals, pull: Reals) -> Responses:
    """Derivative of the loss by every free number, given the one by each logit."""
    ability, asked = at.ability, z @ at.demand
    by_ability = np.hstack([pull.sum(axis=0)[:, None], pull.T @ asked])
    return replace(
        at,
        demand=z.T @ (pull @ ability[:, 1:]),
        difficulty=-(z.T @ pull.sum(axis=1)),
        effects=at.kin.members.T @ by_ability,
        mean=pull.sum(keepdims=True).ravel(),
    )


def _prior(at: Responses, *, penalty: float, share: float) -> tuple[float, Responses]:
    """Ridge on A and β, kinship on the effects, and the order of efforts; with the derivatives."""
    precision = np.repeat(at.kin.sd[:, None] ** -2.0, at.effects.shape[1], axis=1)
    precision[:, 0] /= STRENGTH_SD**2
    ridge = penalty * float((at.demand**2).sum()) + share * penalty * float((at.difficulty**2).sum())
    value = 0.5 * (ridge + float((precision * at.effects**2).sum()))
    by_strength, strength = np.zeros(len(at.kin.members)), at.ability[:, 0]
    for low, high in at.kin.ordered:
        excess = max(float(strength[low] - strength[high]), 0.0) / ORDER_SD**2
        value += 0.5 * excess**2 * ORDER_SD**2
        by_strength[low] += excess
        by_strength[high] -= excess
    by_effects = precision * at.effects
    by_effects[:, 0] += at.kin.members.T @ by_strength
    gradient = replace(
        at,
        demand=penalty * at.demand,
        difficulty=share * penalty * at.difficulty,
        effects=by_effects,
        mean=np.zeros(1),  # what one of a pair gains the other loses
    )
    return value, gradient


def _start(n_inputs: int, scores: Reals, *, kin: Kinship, floor: float, settings: ResponseSettings) -> Responses:
    rng, k, g = np.random.default_rng(settings.seed), settings.n_abilities, kin.members.shape[1]
    strength = mean_log_odds(scores)
    effects = rng.normal(scale=0.3, size=(g, 1 + k))
    effects[:, 0] = np.linalg.lstsq(kin.members, strength - strength.mean(), rcond=None)[0]
    return Responses(
        demand=rng.normal(scale=0.1 / n_inputs**0.5, size=(n_inputs, k)),
        difficulty=np.zeros(n_inputs),
        effects=effects,
        mean=np.array([strength.mean()]),
        kin=kin,
        floor=floor,
    )
