"""E³, efficiency-aware effectiveness: accuracy² ÷ effort, so that being right counts twice.

Source: Lin et al., "Plan and Budget", arXiv 2505.16122: E³ = A · (A/T) = A²/T with A the mean accuracy and T the mean
number of decoded tokens. Departure: T is the mean USD of a query, since a token of one arm costs a hundred of another.
"""

from training.metrics.curve import Curve


def e3(curve: Curve, *, floor: float = 0.0) -> float:
    """Highest ``accuracy² / usd`` over the λ whose accuracy is at least ``floor``, per USD; NaN where none is."""
    allowed = (curve.accuracy >= floor - 1e-9) & (curve.usd > 0.0)
    return float((curve.accuracy[allowed] ** 2 / curve.usd[allowed]).max()) if allowed.any() else float("nan")
