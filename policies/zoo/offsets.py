"""What online learning adds to a prior: a small Gaussian offset per scope × arm × cell of queries, shrunk to zero.

Scope 0 is everybody's; a tenant's own offset is what its residuals show beyond everybody's. An offset that has seen
nothing is 0, so a fresh artifact serves the prior alone. ``policies.online`` changes the state.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.predictions import Reals
from policies.zoo.basis import Tensors, check_shapes
from policies.zoo.posterior import Posterior, joint_posterior, related

# How many of an arm's answers its prior is worth, at most: what serves is never quite what was recorded. And how much
# of an error arms share, in all cells and in one: measured while building on `mmlu_pro_7` (docs/decisions.md).
PRIOR_ANSWERS = 500.0
SHARED = (0.7, 0.7)
_PARTS = ("cells", "sums", "counts", "prior_sd", "noise_sd")
_LATER_PARTS = ("arm_sd", "doubt_sd", "shared")  # an artifact without them has none of what they say


@dataclass(frozen=True, slots=True)
class Offsets:
    """Sufficient statistics of the residuals score − prior prediction.

    Attributes:
        cells: Cell of each landmark, shape (n_landmarks,).
        sums / counts: Sum and weight of the residuals seen, shape (n_scopes, m, n_cells).
        prior_sd: How much an arm's offset differs from cell to cell, per scope and arm, shape (n_scopes, m).
        noise_sd: Standard deviation of one residual, shape (m,).
        arm_sd: How far an arm may be off in all cells alike, per scope and arm, shape (n_scopes, m).
        doubt_sd: The same of everybody's scope, of an arm by itself: it has changed or is new, shape (m,).
        shared: Correlation between arms of the part in all cells and of the part in one, shape (2,).
    """

    cells: NDArray[np.int32]
    sums: Reals
    counts: Reals
    prior_sd: Reals
    noise_sd: Reals
    arm_sd: Reals
    doubt_sd: Reals
    shared: Reals

    @property
    def n_arms(self) -> int:
        return int(self.sums.shape[1])

    @property
    def n_cells(self) -> int:
        return int(self.sums.shape[2])

    @property
    def n_scopes(self) -> int:
        return int(self.sums.shape[0])

    def posterior(self, *, scope: int = 0) -> Posterior:
        """Offsets of every arm in every cell, as ``scope`` has them.

        A tenant's part is read from its residuals less everybody's mean offset, taken as known: what a tenant has
        sent itself pulls that mean too, so its own part is rather too small.
        """
        everybody = self._part(0, self.sums[0], apart=self.doubt_sd)
        if scope == 0:
            return everybody
        beyond = self.sums[scope] - self.counts[scope] * everybody.mean.T
        return everybody + self._part(scope, beyond, apart=None)

    def mean(self, cell: NDArray[Any], *, scope: int = 0) -> Reals:
        """Posterior mean offset of every arm in each query's ``cell`` (n,), shape (n, m); 0 where nothing was seen."""
        mean: Reals = self.posterior(scope=scope).mean[cell]
        return mean

    def variance(self, cell: NDArray[Any], *, scope: int = 0) -> Reals:
        """Posterior variance of the same offsets, shape (n, m); the prior's where nothing was seen."""
        variance: Reals = self.posterior(scope=scope).variance[cell]
        return variance

    def warmed(self, *, answers: float, shared: tuple[float, float]) -> "Offsets":
        """With a part in all cells: the prior's mean of an arm counts as much as ``answers`` of it.

        Args:
            shared: Correlation between arms of either part.
        """
        arm_sd = np.zeros_like(self.arm_sd)
        arm_sd[0] = self.noise_sd / np.sqrt(answers)
        return replace(self, arm_sd=arm_sd, shared=np.array(shared, dtype=np.float64))

    def with_scope(self, *, arm_sd: float, cell_sd: float) -> "Offsets":
        """With one more scope that has seen nothing and may differ from everybody's by these deviations."""
        empty = np.zeros((1, self.n_arms, self.n_cells))
        return replace(
            self,
            sums=np.concatenate([self.sums, empty]),
            counts=np.concatenate([self.counts, empty]),
            prior_sd=np.concatenate([self.prior_sd, np.full((1, self.n_arms), cell_sd)]),
            arm_sd=np.concatenate([self.arm_sd, np.full((1, self.n_arms), arm_sd)]),
        )

    def _part(self, scope: int, sums: Reals, *, apart: Reals | None) -> Posterior:
        in_all, in_one = (float(share) for share in self.shared)
        return joint_posterior(
            sums,
            self.counts[scope],
            of_arms=related(self.arm_sd[scope], shared=in_all, apart=apart),
            of_cells=related(self.prior_sd[scope], shared=in_one),
            noise_sd=self.noise_sd,
        )

    def tensors(self) -> dict[str, NDArray[Any]]:
        """As arrays named ``offsets.*``, for an artifact; sums and counts keep their precision."""
        return {f"offsets.{part}": getattr(self, part) for part in (*_PARTS, *_LATER_PARTS)}

    @classmethod
    def from_tensors(cls, tensors: Tensors, *, n_landmarks: int) -> "Offsets":
        """The inverse of ``tensors``; parts that an older artifact lacks say nothing.

        Raises:
            KeyError: A part is missing.
            ValueError: The shapes do not belong together, a count is negative or a cell does not exist.
        """
        cells = tensors["offsets.cells"].astype(np.int32)
        sums, counts, prior_sd, noise_sd = (tensors[f"offsets.{part}"].astype(np.float64) for part in _PARTS[1:])
        scopes, m, n_cells = sums.shape
        silent = {"arm_sd": np.zeros((scopes, m)), "doubt_sd": np.zeros(m), "shared": np.zeros(2)}
        later = (
            tensors
            if any(f"offsets.{part}" in tensors for part in _LATER_PARTS)
            else {f"offsets.{part}": values for part, values in silent.items()}
        )
        arm_sd, doubt_sd, shared = (later[f"offsets.{part}"].astype(np.float64) for part in _LATER_PARTS)
        check_shapes(
            {
                "offsets.cells": (cells.shape, (n_landmarks,)),
                "offsets.counts": (counts.shape, (scopes, m, n_cells)),
                "offsets.prior_sd": (prior_sd.shape, (scopes, m)),
                "offsets.noise_sd": (noise_sd.shape, (m,)),
                "offsets.arm_sd": (arm_sd.shape, (scopes, m)),
                "offsets.doubt_sd": (doubt_sd.shape, (m,)),
                "offsets.shared": (shared.shape, (2,)),
            }
        )
        least = min(part.min(initial=0) for part in (counts, prior_sd, arm_sd, doubt_sd, shared))
        if least < 0 or noise_sd.min(initial=1) <= 0:
            raise ValueError("offsets.counts and deviations must not be negative, noise_sd must be positive")
        if shared.max() > 1:
            raise ValueError("offsets.shared must lie in 0..1")
        if cells.min(initial=0) < 0 or cells.max(initial=0) >= n_cells:
            raise ValueError(f"offsets.cells names a cell outside 0..{n_cells - 1}")
        return cls(cells, sums, counts, prior_sd, noise_sd, arm_sd, doubt_sd, shared)

    @classmethod
    def fresh(cls, cells: NDArray[np.int32], *, prior_sd: Reals, noise_sd: Reals) -> "Offsets":
        """Nothing seen yet: one scope, ``prior_sd`` and ``noise_sd`` (m,) per arm, no part in all cells."""
        m = len(noise_sd)
        empty = np.zeros((1, m, int(cells.max(initial=0)) + 1))
        return cls(
            cells,
            empty,
            empty.copy(),
            prior_sd[None, :],
            noise_sd,
            arm_sd=np.zeros((1, m)),
            doubt_sd=np.zeros(m),
            shared=np.zeros(2),
        )
