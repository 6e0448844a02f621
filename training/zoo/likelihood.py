"""What the zoo's likelihood models share: cross-entropy with gaps, a minimiser, a penalty chosen on held-out rows."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from policies.zoo.basis import Basis
from policies.zoo.sigmoid import EDGE, log_odds
from training.inputs import Inputs
from training.zoo.basis import fit_basis

Reals = NDArray[np.float64]
Mask = NDArray[np.bool_]
Objective = Callable[[Reals], tuple[float, Reals]]


def unit_basis(inputs: Inputs, *, n_dims: int) -> Basis:
    """The shared basis, scaled so that a direction of the embedding has variance 1 on average.

    Penalties and learning rates then mean the same whatever the number of directions.
    """
    basis = fit_basis(inputs, n_dims=n_dims)
    scale = float(basis.projection.shape[1]) ** 0.5
    return replace(basis, projection=basis.projection * scale, lexical_weight=basis.lexical_weight * scale)


def observed(scores: Reals) -> tuple[Reals, Reals]:
    """Scores with gaps filled by 0, and weight 1 where there is an outcome and 0 where it is NaN; both (n, m)."""
    known = np.isfinite(scores)
    return np.where(known, scores, 0.0), known.astype(np.float64)


def mean_log_odds(scores: Reals, *, pseudo: float = 1.0) -> Reals:
    """Log odds of each arm's mean score with half a success and half a failure added per ``pseudo``, shape (m,)."""
    values, known = observed(scores)
    return log_odds((values.sum(axis=0) + 0.5 * pseudo) / (known.sum(axis=0) + pseudo))


def log_loss(quality: Reals, scores: Reals) -> float:
    """Mean cross-entropy in nats over the outcomes that are known."""
    values, known = observed(scores)
    p = np.clip(quality, EDGE, 1.0 - EDGE)
    total = -(known * (values * np.log(p) + (1.0 - values) * np.log1p(-p))).sum()
    return float(total / max(known.sum(), 1.0))


def minimise(objective: Objective, start: Reals, *, n_steps: int, tolerance: float = 2e-10) -> Reals:
    """L-BFGS (Byrd et al., 1995) from ``start``; ``objective`` gives the value and its gradient.

    Args:
        tolerance: It ends when a step lowers the value by less than this share of it.
    """
    from scipy.optimize import fmin_l_bfgs_b

    factr = tolerance / np.finfo(np.float64).eps
    found, _, _ = fmin_l_bfgs_b(objective, start, m=10, maxiter=n_steps, factr=factr, pgtol=1e-7)
    return np.asarray(found, dtype=np.float64)


def held_out_mask(n_rows: int, *, share: float, seed: int) -> Mask:
    """True for a random ``share`` of the rows, at least one and never all of two or more."""
    n_out = min(max(round(share * n_rows), 1), max(n_rows - 1, 1))
    mask: Mask = np.zeros(n_rows, dtype=np.bool_)
    mask[np.random.default_rng(seed).permutation(n_rows)[:n_out]] = True
    return mask


def choose_strongest(losses: Sequence[float], penalties: Sequence[float]) -> float:
    """The penalty of least loss; of equal ones the strongest."""
    best = min(losses)
    return max(penalty for loss, penalty in zip(losses, penalties, strict=True) if loss <= best)
