"""RouteLLM's measures: PGR, APGR and CPT, by its own evaluation for two arms and by its idea for more.

Source: Ong et al., "RouteLLM", arXiv 2406.18665; ``routellm/evals/{evaluate,benchmarks}.py`` of lm-sys/RouteLLM.

Two arms. The router's score of a query is its predicted quality difference strong − weak. Thresholds are the eleven
edges of ``pandas.qcut(scores, 10)``, duplicates kept; a query goes to the strong arm where score ≥ threshold, at the
last edge where score > threshold. With the resulting share s of strong calls and accuracy A(s):

    PGR(s) = (A(s) − A_weak) / (A_strong − A_weak)
    APGR   = (area under A − area under A_weak) / (area under A_strong − area under A_weak), trapezoid over s
    CPT(x) = least s, by linear interpolation, at which PGR = x

More arms: there is no one "strong share", so its place is taken by the share of the cost range between the cheapest arm
(weak) and the most accurate one (strong), and A by the upper hull of the router's curve over λ. Where the hull has no
point that cheap, PGR counts as 0. The two kinds of APGR are not comparable.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.metrics.curve import Curve, Reals

N_BINS = 10


@dataclass(frozen=True, slots=True)
class Recovered:
    """How much of the gap between weak and strong a router recovers: APGR as a fraction, CPT in percent of calls
    (two arms) or of the cost range (more); NaN where there is no gap or the level is not reached."""

    apgr: float
    cpt50: float
    cpt80: float


def quantile_edges(scores: Reals, n_bins: int = N_BINS) -> Reals:
    """Edges of ``pandas.qcut``: linearly interpolated quantiles 0, 1/n_bins, …, 1, duplicates kept."""
    return np.quantile(scores, np.linspace(0.0, 1.0, n_bins + 1), method="linear")


def strong_calls(scores: Reals, edges: Reals) -> NDArray[np.bool_]:
    """Whether each query goes to the strong arm at each threshold, shape (n, n_edges)."""
    return np.column_stack([scores[:, None] >= edges[:-1], scores > edges[-1]])


def recovered_of_pair(share: Reals, accuracy: Reals, *, weak: float, strong: float) -> Recovered:
    """APGR and CPT of a two-arm router.

    Args:
        share / accuracy: Share of strong calls and mean score at each threshold, shape (n_edges,).
        weak / strong: Accuracy of either arm alone.
    """
    order = np.argsort(share, kind="stable")
    share, accuracy = share[order], accuracy[order]
    width = float(share[-1] - share[0])
    if strong == weak or width == 0.0:
        return Recovered(float("nan"), float("nan"), float("nan"))
    area = float(np.trapezoid(accuracy, share))
    calls = [100.0 * float(np.interp(weak + level * (strong - weak), accuracy, share)) for level in (0.5, 0.8)]
    return Recovered((area - weak * width) / ((strong - weak) * width), *calls)


def recovered_of_pool(hull: Curve, *, weak: tuple[float, float], strong: tuple[float, float]) -> Recovered:
    """APGR and CPT of a router over any number of arms, by share of the cost range.

    Args:
        hull: Upper hull of the router's curve.
        weak / strong: (USD, accuracy) of the cheapest and of the most accurate arm.
    """
    if strong[0] <= weak[0] or strong[1] <= weak[1]:
        return Recovered(float("nan"), float("nan"), float("nan"))
    share = (hull.usd - weak[0]) / (strong[0] - weak[0])
    gap = (hull.accuracy - weak[1]) / (strong[1] - weak[1])
    start = float(np.clip(share[0], 0.0, 1.0))
    inner = share[(share > start) & (share < 1.0)]
    at = np.concatenate([[start], inner, [1.0]])
    area = float(np.trapezoid(np.interp(at, share, gap), at))
    return Recovered(area, *(_least_share(share, gap, level) for level in (0.5, 0.8)))


def _least_share(share: Reals, gap: Reals, level: float) -> float:
    """In percent; 0 where a router that is cheaper than the cheapest arm is already good enough."""
    return 100.0 * max(float(np.interp(level, gap, share)), 0.0) if gap[-1] >= level else float("nan")
