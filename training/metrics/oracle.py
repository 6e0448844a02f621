"""How far a router stays below the per-query oracle, which takes an arm that is right wherever one is.

Source: Gap@Oracle of LLMRouterBench, arXiv 2601.07206. Caveat: of m arms that guess among k options one is right on
1 − (1 − 1/k)^m of the questions none of them knows, and the oracle takes it. On multiple choice a good part of this gap
is luck that no router can reach; never read the oracle's accuracy as a ceiling.
"""

from training.metrics.curve import Reals


def oracle_scores(scores: Reals) -> Reals:
    """Best score of any arm on each query, shape (n,), from scores of shape (n, m)."""
    best: Reals = scores.max(axis=1)
    return best


def gap_at_oracle(max_accuracy: float, oracle_accuracy: float) -> float:
    """``100 · (oracle − router's best accuracy) / oracle``, percent; NaN where the oracle is never right."""
    return 100.0 * (oracle_accuracy - max_accuracy) / oracle_accuracy if oracle_accuracy > 0.0 else float("nan")
