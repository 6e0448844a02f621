"""AIQ: the mean height of a router's hull over the cost range of the pool.

Source: Hu et al., "RouterBench", arXiv 2403.12031: AIQ = 1/(c_max − c_min) · ∫ R(c) dc over [c_min, c_max], R the
non-decreasing convex hull of the router's points. Departures: the range is that of the pool's single arms, the same for
every router; beyond its last point R stays flat (as in the published code), and below its first point it is the
accuracy of the cheapest arm. The published code divides by c_max and starts at the router's first point instead.
"""

import numpy as np

from training.metrics.curve import Curve


def aiq(hull: Curve, *, cheapest: tuple[float, float], dearest_usd: float) -> float:
    """Average improvement in quality, 0..1; NaN where all arms cost the same.

    Args:
        hull: Upper hull of the router's curve.
        cheapest: (USD, accuracy) of the cheapest single arm.
        dearest_usd: Mean cost of the dearest single arm.
    """
    low, high = cheapest[0], dearest_usd
    if high <= low:
        return float("nan")
    start = float(np.clip(hull.usd[0], low, high))
    inner = hull.usd[(hull.usd > start) & (hull.usd < high)]
    at = np.concatenate([[start], inner, [high]])
    area = float(np.trapezoid(np.interp(at, hull.usd, hull.accuracy), at)) if start < high else 0.0
    return (area + (start - low) * cheapest[1]) / (high - low)
