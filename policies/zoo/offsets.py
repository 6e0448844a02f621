"""What online learning adds to a prior: a small Gaussian offset per scope × arm × cell of queries, shrunk to zero.

The artifact carries the state with its prior; nothing here updates it. Scope 0 is everybody's; a tenant's own offset
adds to it. A cell that has seen nothing has offset 0, so a fresh artifact serves the prior alone.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.predictions import Reals
from policies.zoo.basis import Tensors, check_shapes

_PARTS = ("cells", "sums", "counts", "prior_sd", "noise_sd")


@dataclass(frozen=True, slots=True)
class Offsets:
    """Sufficient statistics of the residuals score − prior prediction.

    Attributes:
        cells: Cell of each landmark, shape (n_landmarks,).
        sums / counts: Sum and weight of the residuals seen, shape (n_scopes, m, n_cells).
        prior_sd: How much an arm's offset differs from cell to cell, per scope and arm, shape (n_scopes, m).
        noise_sd: Standard deviation of one residual, shape (m,).
    """

    cells: NDArray[np.int32]
    sums: Reals
    counts: Reals
    prior_sd: Reals
    noise_sd: Reals

    @property
    def n_arms(self) -> int:
        return int(self.sums.shape[1])

    def mean(self, cell: NDArray[Any], *, scope: int = 0) -> Reals:
        """Posterior mean offset of every arm in each query's ``cell`` (n,), shape (n, m); 0 where nothing was seen.

        Normal prior and noise: mean = sum / (count + noise² / prior²). Source: Gelman et al., "Bayesian Data Analysis".
        """
        total = self._posterior(0)[0][:, cell].T
        return total if scope == 0 else total + self._posterior(scope)[0][:, cell].T

    def variance(self, cell: NDArray[Any], *, scope: int = 0) -> Reals:
        """Posterior variance of the same offsets, shape (n, m); the prior's where nothing was seen."""
        total = self._posterior(0)[1][:, cell].T
        return total if scope == 0 else total + self._posterior(scope)[1][:, cell].T

    def _posterior(self, scope: int) -> tuple[Reals, Reals]:
        prior, noise = self.prior_sd[scope][:, None] ** 2, self.noise_sd[:, None] ** 2
        weight = np.divide(noise, prior, out=np.full_like(prior, np.inf), where=prior > 0)
        mean: Reals = self.sums[scope] / (self.counts[scope] + weight)
        variance: Reals = noise / (self.counts[scope] + weight)
        return mean, variance

    def tensors(self) -> dict[str, NDArray[Any]]:
        """As arrays named ``offsets.*``, for an artifact; sums and counts keep their precision."""
        return {f"offsets.{part}": getattr(self, part) for part in _PARTS}

    @classmethod
    def from_tensors(cls, tensors: Tensors, *, n_landmarks: int) -> "Offsets":
        """The inverse of ``tensors``.

        Raises:
            KeyError: A part is missing.
            ValueError: The shapes do not belong together, a count is negative or a cell does not exist.
        """
        cells = tensors["offsets.cells"].astype(np.int32)
        sums, counts, prior_sd, noise_sd = (tensors[f"offsets.{part}"].astype(np.float64) for part in _PARTS[1:])
        scopes, m, n_cells = sums.shape
        check_shapes(
            {
                "offsets.cells": (cells.shape, (n_landmarks,)),
                "offsets.counts": (counts.shape, (scopes, m, n_cells)),
                "offsets.prior_sd": (prior_sd.shape, (scopes, m)),
                "offsets.noise_sd": (noise_sd.shape, (m,)),
            }
        )
        if counts.min(initial=0) < 0 or prior_sd.min(initial=0) < 0 or noise_sd.min(initial=1) <= 0:
            raise ValueError("offsets.counts and prior_sd must not be negative, noise_sd must be positive")
        if cells.min(initial=0) < 0 or cells.max(initial=0) >= n_cells:
            raise ValueError(f"offsets.cells names a cell outside 0..{n_cells - 1}")
        return cls(cells, sums, counts, prior_sd, noise_sd)

    @classmethod
    def fresh(cls, cells: NDArray[np.int32], *, prior_sd: Reals, noise_sd: Reals) -> "Offsets":
        """Nothing seen yet: one scope, ``prior_sd`` and ``noise_sd`` (m,) per arm."""
        empty = np.zeros((1, len(noise_sd), int(cells.max(initial=0)) + 1))
        return cls(cells, empty, empty.copy(), prior_sd[None, :], noise_sd)
