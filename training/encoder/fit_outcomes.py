"""Fine-tunes a fitted static encoder on outcomes, so that prompts lie close when the same arms answer them well.

Two ways. ``fit_on_outcomes`` goes on from a fitted encoder with a logistic head per arm on top of the embedding, by

    loss = 1 − cos(ours, teacher's) + similarity term + weight · Σ over arms of the cross-entropy of their scores

and stops when the heads' cross-entropy on prompts set aside stops falling. ``blended_teacher`` leaves the fit as it is
and gives it another target: the teacher's embedding beside out-of-fold predictions of each arm's quality; no prompt's
own outcome is in its target, so the training prompts do not come to lie closer to their outcomes than new ones will.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.encoder.bags import Bags, Floats, Integers, unit
from training.encoder.fit_static import Progress, checked_target, pooled, seen_only, teacher_loss
from training.encoder.weights import EncoderFitError, StaticWeights
from training.linear import folds_of, ridge_path
from training.threads import one_thread

Reals = NDArray[np.float64]
WHAT = "fine-tuning on outcomes"
_SHARPNESS = 8.0  # scale of the embedding as the heads see it: unit vectors of 384 numbers are too short for logits
_HEAD_RATE = 1e-2
_BLEND_FOLDS = 5
_BLEND_PENALTY = 10.0


@dataclass(frozen=True, slots=True)
class OutcomeSettings:
    """What the fine-tuning depends on besides its data.

    Attributes:
        outcome_weight: Of each arm's cross-entropy against the teacher's terms.
        aside: Share of the prompts that only decide when to stop.
    """

    epochs: int = 6
    batch: int = 128
    learning_rate: float = 1e-3
    token_dropout: float = 0.1
    outcome_weight: float = 1.0
    pairwise_weight: float = 1.0
    aside: float = 0.1
    seed: int = 0

    def as_dict(self) -> dict[str, Any]:
        """As JSON values, for a manifest."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class OutcomeFit:
    """The encoder of the best epoch.

    Attributes:
        aside_losses: Cross-entropy per arm and prompt on the prompts set aside, first before any step, then after each
            epoch.
    """

    weights: StaticWeights
    aside_losses: tuple[float, ...]


@one_thread("torch")
def fit_on_outcomes(
    bags: Bags,
    teacher: Floats,
    scores: Reals,
    begin: StaticWeights,
    settings: OutcomeSettings | None = None,
    *,
    progress: Progress = lambda what, done, of: None,
) -> OutcomeFit:
    """Fine-tune ``begin``, which ``fit_static`` gave for the same prompts; same arguments, same bytes.

    Args:
        teacher: Embeddings of the prompts, shape (n, begin's dim).
        scores: Of each arm on each prompt, 0 to 1, shape (n, m).

    Raises:
        EncoderFitError: The shapes do not belong together, or a score is outside 0..1.
    """
    settings = settings or OutcomeSettings()
    target = checked_target(bags, teacher)
    if len(scores) != len(bags) or not ((scores >= 0.0) & (scores <= 1.0)).all():
        raise EncoderFitError(f"scores of shape {scores.shape} for {len(bags)} prompts; give one row of 0..1 for each")
    if target.shape[1] != begin.map_to_dim.shape[1]:
        raise EncoderFitError(f"a teacher of {target.shape[1]} numbers for an encoder of {begin.map_to_dim.shape[1]}")
    rows, local = seen_only(bags)
    tuner = _Tuner(local, target, scores, replace(begin, vectors=begin.vectors[rows]), settings)
    vectors, map_to_dim, losses = tuner.run(progress)
    fitted = begin.vectors.copy()
    fitted[rows] = vectors
    return OutcomeFit(replace(begin, vectors=fitted, map_to_dim=map_to_dim), losses)


