"""The Gaussian posterior of online offsets: what an arm does better or worse than its prior said, cell by cell.

An offset has two parts, one of the arm in all cells and one of the arm in this cell; arms share some of both, because
a prior errs on how hard a query is more often than on which arm answers it. All of it is Gaussian, so sums and weights
of residuals are all there is to keep, and their order does not matter.
"""

from dataclasses import dataclass

import numpy as np

from policies.predictions import Reals


@dataclass(frozen=True, slots=True)
class Posterior:
    """Offsets of m arms in k cells.

    Attributes:
        mean: Shape (k, m).
        covariance: Between the arms of each cell, shape (k, m, m).
    """

    mean: Reals
    covariance: Reals

    @property
    def variance(self) -> Reals:
        """Of each offset, shape (k, m)."""
        variance: Reals = np.einsum("kii->ki", self.covariance)
        return variance

    @property
    def factor(self) -> Reals:
        """F of each cell with F Fᵀ = its covariance, shape (k, m, m); some of the rows of F do for some of the arms."""
        values, vectors = np.linalg.eigh(self.covariance)  # no Cholesky: an arm without doubt makes it singular
        factor: Reals = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
        return factor

    def __add__(self, other: "Posterior") -> "Posterior":
        """Of the sum of independent offsets."""
        return Posterior(self.mean + other.mean, self.covariance + other.covariance)


def joint_posterior(sums: Reals, counts: Reals, *, of_arms: Reals, of_cells: Reals, noise_sd: Reals) -> Posterior:
    """Posterior of arm offset + cell offset after residuals with these ``sums`` and ``counts``, both (m, k).

    Args:
        of_arms / of_cells: Prior covariance of either part between arms, shape (m, m); 0 where an arm has none.
        noise_sd: Standard deviation of one residual, shape (m,).

    With one arm it is the random-effects model of Gelman et al., "Bayesian Data Analysis", 3rd ed., section 5.4. No
    prior is inverted: a variance of 0 means that nothing moves.
    """
    identity = np.eye(len(noise_sd))
    precision = (counts / noise_sd[:, None] ** 2).T  # (k, m), of the residuals
    pulls = (sums / noise_sd[:, None] ** 2).T  # (k, m)
    # The covariance of the cell's part, were the arm's part known, shape (k, m, m).
    priors = np.broadcast_to(of_cells, (len(precision), *of_cells.shape))
    given_arm = np.linalg.solve(identity + of_cells * precision[:, None, :], priors)
    weighted = given_arm * precision[:, None, :]
    told = (precision[:, :, None] * (identity - weighted)).sum(axis=0)  # information about the arm's part
    heard = (pulls - precision * np.einsum("kij,kj->ki", given_arm, pulls)).sum(axis=0)
    arm_covariance = np.linalg.solve(identity + of_arms @ told, of_arms)
    arm = arm_covariance @ heard
    cell = np.einsum("kij,kj->ki", given_arm, pulls - precision * arm)
    kept = identity - weighted  # of the arm's part, what the cell's own evidence leaves
    covariance = given_arm + kept @ arm_covariance @ kept.swapaxes(1, 2)
    return Posterior(arm + cell, 0.5 * (covariance + covariance.swapaxes(1, 2)))


def related(sd: Reals, *, shared: float, apart: Reals | None = None) -> Reals:
    """Covariance of numbers of standard deviation ``sd`` (m,) that correlate by ``shared``, shape (m, m).

    Args:
        apart: Further standard deviation of each by itself, shape (m,).
    """
    own = (1.0 - shared) * sd**2 + (0.0 if apart is None else apart**2)
    covariance: Reals = shared * np.outer(sd, sd) + np.diag(own)
    return covariance
