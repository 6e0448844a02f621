"""Sums over rounds from which a ridge of every arm follows: they add up over chunks, so a log of any length streams."""

from dataclasses import dataclass

import numpy as np

from training.ope.rounds import Integers, Reals


@dataclass(slots=True)
class Grams:
    """Per arm: ΦᵀΦ, ΦᵀY and the targets' squares, of the rounds in which it was drawn.

    Attributes:
        products: Shape (m, d, d).
        targets: Shape (m, d, k).
        squares: Σ y², shape (m, k).
        counts: Rounds of each arm, whatever their weights, shape (m,).
    """

    products: Reals
    targets: Reals
    squares: Reals
    counts: Reals

    @classmethod
    def empty(cls, *, n_arms: int, n_features: int, n_targets: int) -> "Grams":
        return cls(
            np.zeros((n_arms, n_features, n_features)),
            np.zeros((n_arms, n_features, n_targets)),
            np.zeros((n_arms, n_targets)),
            np.zeros(n_arms),
        )

    def add(self, features: Reals, action: Integers, targets: Reals, weights: Reals | None = None) -> None:
        """Add rounds: ``features`` (n, d), drawn ``action`` (n,), ``targets`` (n, k), ``weights`` (n,) or 1 each.

        A weight is the variance of a target of weight 1 over that of this one.
        """
        for arm in np.unique(action):
            rows = action == arm
            phi, y = features[rows], targets[rows]
            weight = np.ones(len(phi)) if weights is None else weights[rows]
            weighted = phi * weight[:, None]
            self.products[arm] += phi.T @ weighted
            self.targets[arm] += weighted.T @ y
            self.squares[arm] += weight @ y**2
            self.counts[arm] += len(phi)

    def of(self, targets: slice) -> "Grams":
        """A copy with some of the targets."""
        aims, squares = self.targets[:, :, targets].copy(), self.squares[:, targets].copy()
        return Grams(self.products.copy(), aims, squares, self.counts.copy())

    def __add__(self, other: "Grams") -> "Grams":
        return Grams(
            self.products + other.products,
            self.targets + other.targets,
            self.squares + other.squares,
            self.counts + other.counts,
        )

    def __sub__(self, other: "Grams") -> "Grams":
        return Grams(
            self.products - other.products,
            self.targets - other.targets,
            self.squares - other.squares,
            self.counts - other.counts,
        )
