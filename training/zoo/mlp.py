"""Fits ``mlp``: a hidden layer with dropout, stopped early, averaged over seeds by putting the nets side by side.

The mean of the nets' logits is the logit of one wider net, so three seeds serve at the cost of one product.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.zoo.mlp import NetModel
from policies.zoo.sigmoid import sigmoid
from training.zoo.adam import AdamSettings, Rows, Weights, kept_units, walk
from training.zoo.likelihood import held_out_mask, log_loss, mean_log_odds, observed, unit_basis
from training.zoo.task import FitTask, Learned

Reals = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class NetSettings:
    """What a fit depends on besides its data.

    Attributes:
        width: Hidden units of each net.
        n_nets: Nets, each with its own start and its own held-out rows.
        dropout: Share of hidden units left out in a step.
        held_out: Share of the rows that says when to stop.
    """

    width: int = 128
    n_nets: int = 3
    n_components: int = 96
    dropout: float = 0.5
    held_out: float = 0.15
    adam: AdamSettings = field(default_factory=lambda: AdamSettings(n_epochs=60))
    seed: int = 0


def fit(task: FitTask) -> Learned:
    """Fit ``mlp``: nets from several seeds, as one."""
    return fit_with(task, NetSettings(seed=task.seed))


def fit_with(task: FitTask, settings: NetSettings) -> Learned:
    """The same with settings of one's own."""
    basis = unit_basis(task.inputs, n_dims=settings.n_components)
    z = basis(task.inputs.embeddings, task.inputs.lexical)
    weights, epochs = fit_nets(z, task.inputs.scores, settings)
    model = NetModel(basis, weights["hidden"], weights["hidden_offset"], weights["out"], weights["out_offset"])
    return Learned(NetModel.from_tensors(model.tensors()), {"width": weights["hidden"].shape[1], "epochs": epochs})


def fit_nets(z: Reals, scores: Reals, settings: NetSettings) -> tuple[Weights, list[int]]:
    """One net as wide as all of them together, and the epochs each took; NaN scores are gaps."""
    fits = [_fit_one(z, scores, replace(settings, seed=settings.seed * 1009 + net)) for net in range(settings.n_nets)]
    nets = [net for net, _ in fits]
    folded = {
        "hidden": np.hstack([net["hidden"] for net in nets]),
        "hidden_offset": np.concatenate([net["hidden_offset"] for net in nets]),
        "out": np.vstack([net["out"] for net in nets]) / len(nets),
        "out_offset": np.mean([net["out_offset"] for net in nets], axis=0),
    }
    return folded, [epochs for _, epochs in fits]


def quality(weights: Weights, z: NDArray[Any]) -> Reals:
    """Shape (n, m), without dropout."""
    active = np.maximum(z @ weights["hidden"] + weights["hidden_offset"], 0.0)
    return sigmoid(active @ weights["out"] + weights["out_offset"])


def _fit_one(z: Reals, scores: Reals, settings: NetSettings) -> tuple[Weights, int]:
    out = held_out_mask(len(z), share=settings.held_out, seed=settings.seed)
    narrow, values, known = (each.astype(np.float32) for each in (z, *observed(scores)))  # as the steps are
    drops = np.random.default_rng([settings.seed, 1])

    def gradient(at: Weights, rows: Rows) -> Weights:
        kept = kept_units(drops, len(rows), settings.width, dropout=settings.dropout)
        return net_gradient(at, narrow[rows], values[rows], known[rows], kept=kept)

    found, _, epochs = walk(
        _start(z.shape[1], scores[~out], settings),
        np.flatnonzero(~out),
        gradient=gradient,
        judge=lambda at: log_loss(quality(at, narrow[out]), scores[out]),
        settings=settings.adam,
        seed=settings.seed,
    )
    return found, epochs


def net_gradient(
    at: Weights, z: NDArray[Any], values: NDArray[Any], known: NDArray[Any], *, kept: NDArray[Any]
) -> Weights:
    """Of the cross-entropy per row, summed over arms; ``kept`` scales each hidden unit, 0 drops it."""
    active = np.maximum(z @ at["hidden"] + at["hidden_offset"], 0.0) * kept
    pull = known * (sigmoid(active @ at["out"] + at["out_offset"]) - values) / len(z)
    back = (pull @ at["out"].T) * kept * (active > 0.0)
    return {
        "hidden": z.T @ back,
        "hidden_offset": back.sum(axis=0),
        "out": active.T @ pull,
        "out_offset": pull.sum(axis=0),
    }


def _start(n_inputs: int, scores: Reals, settings: NetSettings) -> Weights:
    rng = np.random.default_rng(settings.seed)
    return {
        "hidden": rng.normal(scale=(1.0 / n_inputs) ** 0.5, size=(n_inputs, settings.width)),
        "hidden_offset": np.zeros(settings.width),
        "out": rng.normal(scale=0.1 / settings.width**0.5, size=(settings.width, scores.shape[1])),
        "out_offset": mean_log_odds(scores),
    }
