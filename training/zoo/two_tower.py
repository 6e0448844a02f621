"""Fits ``two_tower``: the arm's vector is its descriptor's plus its own, and its own is dropped now and then.

With the own part dropped the descriptor must stand for the arm alone (as DropoutNet does for cold start; Volkovs et
al., 2017), which is what an arm never seen has. Its general strength by descriptor is a ridge over the trained arms,
with the error for an arm left out as its doubt. Left out: a deep arm tower; a pool has too few arms to fit one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.descriptors import ArmDescriptor, describe
from policies.zoo.sigmoid import sigmoid
from policies.zoo.two_tower import TwoTowerModel
from training.zoo.adam import AdamSettings, Rows, Weights, kept_units, walk
from training.zoo.descriptors import fit_arm_features, fit_strength_prior
from training.zoo.likelihood import held_out_mask, log_loss, mean_log_odds, observed, unit_basis
from training.zoo.task import FitTask, Learned

Reals = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TowerSettings:
    """What a fit depends on besides its data.

    Attributes:
        width: Length of the vectors.
        arm_dropout: Share of steps in which an arm's own part is left out.
        query_dropout: Share of the query's vector left out in a step.
        held_out: Share of the rows that says when to stop.
    """

    width: int = 128
    n_components: int = 64
    arm_dropout: float = 0.3
    query_dropout: float = 0.3
    held_out: float = 0.15
    adam: AdamSettings = field(default_factory=lambda: AdamSettings(n_epochs=80))
    seed: int = 0


def fit(task: FitTask) -> Learned:
    """Fit ``two_tower`` with what names and prices tell of the arms."""
    return fit_towers(task, [describe(arm, price) for arm, price in zip(task.arms, task.prices, strict=True)])


def fit_towers(
    task: FitTask,
    descriptors: Sequence[ArmDescriptor],
    *,
    texts: Reals | None = None,
    settings: TowerSettings | None = None,
) -> Learned:
    """Fit with given descriptors; ``texts`` are their embedded texts, shape (m, dim), rows of NaN where none."""
    chosen = settings or TowerSettings(seed=task.seed)
    basis, features = unit_basis(task.inputs, n_dims=chosen.n_components), fit_arm_features(descriptors, texts)
    z, phi = basis(task.inputs.embeddings, task.inputs.lexical), features(descriptors, texts)
    weights, epochs = _descend(z, task.inputs.scores, phi, chosen)
    prior = fit_strength_prior(phi, weights["strength"])
    model = TwoTowerModel(
        basis=basis,
        features=features,
        query=weights["query"],
        query_offset=weights["query_offset"],
        difficulty=weights["difficulty"][:, 0],
        arm=phi @ weights["tower"] + weights["own"],
        strength=weights["strength"],
        tower=weights["tower"],
        strength_weights=prior.weights,
        strength_prior=np.array([prior.intercept, prior.sd]),
    )
    return Learned(
        TwoTowerModel.from_tensors(model.tensors()),
        {"width": chosen.width, "epochs": epochs, "strength_prior_sd": prior.sd},
    )


def _descend(z: Reals, scores: Reals, phi: Reals, settings: TowerSettings) -> tuple[Weights, int]:
    out = held_out_mask(len(z), share=settings.held_out, seed=settings.seed)
    narrow, values, known = (each.astype(np.float32) for each in (z, *observed(scores)))  # as the steps are
    traits = phi.astype(np.float32)
    drops = np.random.default_rng([settings.seed, 1])

    def gradient(at: Weights, rows: Rows) -> Weights:
        kept = kept_units(drops, len(rows), settings.width, dropout=settings.query_dropout)
        own = (drops.random((scores.shape[1], 1)) >= settings.arm_dropout).astype(np.float32)
        return tower_gradient(at, narrow[rows], values[rows], known[rows], phi=traits, kept=kept, own=own)

    found, _, epochs = walk(
        _start(z.shape[1], scores[~out], phi, settings),
        np.flatnonzero(~out),
        gradient=gradient,
        judge=lambda at: log_loss(_quality(at, narrow[out], traits), scores[out]),
        settings=settings.adam,
        seed=settings.seed,
    )
    return found, epochs


def tower_gradient(
    at: Weights,
    z: NDArray[Any],
    values: NDArray[Any],
    known: NDArray[Any],
    *,
    phi: NDArray[Any],
    kept: NDArray[Any],
    own: NDArray[Any],
) -> Weights:
    """Of the cross-entropy per row, summed over arms; ``kept`` scales the query's vector, ``own`` (m, 1) each arm's."""
    hidden = np.tanh(z @ at["query"] + at["query_offset"])
    shown, arm = hidden * kept, phi @ at["tower"] + own * at["own"]
    logits = shown @ arm.T + at["strength"] - z @ at["difficulty"]
    pull = known * (sigmoid(logits) - values) / len(z)
    by_arm = pull.T @ shown  # (m, k)
    back = (pull @ arm) * kept * (1.0 - hidden**2)
    return {
        "query": z.T @ back,
        "query_offset": back.sum(axis=0),
        "difficulty": -(z.T @ pull.sum(axis=1, keepdims=True)),
        "own": own * by_arm,
        "tower": phi.T @ by_arm,
        "strength": pull.sum(axis=0),
    }


def _quality(at: Weights, z: NDArray[Any], phi: NDArray[Any]) -> Reals:
    hidden = np.tanh(z @ at["query"] + at["query_offset"])
    arm = phi @ at["tower"] + at["own"]
    return sigmoid(hidden @ arm.T + at["strength"] - z @ at["difficulty"])


def _start(n_inputs: int, scores: Reals, phi: Reals, settings: TowerSettings) -> Weights:
    rng, m = np.random.default_rng(settings.seed), scores.shape[1]
    return {
        "query": rng.normal(scale=(1.0 / n_inputs) ** 0.5, size=(n_inputs, settings.width)),
        "query_offset": np.zeros(settings.width),
        "difficulty": np.zeros((n_inputs, 1)),
        "own": rng.normal(scale=0.1 / settings.width**0.5, size=(m, settings.width)),
        "tower": np.zeros((phi.shape[1], settings.width)),
        "strength": mean_log_odds(scores),
    }
