"""Cost-of-pass: expected USD for one correct answer.

Source: Erol et al., "Cost-of-Pass", arXiv 2504.13359; used for agents in "Efficient Agents", arXiv 2508.02694:
cost per attempt ÷ success rate. Here the least over the λ of the grid. Alone it prefers a cheap arm that is usually
wrong, so the variant with a floor under the accuracy is the one to read.
"""

import numpy as np

from training.metrics.curve import Curve

FLOOR_POINTS = 0.5  # of accuracy that may be given up against the most accurate single arm, in percentage points


def accuracy_floor(best_accuracy: float) -> float:
    """Least accuracy allowed, 0..1."""
    return best_accuracy - FLOOR_POINTS / 100.0


def cost_of_pass(curve: Curve, *, floor: float = 0.0) -> float:
    """Least ``usd / accuracy`` over the λ whose accuracy is at least ``floor``; NaN where none is or none is right."""
    allowed = (curve.accuracy >= floor - 1e-9) & (curve.accuracy > 0.0)
    return float((curve.usd[allowed] / curve.accuracy[allowed]).min()) if allowed.any() else float("nan")


def saving_pct(routed: float, arm_usd: float, arm_accuracy: float) -> float:
    """Saving of a router's cost-of-pass against that of one arm, percent; NaN where either is unknown."""
    alone = arm_usd / arm_accuracy if arm_accuracy > 0.0 else float("nan")
    return 100.0 * (1.0 - routed / alone) if alone > 0.0 else float(np.nan)
