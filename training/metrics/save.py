"""Save@q: how much cheaper a router is than the most accurate arm, at q of that arm's accuracy. The headline.

Save@q = 1 − (least cost on the upper concave hull of the router's curve with accuracy ≥ q · A*) / C*

with A*, C* the accuracy and mean cost of the most accurate single arm on the same rows. The hull stands for tossing a
coin between two λ of one router; the single arms are not added to it. At q = 1 it is LLMRouterBench's CostSave
(arXiv 2601.07206). Choosing λ on the test curve flatters; ``commit`` chooses it on training rows alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from training.contender import Forecast
from training.metrics.curve import Curve, Reals, best_single, play, thriftiest

LEVELS: tuple[str, ...] = ("95", "97", "99", "100")
TOLERANCE = 1e-6  # of accuracy: the rounding of float32 means


@dataclass(frozen=True, slots=True)
class BestSingle:
    """Accuracy and mean cost of the most accurate single arm."""

    accuracy: float
    usd: float


def share_of(level: str) -> float:
    """0.97 of "97"."""
    return int(level) / 100.0


def save_pct(hull: Curve, best: BestSingle, *, level: str) -> float:
    """Save@level in percent; NaN where the hull never reaches the accuracy.

    Args:
        hull: ``curve.hull`` of the router's curve.
    """
    target = share_of(level) * best.accuracy
    if hull.accuracy[-1] < target - TOLERANCE:
        return float("nan")
    usd = float(np.interp(target, hull.accuracy, hull.usd))
    return 100.0 * (1.0 - usd / best.usd) if best.usd > 0.0 else float("nan")


def commit(held_out: Forecast, multiples: Reals, reference_usd: float, *, scores: Reals, usd: Reals) -> dict[str, int]:
    """Index of the λ to commit to for each level, from forecasts of training rows that the fit had not seen.

    It is the thriftiest λ whose accuracy on those rows is at least q times that of the best single arm on them; where
    none is, the most accurate λ.

    Args:
        scores / usd: Outcomes of the same rows, shape (n, m).
    """
    played = play(held_out, multiples / reference_usd, scores=scores, usd=usd)
    curve = Curve(played.usd.mean(axis=0), played.scores.mean(axis=0))
    alone = float(scores[:, best_single(scores, usd)].mean())
    return {level: thriftiest(curve, share_of(level) * alone) for level in LEVELS}


def committed(usd: float, accuracy: float, best: BestSingle) -> Mapping[str, float]:
    """``saving_pct`` and ``realised_ratio`` (accuracy ÷ the best single arm's) at a committed λ, on test rows."""
    saving = 100.0 * (1.0 - usd / best.usd) if best.usd > 0.0 else float("nan")
    ratio = accuracy / best.accuracy if best.accuracy > 0.0 else float("nan")
    return {"saving_pct": saving, "realised_ratio": ratio}
