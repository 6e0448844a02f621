"""Fits a static encoder to a teacher's embeddings of the deployment's own prompts; no labels, seconds on one core.

Token vectors start from the distilled table and a linear map from least squares; both then follow the gradient of

    loss = 1 − cos(ours, teacher's) + weight · mean over pairs in the batch of (similarity of ours − of the teacher's)²

with a tenth of the tokens dropped at random. Tokens that no training prompt holds keep their distilled vector, so an
unseen text still lands near its kin. Source: model2vec's distillation (Tulkens and van Dongen, 2024) for the start,
similarity-preserving distillation (Tung and Mori, 2019) for the second term. Left out: an own weight per token (the
vectors' lengths learn it), and word pairs (60,000 hashed bigrams came closer to the teacher and routed no better).
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from training.encoder.bags import Bags, Floats, Integers, unit
from training.encoder.weights import EncoderFitError, StaticWeights
from training.threads import one_thread

Progress = Callable[[str, int, int], None]
WHAT = "fitting the encoder"
_RIDGE = 1e-2
_LEAST_RATE = 0.01  # of the learning rate, at the last step


@dataclass(frozen=True, slots=True)
class StaticSettings:
    """What a fit depends on besides its prompts and their teacher.

    Attributes:
        learning_rate: Of Adam; level in the first half, then falling in a line.
        token_dropout: Share of tokens left out of each prompt at each step.
        pairwise_weight: Of the loss over pairs.
        rewordings: How often each prompt is heard in other words besides; ``with_rewordings`` makes them, and
            ``fit_static`` takes what it is given. Most of what they taught, ``policies.wording`` and
            ``policies.encoders.spelling`` now do by rule, for prompts of every kind.
    """

    epochs: int = 4
    batch: int = 128
    learning_rate: float = 2e-3
    token_dropout: float = 0.1
    pairwise_weight: float = 1.0
    rewordings: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 2 or not 0.0 <= self.token_dropout < 1.0:
            raise EncoderFitError("settings: epochs ≥ 1, batch ≥ 2 and a token dropout in [0, 1) are needed")
        if self.rewordings < 0:
            raise EncoderFitError(f"settings: {self.rewordings} rewordings of each prompt; give 0 or more")

    def as_dict(self) -> dict[str, Any]:
        """As JSON values, for a manifest."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class StaticFit:
    """A fitted encoder with its mean loss in each epoch."""

    weights: StaticWeights
    losses: tuple[float, ...]


@one_thread("torch")
def fit_static(
    bags: Bags,
    teacher: Floats,
    start: StaticWeights,
    settings: StaticSettings | None = None,
    *,
    progress: Progress = lambda what, done, of: None,
) -> StaticFit:
    """Fit to a teacher; same arguments, same bytes.

    Args:
        bags: Training prompts, tokenised by ``start``'s tokenizer and bounds.
        teacher: Their embeddings, shape (n, dim); lengths do not matter.

    Raises:
        EncoderFitError: The shapes do not belong together, or an embedding is not finite.
    """
    settings = settings or StaticSettings()
    target = checked_target(bags, teacher)
    rows, local = seen_only(bags)
    begin = replace(start, map_to_dim=first_map(bags, target, start))
    vectors, map_to_dim, losses = _descend(local, target, begin, rows, settings, progress)
    fitted = start.vectors.copy()
    fitted[rows] = vectors
    return StaticFit(replace(start, vectors=fitted, map_to_dim=map_to_dim), losses)


def checked_target(bags: Bags, teacher: Floats) -> Floats:
    if len(bags) != len(teacher):
        raise EncoderFitError(f"{len(teacher)} teacher embeddings for {len(bags)} prompts; give one for each")
    if not len(bags.ids):
        raise EncoderFitError("no prompt holds a token; give prompts with text")
    if not np.isfinite(teacher).all():
        raise EncoderFitError("a teacher embedding holds a number that is not finite")
    return unit(np.asarray(teacher, np.float32))


def seen_only(bags: Bags) -> tuple[Integers, Bags]:
    """Ids that occur, rising, and the bags with each id replaced by its place among them: what stays unseen is free."""
    rows, places = np.unique(bags.ids, return_inverse=True)
    return rows, Bags(places.astype(np.int64), bags.starts)


def first_map(bags: Bags, target: Floats, start: StaticWeights) -> Floats:
    """Least squares from the start's embeddings to the teacher's, slightly shrunk."""
    pooled = unit(bags.sums(start.vectors)).astype(np.float64)
    gram = pooled.T @ pooled + _RIDGE * np.eye(pooled.shape[1])
    solved: Floats = np.linalg.solve(gram, pooled.T @ target).astype(np.float32)
    return solved


def _descend(
    bags: Bags, target: Floats, begin: StaticWeights, rows: Integers, settings: StaticSettings, progress: Progress
) -> tuple[Floats, Floats, tuple[float, ...]]:
    import torch

    vectors = torch.nn.Parameter(torch.from_numpy(begin.vectors[rows]))
    map_to_dim = torch.nn.Parameter(torch.from_numpy(begin.map_to_dim.copy()))
    adam = torch.optim.Adam([vectors, map_to_dim], lr=settings.learning_rate, fused=True)
    wanted, rng = torch.from_numpy(target), np.random.default_rng(settings.seed)
    n_steps = settings.epochs * -(-len(bags) // settings.batch)
    losses, step = [], 0
    progress(WHAT, 0, n_steps)
    for _ in range(settings.epochs):
        order, total = rng.permutation(len(bags)), 0.0
        for begins in range(0, len(bags), settings.batch):
            some = order[begins : begins + settings.batch]
            given = pooled(bags.pick(some), vectors, map_to_dim, dropout=settings.token_dropout, rng=rng)
            loss = teacher_loss(given, wanted[torch.from_numpy(some)], pairwise_weight=settings.pairwise_weight)
            adam.zero_grad(set_to_none=True)
            loss.backward()
            adam.param_groups[0]["lr"] = settings.learning_rate * _rate(step / n_steps)
            adam.step()
            step, total = step + 1, total + loss.item() * len(some)
            progress(WHAT, step, n_steps)
        losses.append(total / len(bags))
    return vectors.detach().numpy(), map_to_dim.detach().numpy(), tuple(losses)


def _rate(done: float) -> float:
    return max(min(1.0, 2.0 * (1.0 - done)), _LEAST_RATE)


def pooled(bags: Bags, vectors: Any, map_to_dim: Any, *, dropout: float, rng: np.random.Generator) -> Any:
    """Unit embeddings of texts as a torch tensor, (n, dim), with a share of the tokens left out."""
    import torch
    from torch.nn.functional import embedding_bag, normalize

    kept = bags.without(rng.random(len(bags.ids)) < dropout) if dropout > 0.0 else bags
    sums = embedding_bag(torch.from_numpy(kept.ids), vectors, torch.from_numpy(kept.starts[:-1]), mode="sum")
    return normalize(sums @ map_to_dim, dim=1)


def teacher_loss(given: Any, wanted: Any, *, pairwise_weight: float) -> Any:
    """One minus the mean cosine, plus the weighted squared difference of all similarities within the batch."""
    loss = 1.0 - (given * wanted).sum(dim=1).mean()
    if pairwise_weight > 0.0:
        loss = loss + pairwise_weight * ((given @ given.T - wanted @ wanted.T) ** 2).mean()
    return loss


def mean_cosine(given: Floats, teacher: Floats) -> float:
    """Mean cosine between two sets of embeddings of the same texts."""
    return float((unit(given) * unit(teacher)).sum(axis=1).mean())
