"""Learn then test: how far along a fixed sequence of policies, safest first, every test rejects.

Source: Angelopoulos et al., "Learn then Test", arXiv 2110.01052. Each hypothesis is tested at the full level, and the
first that is not rejected ends the sequence: a false rejection needs the first true hypothesis to be rejected, so all
rejections together are right with the confidence of one. The order must not come from the rows tested.
"""

import numpy as np

from training.metrics.curve import Reals


def last_rejected(p_values: Reals, *, alpha: float) -> int | None:
    """Index of the last policy before the first that is not rejected at ``alpha``; None: the first is not.

    Args:
        p_values: In the sequence's order, shape (k,).
    """
    held = np.flatnonzero(p_values > alpha)
    end = int(held[0]) if len(held) else len(p_values)
    return end - 1 if end else None