class _Tuner:
    """The parameters and data of one run, so that the loop below reads as one."""

    def __init__(
        self, bags: Bags, target: Floats, scores: Reals, begin: StaticWeights, settings: OutcomeSettings
    ) -> None:
        import torch

        means = np.clip(scores.mean(axis=0), 1e-3, 1.0 - 1e-3)
        self.bags, self.settings, self.rng = bags, settings, np.random.default_rng(settings.seed)
        self.target, self.scores = torch.from_numpy(target), torch.from_numpy(scores.astype(np.float32))
        self.vectors = torch.nn.Parameter(torch.from_numpy(begin.vectors.copy()))
        self.map = torch.nn.Parameter(torch.from_numpy(begin.map_to_dim.copy()))
        self.heads = torch.nn.Parameter(torch.zeros(target.shape[1], scores.shape[1]))
        self.bias = torch.nn.Parameter(torch.from_numpy(np.log(means / (1.0 - means)).astype(np.float32)))
        groups = [
            {"params": [self.vectors, self.map], "lr": settings.learning_rate},
            {"params": [self.heads, self.bias], "lr": _HEAD_RATE},
        ]
        self.adam = torch.optim.Adam(groups, fused=True)

    def run(self, progress: Progress) -> tuple[Floats, Floats, tuple[float, ...]]:
        order = self.rng.permutation(len(self.bags))
        n_aside = min(max(1, round(self.settings.aside * len(order))), len(order) - 1)
        aside, used = order[:n_aside], order[n_aside:]
        losses, best = [self.aside_loss(aside)], self.state()
        progress(WHAT, 0, self.settings.epochs)
        for epoch in range(self.settings.epochs):
            used = self.rng.permutation(used)
            for begins in range(0, len(used), self.settings.batch):
                self.step(used[begins : begins + self.settings.batch])
            losses.append(self.aside_loss(aside))
            progress(WHAT, epoch + 1, self.settings.epochs)
            if losses[-1] >= min(losses[:-1]):
                break
            best = self.state()
        progress(WHAT, self.settings.epochs, self.settings.epochs)
        return (*best, tuple(losses))

    def state(self) -> tuple[Floats, Floats]:
        return self.vectors.detach().numpy().copy(), self.map.detach().numpy().copy()

    def step(self, some: Integers) -> None:
        import torch

        settings, at = self.settings, torch.from_numpy(some)
        given = pooled(self.bags.pick(some), self.vectors, self.map, dropout=settings.token_dropout, rng=self.rng)
        loss = teacher_loss(given, self.target[at], pairwise_weight=settings.pairwise_weight)
        loss = loss + settings.outcome_weight * self.scores.shape[1] * self.cross_entropy(given, at)
        self.adam.zero_grad(set_to_none=True)
        loss.backward()
        self.adam.step()

    def cross_entropy(self, given: Any, at: Any) -> Any:
        from torch.nn.functional import binary_cross_entropy_with_logits

        logits = _SHARPNESS * given @ self.heads + self.bias
        return binary_cross_entropy_with_logits(logits, self.scores[at])

    def aside_loss(self, aside: Integers) -> float:
        import torch

        with torch.no_grad():
            given = pooled(self.bags.pick(aside), self.vectors, self.map, dropout=0.0, rng=self.rng)
            return float(self.cross_entropy(given, torch.from_numpy(aside)))


@one_thread("torch")
def blended_teacher(teacher: Floats, features: Floats, scores: Reals, *, weight: float = 0.7, seed: int = 0) -> Floats:
    """A target for ``fit_static``: the teacher's embeddings beside out-of-fold predictions of quality, (n, dim + m).

    Args:
        features: What the predictions are made from by ridge regression, shape (n, k).
        scores: Of each arm, shape (n, m).
        weight: Root mean square length of the second part; the first has length 1.
    """
    predicted = np.empty_like(scores)
    folds = folds_of(len(scores), _BLEND_FOLDS, seed=seed)
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    for fold in range(_BLEND_FOLDS):
        used = folds != fold
        weights = ridge_path(centred[used], scores[used], [_BLEND_PENALTY])[0]
        # Without each fold's own mean: those means alone would tell the folds, and so the outcomes, apart.
        predicted[~used] = centred[~used] @ weights
    length = float(np.sqrt((predicted**2).sum(axis=1).mean()))
    return unit(np.hstack([unit(teacher), weight / max(length, 1e-12) * predicted]).astype(np.float32))
